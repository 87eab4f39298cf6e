// One HTTP exchange on a reusable libcurl easy handle: the request of a Call goes in, a Reply comes
// out. Knows nothing of queues and loops. It survives hostile peers: size and duration are bounded,
// and an answer that did not arrive completely is no answer.
#pragma once

#include "net/client.hpp"
#include "net/host_queues.hpp"

#include <curl/curl.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace dtm::net {

// What the sockets of all transfers report to. Called inside of libcurl, so nothing may throw.
class SocketObserver {
public:
    // False: there is no memory to look after it.
    virtual bool opened(int fd) noexcept = 0;
    virtual void closing(int fd) noexcept = 0;

protected:
    ~SocketObserver() = default;
};

class Transfer {
public:
    // Throws std::runtime_error when libcurl has no memory.
    explicit Transfer(SocketObserver& sockets);

    // Prepares the handle for `call`. Throws std::bad_alloc or std::runtime_error.
    void begin(Call call, HostQueues::Place place, const Settings& settings);
    // The answer after libcurl said that the transfer is over. Releases the call.
    Reply finish(CURLcode result);

    // Before finish(): it ended because this process has no descriptor or no memory left, which
    // says nothing about the host.
    bool is_starved(CURLcode result) const;
    // The request may have left this machine.
    bool has_left() const { return attempts_ > 0; }
    // Instead of finish(): the call, to be made another time.
    Call take_back();

    CURL* easy() const { return easy_.get(); }
    HostQueues::Place place() const { return place_; }
    long new_connections() const { return new_connections_; }

private:
    struct EasyDeleter {
        void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
    };
    struct ListDeleter {
        void operator()(curl_slist* list) const { curl_slist_free_all(list); }
    };

    template <typename T>
    void set(CURLoption option, T value);
    void set_constant_options();
    void start_over();
    void set_headers(const Headers& headers);
    std::string error_text(CURLcode result) const;
    void release();

    static curl_socket_t on_open(void* self, curlsocktype, curl_sockaddr* address) noexcept;
    static int on_attempt(void* self, char*, char*, int, int) noexcept;
    static std::size_t on_body(char* data, std::size_t size, std::size_t count,
                               void* self) noexcept;
    static std::size_t on_header(char* data, std::size_t size, std::size_t count,
                                 void* self) noexcept;

    SocketObserver& sockets_;
    std::unique_ptr<curl_slist, ListDeleter> header_list_;
    Headers headers_;  // what header_list_ was made of
    std::unique_ptr<CURL, EasyDeleter> easy_;
    std::string user_agent_;
    Call call_;
    HostQueues::Place place_;
    std::string body_;
    std::size_t max_body_ = 0;
    std::size_t body_read_ = 0;
    std::size_t headers_read_ = 0;
    int attempts_ = 0;  // libcurl repeats a request when a kept connection turns out to be dead
    int socket_errno_ = 0;
    bool body_cut_ = false;
    bool headers_too_large_ = false;
    bool out_of_memory_ = false;
    long new_connections_ = 0;
    std::array<char, CURL_ERROR_SIZE> error_buffer_{};
};

}  // namespace dtm::net
