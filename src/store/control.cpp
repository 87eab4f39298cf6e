// See control.hpp.
#include "store/control.hpp"

#include "store/access.hpp"

namespace dtm::store {

Control control() {
    Control found;
    if (!table_exists("control")) return found;
    static pg::Statement statement(
        "SELECT kind, name, value, reason, role FROM dtm.control ORDER BY kind, name", {});
    pg::Args none;
    const pg::Rows rows = statement.execute(none);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const std::string name(rows.text(i, 2));
        if (rows.text(i, 1) == "redirect") {
            found.redirects.emplace_back(name, rows.text(i, 3));
        } else if (!name.empty()) {
            found.paused_hosts.push_back(name);
        } else {
            const auto reason = rows.opt_text(i, 4);
            found.everything_paused =
                std::string(paused_by).append(rows.text(i, 5)) + (reason ? ": " + *reason : "");
        }
    }
    return found;
}

namespace {

std::size_t host_begin(std::string_view url) {
    const std::size_t scheme = url.find("://");
    return scheme == url.npos ? 0 : scheme + 3;
}

std::string_view authority(std::string_view url) {
    url.remove_prefix(host_begin(url));
    return url.substr(0, url.find_first_of("/?#"));
}

bool has_port(std::string_view prefix) {
    std::string_view host = authority(prefix);
    host.remove_prefix(host.rfind('@') + 1);  // npos + 1 is 0
    const std::size_t colon = host.rfind(':');
    return colon != host.npos && host.find(']', colon) == host.npos;
}

// Whether `rest`, which follows the old prefix in a URL, may follow the new one. Where one of them
// ends with a host, the host must end there in the URL, too: http://pay is not the beginning of
// http://payments, nor http://pay:80 of http://pay:8080.
bool fits(std::string_view from, std::string_view to, std::string_view rest) {
    if (!ends_with_host(from) && !ends_with_host(to)) return true;
    if (rest.empty() || rest.find_first_of("/?#") == 0) return true;
    if (rest.front() != ':' || !ends_with_host(from) || !ends_with_host(to)) return false;
    const std::string_view port = rest.substr(1, rest.find_first_of("/?#") - 1);
    return !has_port(from) && !has_port(to) && port.find_first_not_of("0123456789") == port.npos;
}

}  // namespace

bool ends_with_host(std::string_view prefix) {
    return prefix.find_first_of("/?#", host_begin(prefix)) == prefix.npos;
}

std::optional<std::string> redirected(
    const std::vector<std::pair<std::string, std::string>>& redirects, std::string_view url) {
    const std::pair<std::string, std::string>* best = nullptr;
    for (const auto& order : redirects) {
        const auto& [from, to] = order;
        if (!url.starts_with(from) || !fits(from, to, url.substr(from.size()))) continue;
        if (best == nullptr || from.size() > best->first.size()) best = &order;
    }
    if (best == nullptr) return std::nullopt;
    return best->second + std::string(url.substr(best->first.size()));
}

std::string without_secrets(std::string_view url) {
    url = url.substr(0, url.find_first_of("?#"));
    std::string_view host = authority(url);
    const std::string_view path = url.substr(host_begin(url) + host.size());
    host.remove_prefix(host.rfind('@') + 1);  // npos + 1 is 0
    return std::string(url.substr(0, host_begin(url))).append(host).append(path);
}

bool give_order(std::string_view kind, std::string_view name,
                const std::optional<std::string>& value, const std::optional<std::string>& reason,
                std::string_view role) {
    static pg::Statement statement(
        "INSERT INTO dtm.control (kind, name, value, reason, role) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (kind, name) DO NOTHING",
        {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID});
    pg::Args args;
    args.text(kind).text(name).text(value).text(reason).text(role);
    return statement.execute(args).processed() == 1;
}

void change_order(std::string_view kind, std::string_view name, std::string_view value,
                  const std::optional<std::string>& reason, std::string_view role) {
    static pg::Statement statement(
        "INSERT INTO dtm.control (kind, name, value, reason, role) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (kind, name) DO UPDATE SET value = EXCLUDED.value,"
        " reason = EXCLUDED.reason, role = EXCLUDED.role, time = EXCLUDED.time",
        {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID});
    pg::Args args;
    args.text(kind).text(name).text(value).text(reason).text(role);
    statement.execute(args);
}

bool take_back_order(std::string_view kind, std::string_view name) {
    static pg::Statement statement(
        "DELETE FROM dtm.control WHERE kind OPERATOR(pg_catalog.=) $1"
        " AND name OPERATOR(pg_catalog.=) $2",
        {TEXTOID, TEXTOID});
    pg::Args args;
    args.text(kind).text(name);
    return statement.execute(args).processed() == 1;
}

std::string topic_event(std::string_view topic, std::string_view url) {
    std::string text = "topic " + std::string(topic);
    if (!url.empty()) text.append(": ").append(url);
    return text;
}

std::string retry_event(std::size_t transactions) {
    return std::to_string(transactions) + (transactions == 1 ? " transaction" : " transactions");
}

std::string role_name(Oid role) {
    return pg::call([role] { return GetUserNameFromId(role, false); });
}

void record_event(std::string_view gid, std::string_view verb, std::string_view role,
                  std::string_view detail) {
    if (!table_exists("event")) return;
    static pg::Statement statement(
        "INSERT INTO dtm.event (gid, verb, role, detail) VALUES ($1, $2, $3, $4)",
        {TEXTOID, TEXTOID, TEXTOID, TEXTOID});
    pg::Args args;
    args.text(gid).text(verb).text(role).text(detail);
    statement.execute(args);
}

}  // namespace dtm::store
