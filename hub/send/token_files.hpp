#pragma once

// The self-signed provider tokens of a process (APNs) in the data directory, so that a restart goes
// on with the same one: Apple bounds how often a token may change. One file a credential, mode
// 0600, named by a keyed hash of the token's key; a token opens the provider for an hour at most.
//
// Any thread. Files are read when it is made and written on the store threads.

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "hub/process/loops.hpp"
#include "pns/bearer.hpp"

namespace hub {

class TokenFiles final : public pns::TokenStore {
  public:
    /// Makes the directory and removes what is older than a day. `secret` keys the names.
    TokenFiles(std::filesystem::path directory, std::string secret, StorePool& pool,
               std::int64_t now_ms);

    std::optional<std::string> load(const std::string& token_key) override;
    void save(const std::string& token_key, std::string text) override;

  private:
    std::string name_of(const std::string& token_key) const;

    const std::filesystem::path directory_;
    const std::string secret_;
    StorePool& pool_;
    std::map<std::string, std::string> found_;  ///< by file name; constant after construction
};

}  // namespace hub
