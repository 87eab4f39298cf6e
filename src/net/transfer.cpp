#include "net/transfer.hpp"

#include "net/descriptors.hpp"
#include "net/room.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <stdexcept>
#include <system_error>

namespace dtm::net {

namespace {

// A participant that sends more than this many times the kept body is cut off, so that an endless
// body costs a bounded amount of traffic. Its status and the kept part are the answer.
constexpr std::size_t read_factor = 16;

// All header lines of one answer together. libcurl bounds one line, not their number.
constexpr std::size_t max_header_bytes = 256UL * 1024;

// libcurl allocates this per running transfer; answers are small, and ten thousand transfers of the
// default 16 KiB would be 160 MB.
constexpr long receive_buffer_bytes = 4096;

// A day. 0 means "never" to libcurl, and a call that never ends is not allowed.
constexpr long max_timeout_ms = 24L * 3600 * 1000;

int on_close(void* observer, curl_socket_t fd) noexcept {
    static_cast<SocketObserver*>(observer)->closing(fd);
    return ::close(fd);
}

}  // namespace

template <typename T>
void Transfer::set(CURLoption option, T value) {
    const CURLcode result = curl_easy_setopt(easy_.get(), option, value);
    if (result == CURLE_OUT_OF_MEMORY) throw std::bad_alloc();
    if (result != CURLE_OK) {
        throw std::runtime_error("libcurl refuses option " + std::to_string(option) + ": " +
                                 curl_easy_strerror(result));
    }
}

Transfer::Transfer(SocketObserver& sockets) : sockets_(sockets), easy_(curl_easy_init()) {
    if (!easy_) throw std::runtime_error("libcurl cannot make a handle");
    set_constant_options();
}

void Transfer::set_constant_options() {
    set(CURLOPT_PRIVATE, static_cast<void*>(this));
    set(CURLOPT_NOSIGNAL, 1L);
    // Without this, ending a transfer that still waits for getaddrinfo() waits for it, too: a dead
    // name server would stop all calls at the first timeout, and the process at its end. With it
    // libcurl lets go of the resolver thread, which frees its own memory whenever it returns (7.87
    // and later, lib/asyn-thread.c, Curl_resolver_kill).
    set(CURLOPT_QUICK_EXIT, 1L);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_PROXY, "");       // "" and not unset: http_proxy of the environment is ignored
    set(CURLOPT_PATH_AS_IS, 1L);  // the stored URL is what is called
    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    set(CURLOPT_TCP_NODELAY, 1L);
    set(CURLOPT_BUFFERSIZE, receive_buffer_bytes);
    set(CURLOPT_ERRORBUFFER, error_buffer_.data());
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set(CURLOPT_WRITEDATA, static_cast<void*>(this));
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_HEADERDATA, static_cast<void*>(this));
    set(CURLOPT_PREREQFUNCTION, &Transfer::on_attempt);
    set(CURLOPT_PREREQDATA, static_cast<void*>(this));
    set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_open);
    set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
    set(CURLOPT_CLOSESOCKETFUNCTION, &on_close);
    // A connection outlives the transfer that opened it, so its end is reported to the observer.
    set(CURLOPT_CLOSESOCKETDATA, static_cast<void*>(&sockets_));
}

// libcurl 7.88 repeats a request on another connection at most five times in the life of a handle,
// not of a request: a handle that is used again and again would some day hand out the error
// instead. Only this resets the count.
void Transfer::start_over() {
    curl_easy_reset(easy_.get());
    header_list_.reset();
    headers_.reset();
    user_agent_.clear();
    set_constant_options();
}

int Transfer::on_attempt(void* self, char*, char*, int, int) noexcept {
    ++static_cast<Transfer*>(self)->attempts_;
    return CURL_PREREQFUNC_OK;
}

void Transfer::begin(Call call, HostQueues::Place place, const Settings& settings) {
    if (attempts_ > 1) start_over();
    attempts_ = 0;
    call_ = std::move(call);
    place_ = place;
    body_.clear();
    max_body_ = settings.max_body;
    body_read_ = headers_read_ = 0;
    socket_errno_ = 0;
    body_cut_ = headers_too_large_ = out_of_memory_ = false;
    error_buffer_[0] = '\0';

    if (settings.user_agent != user_agent_) {
        set(CURLOPT_USERAGENT, settings.user_agent.c_str());
        user_agent_ = settings.user_agent;
    }
    set(CURLOPT_URL, call_.url.c_str());
    if (call_.post) {
        // libcurl reads from the caller's bytes; nullptr would mean "use the read callback".
        set(CURLOPT_POSTFIELDS, call_.body.empty() ? "" : call_.body.data());
        set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(call_.body.size()));
    } else {
        set(CURLOPT_HTTPGET, 1L);
    }
    const auto ms = call_.timeout.count();
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::clamp<decltype(ms)>(ms, 1, max_timeout_ms)));
    set_headers(call_.headers);
}

