// Tested by tests/pns_platforms_test.cpp and tests/pns_sim_test.cpp.
#include "pns/sim/credentials.hpp"

#include <openssl/rand.h>

#include <array>
#include <stdexcept>

#include "pns/jwt.hpp"
#include "pns/sim/platforms.hpp"

namespace pns::sim {

namespace {

constexpr std::string_view upper_and_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
constexpr std::string_view digits = "0123456789";
constexpr std::string_view hex = "0123456789abcdef";

}  // namespace

std::string random_text(std::size_t size, std::string_view alphabet) {
    std::array<unsigned char, 64> bytes{};
    if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
        throw std::runtime_error("no random bytes");
    std::string out;
    for (std::size_t i = 0; i < size; ++i)
        out += alphabet[bytes[i % bytes.size()] % alphabet.size()];
    return out;
}

MadeCredential make_apns_credential() {
    const Key key = Key::generate_p256();
    MadeCredential made;
    made.trust.public_key_pem = key.public_pem();
    made.trust.key_id = random_text(10, upper_and_digits);
    made.trust.team_id = random_text(10, upper_and_digits);
    made.trust.app = "org.example.pushhub";
    made.credential.properties["Token"] = key.private_pem();
    made.credential.properties["KeyId"] = made.trust.key_id;
    made.credential.properties["AppId"] = made.trust.team_id;
    made.credential.properties["AppName"] = made.trust.app;
    made.credential.properties["Endpoint"] = "https://api.push.apple.com:443/3/device";
    return made;
}

MadeCredential make_fcm_credential() {
    const Key key = Key::generate_rsa();
    MadeCredential made;
    made.trust.public_key_pem = key.public_pem();
    made.trust.project = "pushhub-" + random_text(6, digits);
    made.trust.client_email = "sender@" + made.trust.project + ".iam.gserviceaccount.com";
    made.credential.properties["PrivateKey"] = key.private_pem();
    made.credential.properties["ProjectId"] = made.trust.project;
    made.credential.properties["ClientEmail"] = made.trust.client_email;
    return made;
}

MadeCredential make_wns_credential() {
    MadeCredential made;
    made.trust.client_id = "ms-app://s-1-15-2-" + random_text(10, digits);
    made.trust.client_secret = random_text(32, hex);
    made.trust.scope = "notify.windows.com";
    made.credential.properties["PackageSid"] = made.trust.client_id;
    made.credential.properties["SecretKey"] = made.trust.client_secret;
    return made;
}

MadeCredential make_adm_credential() {
    MadeCredential made;
    made.trust.client_id = "amzn1.application-oa2-client." + random_text(32, hex);
    made.trust.client_secret = random_text(64, hex);
    made.trust.scope = "messaging:push";
    made.credential.properties["ClientId"] = made.trust.client_id;
    made.credential.properties["ClientSecret"] = made.trust.client_secret;
    return made;
}

MadeCredential make_credential(std::string_view platform) {
    const SimPlatform* row = sim_platform(platform);
    if (!row) throw std::invalid_argument("no simulator for platform " + std::string(platform));
    MadeCredential made = row->credential();
    made.credential.platform = platform;
    return made;
}

std::vector<std::string> host_names(std::string_view platform) {
    const SimPlatform* row = sim_platform(platform);
    std::vector<std::string> out = row ? row->hosts : std::vector<std::string>();
    out.emplace_back("localhost");
    return out;
}

}  // namespace pns::sim
