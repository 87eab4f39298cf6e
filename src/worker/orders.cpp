// See orders.hpp.
#include "worker/orders.hpp"

#include "net/host_key.hpp"

namespace dtm::worker {

Orders::Orders(store::Control control)
    : everything_(std::move(control.everything_paused)), redirects_(std::move(control.redirects)) {
    for (const std::string& host : control.paused_hosts) hosts_.insert(net::host_key(host));
}

std::optional<std::string> Orders::paused(const std::string& url) const {
    if (everything_) return "everything is " + *everything_;
    if (hosts_.empty()) return std::nullopt;
    const std::string key = net::host_key(url);
    if (!hosts_.contains(key)) return std::nullopt;
    return "host " + key + " is paused";
}

void Orders::redirect(std::string& url) const {
    if (auto place = store::redirected(redirects_, url)) url = std::move(*place);
}

}  // namespace dtm::worker
