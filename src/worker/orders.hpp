// The standing orders of operators, ready for use at every call: which host is paused, which URL
// goes elsewhere. Knows where they come from, not when they change.
#pragma once

#include "store/control.hpp"

#include <optional>
#include <string>
#include <unordered_set>

namespace dtm::worker {

class Orders {
public:
    Orders() = default;
    explicit Orders(store::Control control);

    const std::optional<std::string>& everything_paused() const { return everything_; }
    bool any_pause() const { return everything_ || !hosts_.empty(); }
    // Why a call of this URL must not leave; none: it may.
    std::optional<std::string> paused(const std::string& url) const;
    void redirect(std::string& url) const;
    bool operator==(const Orders&) const = default;

private:
    std::optional<std::string> everything_;
    std::unordered_set<std::string> hosts_;
    std::vector<std::pair<std::string, std::string>> redirects_;
};

}  // namespace dtm::worker
