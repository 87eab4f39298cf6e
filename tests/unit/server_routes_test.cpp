// Which endpoint a request means: the catalogue of dtm-compat.md 1.3, written down once more by
// hand, and the quirks of 1.1 around it.
#include "server/routes.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>

namespace dtm::server {
namespace {

struct Entry {
    const char* method;
    const char* word;  // below /api/dtmsvr/
    Route route;
    bool for_operators = false;
};

constexpr std::array kCatalogue{
    Entry{"GET", "version", Route::version},
    Entry{"GET", "newGid", Route::new_gid},
    Entry{"POST", "prepare", Route::prepare},
    Entry{"POST", "submit", Route::submit},
    Entry{"POST", "abort", Route::abort},
    Entry{"POST", "forceStop", Route::force_stop, true},
    Entry{"POST", "registerBranch", Route::register_branch},
    Entry{"POST", "registerXaBranch", Route::register_branch},
    Entry{"POST", "registerTccBranch", Route::register_branch},
    Entry{"POST", "prepareWorkflow", Route::prepare_workflow},
    Entry{"GET", "query", Route::query},
    Entry{"GET", "all", Route::all, true},
    Entry{"GET", "resetCronTime", Route::reset_cron_time, true},
    Entry{"POST", "resetNextCronTime", Route::reset_next_cron_time, true},
    Entry{"GET", "subscribe", Route::subscribe, true},
    Entry{"GET", "unsubscribe", Route::unsubscribe, true},
    Entry{"DELETE", "topic/orders", Route::delete_topic, true},
    Entry{"GET", "scanKV", Route::scan_kv, true},
    Entry{"GET", "queryKV", Route::query_kv, true},
};
constexpr const char* kMethods[] = {"GET",   "POST", "PUT",     "DELETE",
                                    "PATCH", "HEAD", "OPTIONS", "get"};

std::string path_of(const Entry& e) { return std::string("/api/dtmsvr/") + e.word; }

void expect_nothing(const Match& found) {
    EXPECT_FALSE(found.route);
    EXPECT_EQ(found.redirect, "");
}

TEST(Routes, EveryEndpointByItsMethodAlone) {
    for (const Entry& e : kCatalogue) {
        for (const std::string method : kMethods) {
            SCOPED_TRACE(method + " " + path_of(e));
            const Match found = match(method, path_of(e), true);
            EXPECT_EQ(found.redirect, "");
            if (method == e.method) {
                EXPECT_EQ(found.route, e.route);
            } else {
                EXPECT_FALSE(found.route);  // 404, not 405
            }
        }
    }
}

TEST(Routes, OutsideOfDtmsvr) {
    EXPECT_EQ(match("GET", "/api/metrics", false).route, Route::metrics);
    EXPECT_EQ(match("POST", "/api/json-rpc", false).route, Route::json_rpc);
    expect_nothing(match("POST", "/api/metrics", true));
    expect_nothing(match("GET", "/api/json-rpc", true));
    for (const char* method : kMethods) {
        EXPECT_EQ(match(method, "/api/ping", false).route, Route::ping) << method;
    }
}

TEST(Routes, NamesThatAreSometimesAssumed) {
    for (const char* path :
         {"/", "", "/api", "/api/", "/api/dtmsvr", "/api/dtmsvr/", "/api/dtmsvr/queryTopic",
          "/api/dtmsvr/metrics", "/health", "/api/dtmsvr/ping", "/api/dtmsvr/Submit",
          "/API/dtmsvr/version", "/api/dtmsvr/submit2", "/api/dtmsvr/submi", "/api/dtmsvr/submit/x",
          "api/dtmsvr/version", "/api/dtmsvr/version?x=1"}) {
        SCOPED_TRACE(path);
        expect_nothing(match("GET", path, true));
        expect_nothing(match("POST", path, true));
    }
}

TEST(Routes, OperatorsCanBeLockedOut) {
    for (const Entry& e : kCatalogue) {
        SCOPED_TRACE(e.word);
        const Match found = match(e.method, path_of(e), false);
        if (e.for_operators) {
            expect_nothing(found);
        } else {
            EXPECT_EQ(found.route, e.route);
        }
        // Nor does a redirect tell that there is something.
        if (e.for_operators) expect_nothing(match(e.method, path_of(e) + "/", false));
    }
}

TEST(Routes, LastSlashIsRedirected) {
    for (const Entry& e : kCatalogue) {
        SCOPED_TRACE(e.word);
        const Match found = match(e.method, path_of(e) + "/", true);
        EXPECT_FALSE(found.route);
        EXPECT_EQ(found.redirect, path_of(e));
    }
    EXPECT_EQ(match("PUT", "/api/ping/", true).redirect, "/api/ping");
    expect_nothing(match("GET", "/api/dtmsvr/submit/", true));  // not by this method
    expect_nothing(match("POST", "/api/dtmsvr/nothing/", true));
}

TEST(Routes, DoubledSlashesCountAsOne) {
    EXPECT_EQ(match("POST", "/api/dtmsvr//submit", false).route, Route::submit);
    EXPECT_EQ(match("POST", "//api///dtmsvr//submit", false).route, Route::submit);
    EXPECT_EQ(match("GET", "/api//ping", false).route, Route::ping);
    const Match slash = match("POST", "/api/dtmsvr//submit//", false);
    EXPECT_FALSE(slash.route);
    EXPECT_EQ(slash.redirect, "/api/dtmsvr/submit");  // where no second redirect waits
    expect_nothing(match("GET", "//", true));
}

TEST(Routes, TopicIsTheLastWord) {
    EXPECT_EQ(match("DELETE", "/api/dtmsvr/topic/orders", true).topic, "orders");
    EXPECT_EQ(match("DELETE", "/api//dtmsvr/topic//orders", true).topic, "orders");
    EXPECT_EQ(match("DELETE", "/api/dtmsvr/topic/a.b c", true).topic, "a.b c");
    for (const char* path : {"/api/dtmsvr/topic", "/api/dtmsvr/topic/", "/api/dtmsvr/topic//",
                             "/api/dtmsvr/topic/a/b", "/api/dtmsvr/topic/a/b/"}) {
        SCOPED_TRACE(path);
        const Match found = match("DELETE", path, true);
        expect_nothing(found);
        EXPECT_EQ(found.topic, "");
    }
    EXPECT_EQ(match("POST", "/api/dtmsvr/submit", true).topic, "");
}

TEST(Routes, LabelIsTheLastWordInLowerCase) {
    std::set<std::string_view> seen;
    for (auto n = 0; n <= static_cast<int>(Route::json_rpc); ++n) {
        const std::string_view word = label(static_cast<Route>(n));
        EXPECT_FALSE(word.empty()) << n;
        EXPECT_TRUE(seen.insert(word).second) << word;
    }
    for (const Entry& e : kCatalogue) {
        if (e.route == Route::register_branch) continue;  // its aliases share one
        std::string word;
        for (const char* c = e.word; *c != '\0' && *c != '/'; ++c) {
            word += *c >= 'A' && *c <= 'Z' ? static_cast<char>(*c - 'A' + 'a') : *c;
        }
        EXPECT_EQ(label(e.route), word);
    }
    EXPECT_EQ(label(Route::register_branch), "registerbranch");
    EXPECT_EQ(label(Route::metrics), "metrics");
    EXPECT_EQ(label(Route::ping), "ping");
    EXPECT_EQ(label(Route::json_rpc), "json-rpc");
}

}  // namespace
}  // namespace dtm::server
