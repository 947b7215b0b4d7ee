#include <catch2/catch.hpp>
#include <vector>

#include "pns/jwt.hpp"
#include "tests/support/der.hpp"

using pns::Key;

TEST_CASE("a token signed with either algorithm verifies with its public key only", "[pns]") {
    const std::vector<Key> keys = {Key::generate_p256(), Key::generate_rsa()};
    const std::string claims = R"({"iss":"TEAM123456","iat":1795200000})";
    for (const Key& key : keys) {
        INFO((key.is_p256() ? "ES256" : "RS256"));
        const auto token = pns::sign_jwt(key, "KEY1234567", "JWT", claims);
        REQUIRE(token.has_value());
        CHECK(token->find_first_of("+/=") == std::string::npos);
        const auto jwt = pns::split_jwt(*token);
        REQUIRE(jwt);
        CHECK(jwt->claims == claims);
        CHECK(jwt->header == std::string(R"({"alg":")") + (key.is_p256() ? "ES256" : "RS256") +
                                 R"(","typ":"JWT","kid":"KEY1234567"})");
        if (key.is_p256()) CHECK(jwt->signature.size() == 64);
        const auto known = Key::read_public(key.public_pem());
        REQUIRE(known);
        CHECK(known->verify(jwt->signed_part, jwt->signature));
        CHECK(!known->verify(jwt->signed_part + "x", jwt->signature));
        CHECK(!known->verify(jwt->signed_part, jwt->signature.substr(1)));
        CHECK(!known->verify(jwt->signed_part, ""));
        CHECK(!keys[&key == &keys[0] ? 1 : 0].verify(jwt->signed_part, jwt->signature));
        CHECK(!Key::generate_p256().verify(jwt->signed_part, jwt->signature));
    }
}

TEST_CASE("a private key is read from all the forms in which it is handed around", "[pns]") {
    const Key key = Key::generate_p256();
    const std::string pem = key.private_pem();
    std::string bare, escaped;
    for (std::size_t at = 0, end = 0; at < pem.size(); at = end + 1) {
        end = pem.find('\n', at);
        const std::string line = pem.substr(at, end - at);
        if (!line.starts_with("-----")) bare += line;
        escaped += line + "\\n";
    }
    for (const std::string& text : {pem, bare, escaped, " " + bare + "\n"}) {
        const auto read = Key::read_private(text);
        REQUIRE(read);
        CHECK(read->is_p256());
        CHECK(read->fingerprint() == key.fingerprint());
    }
    for (const std::string& text :
         {std::string(), std::string("AAAA"), std::string("-----BEGIN PRIVATE KEY-----"),
          bare.substr(0, bare.size() / 2), std::string("not a key!"), key.public_pem()})
        CHECK(!Key::read_private(text));
    CHECK(!Key::read_public("x"));
    CHECK(!key.is_rsa());
    CHECK(!Key::generate_rsa(1024).is_rsa());
}

TEST_CASE("base64 and base64url round trip and refuse what they do not know", "[pns]") {
    std::string bytes;
    for (int i = 0; i < 300; ++i) {
        CHECK(pns::from_base64url(pns::base64url(bytes)) == bytes);
        CHECK(pns::from_base64(pns::base64(bytes)) == bytes);
        bytes += static_cast<char>(i * 37);
    }
    CHECK(pns::base64("\xff\xfe\xfd\xfc") == "//79/A==");
    CHECK(pns::base64url("\xff\xfe\xfd\xfc") == "__79_A");
    CHECK(pns::from_base64(" /\n/79/A ==") == "\xff\xfe\xfd\xfc");
    CHECK(!pns::from_base64url("a"));
    CHECK(!pns::from_base64url("a+b="));
    CHECK(!pns::from_base64url("ab=c"));
    CHECK(!pns::from_base64("ab-_"));
    CHECK(!pns::from_base64("ab==="));
}

TEST_CASE("text that is no token is not split", "[pns]") {
    for (const char* text : {"", ".", "a.b", "a.b.c.d", "!.a.b", "YQ.YQ"})
        CHECK(!pns::split_jwt(text));
    CHECK(!pns::split_jwt(std::string(100'000, 'a') + ".YQ.YQ"));
    CHECK(pns::split_jwt("YQ.YQ.YQ"));
}

TEST_CASE("an RSA key signs with either padding, and each is told from the other", "[pns]") {
    const pns::Key key = pns::Key::generate_rsa();
    const auto token = pns::sign_jwt(key, "k", "JWT", R"({"iat":1})", pns::RsaPadding::pss).value();
    const auto jwt = pns::split_jwt(token).value();
    CHECK(jwt.header == R"({"alg":"PS256","typ":"JWT","kid":"k"})");
    CHECK(key.verify(jwt.signed_part, jwt.signature, pns::RsaPadding::pss));
    CHECK_FALSE(key.verify(jwt.signed_part, jwt.signature));
    const auto plain = key.sign("text").value();
    CHECK(key.verify("text", plain));
    CHECK_FALSE(key.verify("text", plain, pns::RsaPadding::pss));
    CHECK(key.sign("text", pns::RsaPadding::pss).value() !=
          key.sign("text", pns::RsaPadding::pss).value());
}

TEST_CASE("an RSA key with a number that is too long is known before it signs", "[pns]") {
    // The length of the key is that of its modulus; signing takes as long as the longest asks for.
    const auto key_with = [](std::size_t modulus_bytes, std::size_t factor_bytes,
                             std::size_t exponent_bytes) {
        const auto number = [](std::size_t bytes) {
            return support::der(0x02, 'A' + std::string(bytes - 1, '['));
        };
        const std::string all = support::der(0x02, std::string(1, '\0')) + number(modulus_bytes) +
                                support::der(0x02, std::string("\1\0\1", 3)) +
                                number(exponent_bytes) + number(factor_bytes) +
                                number(factor_bytes) + number(factor_bytes) + number(factor_bytes) +
                                number(factor_bytes);
        return Key::read_private(pns::base64(support::der(0x30, all)));
    };
    const auto fits = key_with(257, 128, 256);
    REQUIRE(fits);
    CHECK(fits->is_rsa());
    CHECK(key_with(1'024, 512, 1'024)->is_rsa());
    CHECK_FALSE(key_with(1'025, 512, 1'024)->is_rsa());
    CHECK_FALSE(key_with(257, 4'000, 256)->is_rsa());
    CHECK_FALSE(key_with(257, 128, 20'000)->is_rsa());
    CHECK_FALSE(key_with(257, 4'000, 256)->signs_in_time());
    CHECK(Key::generate_p256().signs_in_time());
}
