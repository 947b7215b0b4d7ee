// Keys, certificates and other credentials as hubs are given them, whole or with a part replaced or
// bytes of it changed: refused in words, or opened the same way again, with tokens that are signed
// in time.
// Inputs: up to 16384 bytes, a property of a credential.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "pns/account.hpp"
#include "pns/certificate_file.hpp"
#include "pns/jwt.hpp"
#include "pns/platform.hpp"
#include "pns/sim/credentials.hpp"
#include "tests/support/pkcs12.hpp"

namespace {

constexpr std::int64_t now_s = 1'795'200'000;
constexpr std::string_view password = "secret";

void require(bool holds) {
    if (!holds) std::abort();
}

/// `text` with the bytes changed that `edits` names: place (two bytes), what is added to it.
std::string edited(std::string text, std::string_view edits) {
    for (; edits.size() >= 3 && !text.empty(); edits.remove_prefix(3)) {
        const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(edits[i]); };
        char& at = text[(byte(0) * std::size_t{256} + byte(1)) % text.size()];
        at = static_cast<char>(static_cast<unsigned char>(at) + byte(2));
    }
    return text;
}

/// Files to change bytes of: encrypted, and as bare as they may be.
const std::vector<std::string>& certificate_files() {
    static const std::vector<std::string> files = [] {
        std::vector<std::string> out;
        for (const support::Pkcs12Form form :
             {support::Pkcs12Form{0, 1, -1}, support::Pkcs12Form{-1, 1, -1},
              support::Pkcs12Form{0, 1, 1},
              support::Pkcs12Form{NID_pbe_WithSHA1And3_Key_TripleDES_CBC, 1, -1}})
            out.push_back(*pns::from_base64(
                support::make_pkcs12("org.example", password.data(), 3'600, form)));
        return out;
    }();
    return files;
}

void check_certificate(const std::string& der) {
    const auto file = pns::read_certificate_file(der, std::string(password));
    if (!file) return;
    require(file->chain_pem.starts_with("-----BEGIN CERTIFICATE-----"));
    const auto key = pns::Key::read_private(file->key_pem);
    require(key.has_value());
    (void)pns::certificate_end_s(file->chain_pem);
}

void check_key(std::string_view text) {
    const auto key = pns::Key::read_private(text);
    if (!key) return;
    if (key->is_p256() || key->is_rsa()) {
        for (const auto padding : {pns::RsaPadding::pkcs1, pns::RsaPadding::pss})
            (void)key->sign("text", padding);
    }
    const std::string pem = key->private_pem();
    if (pem.empty()) return;
    const auto again = pns::Key::read_private(pem);
    require(again && again->fingerprint() == key->fingerprint());
}

const std::vector<pns::Credential>& credentials() {
    static const std::vector<pns::Credential> all = [] {
        std::vector<pns::Credential> out;
        for (const char* name : {"apns", "fcmv1", "wns", "adm", "browser", "hms"})
            out.push_back(pns::sim::make_credential(name).credential);
        return out;
    }();
    return all;
}

/// The claims of a token that was signed here.
void check_jwt(std::string_view token) {
    const auto jwt = pns::split_jwt(token);
    require(jwt.has_value());
    require(nlohmann::json::parse(jwt->header, nullptr, false).is_object());
    require(nlohmann::json::parse(jwt->claims, nullptr, false).is_object());
}

void check_credential(const pns::Credential& credential) {
    const auto* platform = pns::platform_by_name(credential.platform);
    const auto checked = platform->check_credential(credential);
    const auto opened = pns::open_account(credential);
    (void)pns::credential_end_s(credential);
    if (const auto* refusal = std::get_if<pns::Refusal>(&checked)) {
        require(!refusal->message.empty());
        return;
    }
    const auto* account = std::get_if<std::unique_ptr<pns::Account>>(&opened);
    require(account != nullptr && !(*account)->token_key().empty());
    const auto source = (*account)->tokens_per_origin()
                            ? (*account)->token_source_for({"push.example", 443})
                            : (*account)->token_source();
    if (const auto* own = std::get_if<pns::SelfSigned>(&source)) {
        if (const auto token = own->mint(now_s)) check_jwt(*token);
    } else if (const auto* fetched = std::get_if<pns::Fetched>(&source)) {
        require(!fetched->origin.host.empty() && fetched->path.starts_with('/'));
        const auto form = fetched->form(now_s);
        constexpr std::string_view assertion = "assertion=";
        const auto at = form ? form->find(assertion) : std::string::npos;
        if (form) require(form->find_first_of(" \r\n") == std::string::npos);
        if (at == std::string::npos) return;
        const auto from = at + assertion.size();
        check_jwt(std::string_view(*form).substr(from, form->find('&', from) - from));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size < 3) return 0;
    const std::string_view text(reinterpret_cast<const char*>(bytes) + 3, size - 3);
    const std::size_t which = bytes[1];
    switch (bytes[0] % 6) {
        case 0:
            check_key(text);
            check_key(pns::base64(text));
            if (const auto key = pns::Key::read_public(text)) (void)key->verify("text", text);
            (void)pns::certificate_end_s(std::string(text));
            break;
        case 1:
            check_certificate(std::string(text));
            break;
        case 2:
            check_certificate(
                edited(certificate_files()[which % certificate_files().size()], text));
            break;
        default: {
            auto credential = credentials()[which % credentials().size()];
            auto at = credential.properties.begin();
            std::advance(at, bytes[2] % credential.properties.size());
            const bool whole = bytes[0] % 6 == 3;
            if (bytes[0] % 6 == 4) {
                const auto der = pns::from_base64(at->second);
                at->second = der ? pns::base64(edited(*der, text)) : edited(at->second, text);
                if (der) check_key(at->second);
            } else {
                at->second = whole ? std::string(text) : edited(at->second, text);
            }
            check_credential(credential);
        }
    }
    return 0;
}
