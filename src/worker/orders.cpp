// See orders.hpp.
#include "worker/orders.hpp"

#include "net/host_queues.hpp"

#include <algorithm>

namespace dtm::worker {

Orders::Orders(store::Control control)
    : everything_(std::move(control.everything_paused)), redirects_(std::move(control.redirects)) {
    for (const std::string& host : control.paused_hosts) hosts_.insert(net::host_key(host));
    std::ranges::sort(redirects_, std::ranges::greater{},
                      [](const auto& r) { return r.first.size(); });
}

std::optional<std::string> Orders::paused(const std::string& url) const {
    if (everything_) return "everything is " + *everything_;
    if (hosts_.empty()) return std::nullopt;
    const std::string key = net::host_key(url);
    if (!hosts_.contains(key)) return std::nullopt;
    return "host " + key + " is paused";
}

void Orders::redirect(std::string& url) const {
    for (const auto& [from, to] : redirects_) {
        if (!url.starts_with(from)) continue;
        url.replace(0, from.size(), to);
        return;
    }
}

}  // namespace dtm::worker