void Transfer::set_headers(const Headers& headers) {
    // Consecutive calls mostly carry the same headers, and the list is a dozen allocations.
    if (header_list_ && headers == headers_) return;
    std::unique_ptr<curl_slist, ListDeleter> list;
    const auto append = [&list](const char* line) {
        curl_slist* longer = curl_slist_append(list.get(), line);
        if (longer == nullptr) throw std::bad_alloc();
        static_cast<void>(list.release());
        list.reset(longer);
    };
    append("Expect:");  // no 100-continue round trip for large bodies
    if (headers) {
        for (const std::string& header : *headers) append(header.c_str());
    }
    set(CURLOPT_HTTPHEADER, list.get());
    header_list_ = std::move(list);
    headers_ = headers;
}

curl_socket_t Transfer::on_open(void* self, curlsocktype, curl_sockaddr* address) noexcept {
    auto& transfer = *static_cast<Transfer*>(self);
    const int fd = ::socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                            address->protocol);
    if (fd < 0) {
        transfer.socket_errno_ = errno;
        return CURL_SOCKET_BAD;
    }
    if (!transfer.sockets_.opened(fd)) {
        ::close(fd);
        transfer.socket_errno_ = ENOMEM;
        return CURL_SOCKET_BAD;
    }
    return fd;
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count,
                              void* self) noexcept {
    auto& transfer = *static_cast<Transfer*>(self);
    const std::size_t bytes = size * count;
    transfer.body_read_ += bytes;
    try {
        const std::size_t room = transfer.max_body_ - transfer.body_.size();
        transfer.body_.append(data, std::min(bytes, room));
    } catch (...) {
        transfer.out_of_memory_ = true;
        return 0;
    }
    if (transfer.body_read_ / read_factor > transfer.max_body_) {
        transfer.body_cut_ = true;
        return 0;  // ends the transfer with CURLE_WRITE_ERROR
    }
    return bytes;
}

std::size_t Transfer::on_header(char*, std::size_t size, std::size_t count, void* self) noexcept {
    auto& transfer = *static_cast<Transfer*>(self);
    transfer.headers_read_ += size * count;
    if (transfer.headers_read_ > max_header_bytes) {
        transfer.headers_too_large_ = true;
        return 0;
    }
    return size * count;
}

std::string Transfer::error_text(CURLcode result) const {
    if (headers_too_large_) {
        return "the headers of the answer are larger than " + std::to_string(max_header_bytes) +
               " bytes";
    }
    if (out_of_memory_ || result == CURLE_OUT_OF_MEMORY) return "out of memory";
    if (result == CURLE_COULDNT_CONNECT && socket_errno_ != 0) {
        return "cannot open a socket: " + std::generic_category().message(socket_errno_);
    }
    if (error_buffer_[0] != '\0') return error_buffer_.data();
    return curl_easy_strerror(result);
}

bool Transfer::is_starved(CURLcode result) const {
    if (out_of_memory_ || result == CURLE_OUT_OF_MEMORY) return true;
    if (result == CURLE_COULDNT_CONNECT) {
        return socket_errno_ == EMFILE || socket_errno_ == ENFILE || socket_errno_ == ENOBUFS ||
               socket_errno_ == ENOMEM;
    }
    // The resolver does not say why it could not ask.
    return result == CURLE_COULDNT_RESOLVE_HOST && out_of_descriptors();
}

Call Transfer::take_back() {
    Call call = std::move(call_);
    new_connections_ = 0;
    release();
    return call;
}

Reply Transfer::finish(CURLcode result) {
    Reply reply;
    reply.id = call_.id;
    curl_off_t elapsed = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_TOTAL_TIME_T, &elapsed);
    reply.elapsed = std::chrono::microseconds(elapsed);
    curl_easy_getinfo(easy_.get(), CURLINFO_NUM_CONNECTS, &new_connections_);
    if (result == CURLE_OK || body_cut_) {
        curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &reply.status);
        reply.body = std::move(body_);
        reply.body.shrink_to_fit();  // it grew by doubling, and may wait for long
        if (reply.status == 0) reply.error = "the answer has no HTTP status";
    } else {
        reply.error = error_text(result);
    }
    release();
    return reply;
}

void Transfer::release() {
    call_ = Call();  // libcurl's pointer to the body is set again before it is used again
    place_ = {};
    give_up(body_);
}

}  // namespace dtm::net
