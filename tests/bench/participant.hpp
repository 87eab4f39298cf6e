// The service that the benchmark's branches call: answers every HTTP/1.1 request with 200 and
// {"dtm_result":"SUCCESS"}, keep-alive, one thread, epoll. It parses no more than it must to find
// the end of a request, so that its CPU is not what is measured. It trusts its clients: they are
// the coordinator and the driver.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

class Participant {
public:
    // Told of every request: its first line, "POST /a?branch_id=01&gid=… HTTP/1.1". May be empty.
    using Seen = std::function<void(std::string_view)>;

    // Listens, so that nobody who knows the port is refused. Throws std::system_error.
    Participant(const std::string& address, int port, Seen seen = {});
    ~Participant();
    Participant(const Participant&) = delete;
    Participant& operator=(const Participant&) = delete;

    void run();   // until stop()
    void stop();  // from any thread

private:
    void watch(int fd);
    void accept_all();
    bool serve(int fd);
    void close_connection(int fd);

    Seen seen_;
    int listener_ = -1, epoll_ = -1, stop_ = -1;
    char buffer_[64 * 1024];
    std::unordered_map<int, std::string> rest_;  // by connection: a request that came in pieces
};
