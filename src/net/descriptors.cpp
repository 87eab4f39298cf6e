#include "net/descriptors.hpp"

#include "net/unique_fd.hpp"

#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>

namespace dtm::net {

// Harmless in a process of PostgreSQL: how many files it opens itself was computed when the server
// started (max_files_per_process), and nothing in it uses select(), which knows descriptors below
// 1024 only: PostgreSQL waits with epoll or poll, libpq and libcurl with poll, Asio with epoll.
std::size_t raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        const rlimit raised{limit.rlim_max, limit.rlim_max};
        if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    return limit.rlim_cur;
}

bool out_of_descriptors() {
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return !fd && (errno == EMFILE || errno == ENFILE);
}

}  // namespace dtm::net
