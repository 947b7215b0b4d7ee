// Tested by tests/hub_rendering_test.cpp and tests/hub_fanout_test.cpp.

#include "hub/send/rendering.hpp"

#include <algorithm>

#include "hub/template/gcm_alias.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"

namespace hub {

namespace {

RenderedPush refuse(pns::Outcome outcome, std::string why) {
    return {nullptr, {outcome, std::move(why)}};
}

RenderedPush prepared(const pns::Sender& sender, const pns::Message& message) {
    auto checked = sender.prepare(message);
    if (auto* refusal = std::get_if<pns::Refusal>(&checked)) return {nullptr, std::move(*refusal)};
    return {std::get<std::shared_ptr<const pns::Prepared>>(std::move(checked)), {}};
}

void set_header(pns::Headers& headers, std::string name, std::string value) {
    for (auto& [known, old] : headers) {
        if (known == name) {
            old = std::move(value);
            return;
        }
    }
    headers.emplace_back(std::move(name), std::move(value));
}

}  // namespace

const RenderedPush& Rendering::native(std::size_t platform, const pns::Sender& sender,
                                      std::uint64_t epoch) {
    if (native_.size() <= platform) native_.resize(platform + 1);
    Native& mine = native_[platform];
    if (!mine.push || mine.epoch != epoch) {
        mine.push = run_.native_refusal ? RenderedPush{nullptr, *run_.native_refusal}
                                        : prepared(sender, run_.native);
        mine.epoch = epoch;
    }
    return *mine.push;
}

const RenderedPush& Rendering::get(const registry::Device& device, std::size_t platform,
                                   const pns::Sender& sender, std::uint64_t epoch) {
    if (device.template_bytes.empty()) return native(platform, sender, epoch);
    if (epochs_.size() <= platform) epochs_.resize(platform + 1);
    if (epochs_[platform] != epoch) {
        std::erase_if(templated_,
                      [platform](const auto& entry) { return entry.first.platform == platform; });
        epochs_[platform] = epoch;
    }
    const auto& variables = device.variables_bytes;
    const Key key{device.template_hash, variables.empty() ? 0 : tagexpr::keyed_hash(variables),
                  platform};
    const auto known = templated_.find(key);
    if (known != templated_.end() && known->second.variables_bytes == variables &&
        known->second.source->template_bytes == device.template_bytes) {
        return known->second.push;
    }
    if (templated_.size() >= entries_max) templated_.clear();
    auto source = source_of(device, platform);
    auto push = render(device, *source, sender);
    Templated fresh{std::move(source), std::string(variables), std::move(push)};
    return templated_.insert_or_assign(key, std::move(fresh)).first->second.push;
}

std::shared_ptr<const Rendering::Source> Rendering::source_of(const registry::Device& device,
                                                              std::size_t platform) {
    if (sources_.size() >= entries_max) sources_.clear();
    auto& source = sources_[Key{device.template_hash, 0, platform}];
    if (!source || source->template_bytes != device.template_bytes) {
        const auto stored = registry::decode_template(device.template_bytes);
        Parsed<CompiledTemplate> compiled = Refusal{500, "the stored template cannot be read"};
        if (stored) compiled = compile_template(device.platform, *stored);
        source = std::make_shared<const Source>(
            Source{std::string(device.template_bytes), std::move(compiled)});
    }
    return source;
}

RenderedPush Rendering::render(const registry::Device& device, const Source& source,
                               const pns::Sender& sender) {
    if (!ok(source.compiled)) {
        const Refusal& why = std::get<Refusal>(source.compiled);
        return refuse(why.status == 500 ? pns::Outcome::unknown_error
                                        : pns::Outcome::invalid_notification_format,
                      why.message);
    }
    const auto variables = registry::decode_variables(device.variables_bytes);
    if (!variables)
        return refuse(pns::Outcome::unknown_error, "the stored push variables cannot be read");

    Rendered rendered =
        hub::render(std::get<CompiledTemplate>(source.compiled), run_.properties, *variables);
    if (rendered.too_big)
        return refuse(pns::Outcome::invalid_notification_size, "the rendered template is too big");
    pns::Message message;
    message.body = std::move(rendered.body);
    if (run_.gcm_through_fcmv1 && device.platform == "gcm") {
        auto converted = gcm_to_fcmv1(message.body);
        if (!ok(converted)) {
            return refuse(pns::Outcome::invalid_notification_format,
                          std::get<Refusal>(std::move(converted)).message);
        }
        message.body = std::get<std::string>(std::move(converted));
    }
    message.headers = run_.native.headers;
    message.expires_at_ms = run_.native.expires_at_ms;
    for (auto& [name, value] : rendered.headers)
        set_header(message.headers, lower(name), std::move(value));
    if (!rendered.priority.empty())
        set_header(message.headers, "apns-priority", std::move(rendered.priority));
    if (!rendered.expiry.empty()) {
        std::string seconds = "0";
        if (rendered.expiry != "0") {
            const auto time = parse_time_ms(rendered.expiry);
            if (!time)
                return refuse(pns::Outcome::invalid_notification_format,
                              "Expiry is neither a date nor 0");
            seconds = std::to_string(*time / 1000);
        }
        set_header(message.headers, "apns-expiration", std::move(seconds));
    }
    return prepared(sender, message);
}

}  // namespace hub
