// Beast asserts what its caller has to do, and one of these assertions (1.81, parse_chunk_header:
// n >= 5) fails for a chunked body that arrives byte by byte. Bytes of a client must not end the
// process; what is read without the assertion is right.
#define BOOST_DISABLE_ASSERTS

#include "net/request_parser.hpp"

#include "net/asio.hpp"
#include "net/room.hpp"

#include <boost/beast/http/basic_parser.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace dtm::net {

namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using boost::beast::iequals;
using boost::beast::string_view;

// A body grows as it comes; only this much is reserved because a client announces it. All of it
// is, when so large a part has come: growing by doubling would take up to twice its size.
constexpr std::size_t largest_reservation = 16UL * 1024;
constexpr std::size_t part_before_all = 4;

// What is kept of a request.
struct Request {
    std::string method, target, authorization, host, origin, fetch_site, body;
    std::size_t announced = 0;  // of the body
    std::size_t max_header = 0;
    std::size_t header_bytes = 0;
    bool http_1_0 = false;
    bool expects_continue = false;
    bool unknown_encoding = false;
    bool header_complete = false;
    bool from_browser = false;
    bool ignore_body = false;
};

// Beast calls these; everything that is not kept is dropped without an allocation.
class Parser final : public http::basic_parser<true> {
public:
    explicit Parser(Request& request) : request_(request) {}

private:
    // Beast's limit is one of the bytes that wait to be read: many short lines pass it.
    void count(std::size_t bytes, error_code& ec) {
        request_.header_bytes += bytes;
        if (request_.header_bytes > request_.max_header) ec = http::error::header_limit;
    }

    void on_request_impl(http::verb, string_view method, string_view target, int version,
                         error_code& ec) override {
        request_.method.assign(method.data(), method.size());
        request_.target.assign(target.data(), target.size());
        request_.http_1_0 = version == 10;
        count(method.size() + target.size(), ec);
    }

    void on_field_impl(http::field field, string_view name, string_view value,
                       error_code& ec) override {
        count(name.size() + value.size() + 4, ec);
        if (ec || request_.header_complete) return;  // of trailers nothing is wanted
        if (field == http::field::authorization) {
            request_.authorization.assign(value.data(), value.size());
        } else if (field == http::field::host) {
            request_.host.assign(value.data(), value.size());
        } else if (field == http::field::origin) {
            request_.origin.append(value.data(), value.size());  // two of them are nobody's
        } else if (iequals(name, "Sec-Fetch-Site")) {
            request_.fetch_site.assign(value.data(), value.size());
        } else if (field == http::field::user_agent) {
            request_.from_browser = value.starts_with("Mozilla/");
        } else if (field == http::field::expect) {
            request_.expects_continue = iequals(value, "100-continue");
        } else if (field == http::field::transfer_encoding && !iequals(value, "chunked")) {
            request_.unknown_encoding = true;
            ec = http::error::bad_transfer_encoding;
        }
    }

    void on_header_impl(error_code&) override { request_.header_complete = true; }

    void on_body_init_impl(boost::optional<std::uint64_t> const& size, error_code&) override {
        if (size && !request_.ignore_body) {
            request_.announced = static_cast<std::size_t>(*size);
            request_.body.reserve(std::min(request_.announced, largest_reservation));
        }
    }

    std::size_t on_body_impl(string_view bytes, error_code&) override {
        if (request_.ignore_body) return bytes.size();
        std::string& body = request_.body;
        const std::size_t size = body.size() + bytes.size();
        if (size > body.capacity() && size >= request_.announced / part_before_all) {
            body.reserve(request_.announced);
        }
        body.append(bytes.data(), bytes.size());
        return bytes.size();
    }

    void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}

    std::size_t on_chunk_body_impl(std::uint64_t, string_view bytes, error_code& ec) override {
        return on_body_impl(bytes, ec);
    }

    void on_finish_impl(error_code&) override {}
    void on_response_impl(int, string_view, int, error_code&) override {}

    Request& request_;
};

}  // namespace

