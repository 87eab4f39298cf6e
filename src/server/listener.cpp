// See listener.hpp.
#include "server/listener.hpp"

#include "hub/listener.hpp"
#include "hub/settings.hpp"
#include "pg/call.hpp"

extern "C" {
#include "commands/dbcommands.h"
#include "miscadmin.h"
}

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace dtm::server {
namespace {

constexpr std::size_t largest_file = 1u << 20;

std::string contents(const char* setting, const char* file) {
    if (!hub::is_set(file)) return {};
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    if (in) text << in.rdbuf();
    if (!in) {
        throw std::runtime_error(std::string(setting) + ": cannot read file \"" + file +
                                 "\": " + std::strerror(errno));
    }
    std::string all = text.str();
    if (all.empty() || all.size() > largest_file) {
        throw std::runtime_error(std::string(setting) + ": file \"" + file + "\" is " +
                                 (all.empty() ? "empty" : "too large"));
    }
    return all;
}

std::string first_line(std::string text) {
    text.erase(std::min(text.find_first_of("\r\n"), text.size()));
    return text;
}

std::string read_token() {
    std::string token = first_line(contents("dtm.api_token_file", hub::settings.api_token_file));
    if (hub::is_set(hub::settings.api_token_file) && token.empty()) {
        throw std::runtime_error("dtm.api_token_file: the first line of the file is empty");
    }
    return token;
}

void read_certificate(net::ServerSettings& wanted) {
    wanted.certificate = contents("dtm.api_tls_cert_file", hub::settings.api_tls_cert_file);
    wanted.key = contents("dtm.api_tls_key_file", hub::settings.api_tls_key_file);
    if (wanted.certificate.empty() != wanted.key.empty()) {
        throw std::runtime_error(
            "dtm.api_tls_cert_file and dtm.api_tls_key_file must be set both, or none");
    }
}

// What was wrong the last time; said once.
std::string trouble;

void complain(const std::string& what, bool listens) {
    if (!what.empty() && trouble != what) {
        pg::log(WARNING,
                listens ? "the API server of dtm_pg goes on with the token and the certificate "
                          "that it has"
                        : "the API server of dtm_pg does not listen",
                what, "Mend it and reload the configuration (pg_reload_conf()).");
    }
    trouble = what;
}

}  // namespace

bool is_api_database() {
    if (!hub::is_set(hub::settings.http_listen) || !hub::is_set(hub::settings.api_database))
        return false;
    return pg::call([] {
        const char* name = get_database_name(MyDatabaseId);
        return name != nullptr && std::strcmp(name, hub::settings.api_database) == 0;
    });
}

net::ServerSettings listener_settings(const net::ServerSettings& before) {
    net::ServerSettings wanted;
    wanted.listen = hub::settings.http_listen;
    wanted.max_connections = static_cast<std::uint32_t>(hub::settings.http_max_connections);
    bool usable = true;
    std::string wrong;
    try {
        wanted.token = read_token();
    } catch (const std::runtime_error& error) {
        wrong = error.what();
        wanted.token = before.token;
        usable = !before.token.empty();
    }
    try {
        read_certificate(wanted);
    } catch (const std::runtime_error& error) {
        wrong += (wrong.empty() ? "" : "; ") + std::string(error.what());
        wanted.certificate = before.certificate;
        wanted.key = before.key;
        usable = usable && !before.certificate.empty();
    }
    if (!wrong.empty() && (!usable || before.listen.empty())) wanted = {};
    complain(wrong, !wanted.listen.empty());
    return wanted;
}

void publish(const net::ListenerState& state) {
    static std::string complained;
    hub::ListenerInfo info;
    info.listening = state.listening;
    info.trouble = trouble.empty() ? state.error : trouble;
    info.connections = state.connections;
    hub::publish_listener(info);
    if (state.error != complained) {
        complained = state.error;
        if (!complained.empty()) {
            pg::log(WARNING, "the API server of dtm_pg cannot listen and tries again every second",
                    complained);
        } else if (!state.listening.empty()) {
            pg::log(LOG, "the API server of dtm_pg listens again at " + state.listening);
        }
    }
}

void withdraw() {
    trouble.clear();
    hub::withdraw_listener();
}

}  // namespace dtm::server
