// Tested by tests/pns_connection_test.cpp.

#include "pns/h1_codec.hpp"

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>

namespace pns {

namespace {

namespace http = boost::beast::http;

}  // namespace

void append_h1_post(std::string& out, std::string_view authority, std::string_view path,
                    const H2Fields* common, std::span<const H2Header> headers,
                    std::string_view body) {
    out.append("POST ").append(path).append(" HTTP/1.1\r\nhost: ").append(authority);
    const auto field = [&out](std::string_view name, std::string_view value) {
        out.append("\r\n").append(name).append(": ").append(value);
    };
    if (common != nullptr)
        for (const H2Field& one : *common) field(one.name, one.value);
    for (const H2Header& one : headers) field(one.name, one.value);
    out.append("\r\ncontent-length: ").append(std::to_string(body.size())).append("\r\n\r\n");
    out.append(body);
}

std::string authority_of(const Origin& origin) {
    return origin.port == 443 ? origin.host : origin.host + ':' + std::to_string(origin.port);
}

struct H1Parser::Impl {
    std::optional<http::response_parser<http::string_body>> parser;
    std::string pending;  // bytes the parser wants to see again with more behind them
    std::vector<std::pair<std::string, std::string_view>> names;
    std::vector<std::pair<std::string_view, std::string_view>> headers;
    Answer answer;
    bool ended = false;  // the peer has closed

    void renew() {
        parser.emplace();
        parser->header_limit(header_bytes_max);
        parser->body_limit(body_bytes_max);
        parser->eager(true);
    }

    /// Parses what is pending; `taken`: how much of it is done with.
    Step take(std::size_t& taken) {
        while (taken < pending.size()) {
            error_code ec;
            const auto left = std::string_view(pending).substr(taken);
            const auto now = parser->put(asio::buffer(left), ec);
            taken += now;
            if (ec == http::error::need_more) return wait(pending.size() - taken);
            if (ec) return parser->is_header_done() ? complete(true) : Step::broken;
            if (!parser->is_done()) {
                if (now == 0) return wait(pending.size() - taken);
                continue;
            }
            if (parser->get().result_int() >= 200)
                return taken < pending.size() ? Step::broken : complete(false);
            renew();  // informational
        }
        return Step::more;
    }

    /// `left` bytes are no whole line of a head, of a chunk or behind the last one.
    Step wait(std::size_t left) {
        if (left <= header_bytes_max) return Step::more;
        return parser->is_header_done() ? complete(true) : Step::broken;
    }

    Step complete(bool cut) {
        const auto& message = parser->get();
        names.clear();
        headers.clear();
        for (const auto& field : message) {
            std::string name(field.name_string());
            for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
            names.emplace_back(std::move(name),
                               std::string_view(field.value().data(), field.value().size()));
        }
        for (const auto& [name, value] : names) headers.emplace_back(name, value);
        answer.status = static_cast<int>(message.result_int());
        answer.headers = headers;
        answer.body = message.body();
        answer.body_cut = cut;
        return Step::complete;
    }
};

H1Parser::H1Parser() : impl_(std::make_unique<Impl>()) {
    impl_->renew();
}
H1Parser::~H1Parser() = default;

H1Parser::Step H1Parser::feed(std::string_view bytes) {
    impl_->pending.append(bytes);
    std::size_t taken = 0;
    const Step step = impl_->take(taken);
    impl_->pending.erase(0, taken);
    return step;
}

H1Parser::Step H1Parser::feed_end() {
    auto& impl = *impl_;
    if (!impl.parser->is_header_done() || impl.parser->get().result_int() < 200) {
        return Step::broken;
    }
    impl.ended = true;
    error_code ec;
    impl.parser->put_eof(ec);
    return impl.complete(static_cast<bool>(ec));
}

const Answer& H1Parser::answer() const {
    return impl_->answer;
}

bool H1Parser::keep_alive() const {
    return !impl_->answer.body_cut && !impl_->ended && impl_->parser->get().keep_alive();
}

void H1Parser::reset() {
    impl_->pending.clear();
    impl_->answer = Answer();
    impl_->renew();
}

}  // namespace pns
