#pragma once

// What the devices of one send get, encoded: a native message once per platform, a template once
// per distinct (template, variables, platform). One lane of one send; not thread-safe.
//
// Templates and variables come from devices. Their hashes only say where to look: a device gets
// what was rendered from the same bytes, and nothing else. Of two that have the same hashes the
// later one takes the place of the other.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "hub/send/send_run.hpp"
#include "hub/template/templates.hpp"
#include "pns/sender.hpp"
#include "registry/registry.hpp"
#include "tagexpr/keyed_hash.hpp"

namespace hub {

struct RenderedPush {
    std::shared_ptr<const pns::Prepared> prepared;  ///< null: refused
    pns::Refusal refusal;
};

class Rendering {
  public:
    static constexpr std::size_t entries_max = 4'096;  ///< beyond it the cache starts over

    explicit Rendering(const SendRun& run) : run_(run) {}

    /// `sender_epoch` changes when the platform's sender was replaced: what was encoded for the old
    /// one is dropped. The reference is good until the next call.
    const RenderedPush& get(const registry::Device& device, std::size_t platform,
                            const pns::Sender& sender, std::uint64_t sender_epoch);
    /// The same for a handle without a registration (direct sends): always native.
    const RenderedPush& native(std::size_t platform, const pns::Sender& sender,
                               std::uint64_t sender_epoch);

  private:
    /// Where what belongs to a template and its variables is kept.
    struct Key {
        std::uint64_t template_hash, variables_hash, platform;
        friend bool operator==(const Key&, const Key&) = default;
    };
    struct KeyHash {
        std::size_t operator()(const Key& key) const {
            return tagexpr::keyed_hash({reinterpret_cast<const char*>(&key), sizeof key});
        }
    };
    struct Source {
        std::string template_bytes;
        Parsed<CompiledTemplate> compiled;
    };
    struct Templated {
        std::shared_ptr<const Source> source;
        std::string variables_bytes;
        RenderedPush push;
    };
    struct Native {
        std::uint64_t epoch = 0;
        std::optional<RenderedPush> push;
    };

    const SendRun& run_;
    std::vector<Native> native_;
    std::vector<std::uint64_t> epochs_;  ///< by platform, of what templated_ holds
    std::unordered_map<Key, Templated, KeyHash> templated_;
    std::unordered_map<Key, std::shared_ptr<const Source>, KeyHash> sources_;

    std::shared_ptr<const Source> source_of(const registry::Device& device, std::size_t platform);
    RenderedPush render(const registry::Device& device, const Source& source,
                        const pns::Sender& sender);
};

}  // namespace hub
