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
    const Key key{
        device.template_hash,
        device.variables_bytes.empty() ? 0 : std::hash<std::string_view>{}(device.variables_bytes),
        platform};
    if (const auto known = templated_.find(key); known != templated_.end()) return known->second;
    if (templated_.size() >= entries_max) templated_.clear();
    return templated_.emplace(key, render(device, platform, sender)).first->second;
}

RenderedPush Rendering::render(const registry::Device& device, std::size_t platform,
                               const pns::Sender& sender) {
    const Key key{device.template_hash, 0, platform};
    auto& compiled = compiled_[key];
    if (!compiled) {
        const auto source = registry::decode_template(device.template_bytes);
        if (!source)
            return refuse(pns::Outcome::unknown_error, "the stored template cannot be read");
        compiled = std::make_shared<const Parsed<CompiledTemplate>>(
            compile_template(device.platform, *source));
    }
    const auto keep = compiled;  // the cache may start over below
    if (compiled_.size() >= entries_max) compiled_.clear();
    if (!ok(*keep))
        return refuse(pns::Outcome::invalid_notification_format, std::get<Refusal>(*keep).message);
    const auto variables = registry::decode_variables(device.variables_bytes);
    if (!variables)
        return refuse(pns::Outcome::unknown_error, "the stored push variables cannot be read");

    Rendered rendered = hub::render(std::get<CompiledTemplate>(*keep), run_.properties, *variables);
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
