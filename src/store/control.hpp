// Standing orders of operators (dtm.control), and the record of all orders (dtm.event). Functions
// run within a pg::Spi scope.
#pragma once

#include "pg/spi.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dtm::store {

// How the text in dtm.trans.attention begins when an operator paused the transaction.
inline constexpr std::string_view paused_by = "paused by ";
inline bool is_paused(const std::optional<std::string>& attention) {
    return attention && attention->starts_with(paused_by);
}

struct Control {
    std::optional<std::string> everything_paused;                // by whom and why
    std::vector<std::string> paused_hosts;                       // as the operator wrote them
    std::vector<std::pair<std::string, std::string>> redirects;  // old prefix, new prefix
};
// Empty where the SQL is that of a version without orders.
Control control();
// Whether a prefix of URLs ends within or with their host.
bool ends_with_host(std::string_view prefix);
// Where an order sends the calls of this URL: the one with the longest prefix. None: as it says.
std::optional<std::string> redirected(
    const std::vector<std::pair<std::string, std::string>>& redirects, std::string_view url);
// Such a place, to be shown to whoever may not see the order: no user, password or query in it.
std::string without_secrets(std::string_view url);

// False: that order stands already; nothing is changed then.
bool give_order(std::string_view kind, std::string_view name,
                const std::optional<std::string>& value, const std::optional<std::string>& reason,
                std::string_view role);
// As give_order, but an order that stands is replaced.
void change_order(std::string_view kind, std::string_view name, std::string_view value,
                  const std::optional<std::string>& reason, std::string_view role);
// False: there is no such order.
bool take_back_order(std::string_view kind, std::string_view name);

// What happened to a topic or to many transactions is in the event's detail.
std::string topic_event(std::string_view topic, std::string_view url);  // no url: all of it
std::string retry_event(std::size_t transactions);
std::string role_name(Oid role);
void record_event(std::string_view gid, std::string_view verb, std::string_view role,
                  std::string_view detail);

}  // namespace dtm::store