struct RequestParser::Impl {
    Request request;
    std::optional<Parser> parser;
    std::size_t max_body = 0;
    bool header_said = false;
    unsigned status = 0;
    std::string message;

    Progress fail(std::size_t used, error_code ec) {
        if (ec == http::error::header_limit) {
            status = 431;
            message = "the header of the request is larger than " +
                      std::to_string(request.max_header) + " bytes";
        } else if (ec == http::error::body_limit) {
            status = 413;
            message =
                "the body of the request is larger than " + std::to_string(max_body) + " bytes";
        } else if (request.unknown_encoding) {
            status = 501;
            message = "of the transfer encodings only chunked is understood";
        } else {
            status = 400;
            message = "this is no HTTP/1.1 request: " + ec.message();
        }
        return {Step::failed, used};
    }
};

RequestParser::RequestParser() : impl_(std::make_unique<Impl>()) {}
RequestParser::~RequestParser() = default;
RequestParser::RequestParser(RequestParser&&) noexcept = default;
RequestParser& RequestParser::operator=(RequestParser&&) noexcept = default;

void RequestParser::begin(std::size_t max_header, std::size_t max_body) {
    clear();
    impl_->request.max_header = max_header;
    impl_->max_body = max_body;
    impl_->header_said = false;
    impl_->parser.emplace(impl_->request);
    impl_->parser->header_limit(static_cast<std::uint32_t>(max_header));
    impl_->parser->body_limit(max_body);
}

RequestParser::Progress RequestParser::parse(std::string_view bytes) {
    Parser& parser = *impl_->parser;
    std::size_t used = 0;
    for (;;) {
        if (parser.is_header_done() && !impl_->header_said) {
            impl_->header_said = true;
            return {Step::header, used};
        }
        if (parser.is_done()) return {Step::done, used};
        if (used == bytes.size()) return {Step::more, used};
        error_code ec;
        const std::size_t step =
            parser.put(boost::asio::buffer(bytes.data() + used, bytes.size() - used), ec);
        used += step;
        if (ec == http::error::need_more || (!ec && step == 0)) {
            // A line of a chunked body without end: Beast has no limit for these.
            if (bytes.size() - used > impl_->request.max_header) {
                return impl_->fail(used, http::error::header_limit);
            }
            return {Step::more, used};
        }
        if (ec) return impl_->fail(used, ec);
    }
}

std::size_t RequestParser::bytes() const {
    const Request& request = impl_->request;
    return room_of(request.method) + room_of(request.target) + room_of(request.body);
}

// Assigned to, the texts of a request would keep their room.
void RequestParser::clear() { std::exchange(impl_->request, Request()); }

bool RequestParser::keep_alive() const { return impl_->parser->keep_alive(); }
bool RequestParser::http_1_0() const { return impl_->request.http_1_0; }
bool RequestParser::expects_continue() const { return impl_->request.expects_continue; }
std::string_view RequestParser::target() const { return impl_->request.target; }
std::string_view RequestParser::authorization() const { return impl_->request.authorization; }
std::string_view RequestParser::host() const { return impl_->request.host; }
std::string_view RequestParser::origin() const { return impl_->request.origin; }
std::string_view RequestParser::fetch_site() const { return impl_->request.fetch_site; }
bool RequestParser::from_browser() const { return impl_->request.from_browser; }
void RequestParser::forget_fields() {
    Request& request = impl_->request;
    for (std::string* field :
         {&request.authorization, &request.host, &request.origin, &request.fetch_site}) {
        give_up(*field);
    }
}
void RequestParser::ignore_body() { impl_->request.ignore_body = true; }

std::string RequestParser::take_method() { return std::move(impl_->request.method); }
std::string RequestParser::take_target() { return std::move(impl_->request.target); }
std::string RequestParser::take_body() { return std::move(impl_->request.body); }

unsigned RequestParser::status() const { return impl_->status; }
const std::string& RequestParser::message() const { return impl_->message; }

}  // namespace dtm::net
