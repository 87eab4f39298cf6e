// One host, one key, however a URL spells it.
#include "net/host_key.hpp"

#include <gtest/gtest.h>

#include <string>

namespace {

using dtm::net::host_key;

TEST(NetHostKey, SchemeHostAndPort) {
    EXPECT_EQ(host_key("http://a/x"), "http://a:80");
    EXPECT_EQ(host_key("http://a:80/x"), "http://a:80");
    EXPECT_EQ(host_key("http://a:/x"), "http://a:80");
    EXPECT_EQ(host_key("https://a?x"), "https://a:443");
    EXPECT_EQ(host_key("https://a:/x"), "https://a:443");
    EXPECT_EQ(host_key("HTTPS://A.Example:8443#x"), "https://a.example:8443");
    EXPECT_EQ(host_key("http://user:pass@a:81/x@y"), "http://a:81");
    EXPECT_EQ(host_key("http://user:pass@a"), "http://a:80");
    EXPECT_EQ(host_key("http://3scale.example:81/"), "http://3scale.example:81");
    EXPECT_EQ(host_key("http://[::1]/"), "http://[::1]:80");
    EXPECT_EQ(host_key("http://[::1]:81/"), "http://[::1]:81");
}

TEST(NetHostKey, OneHostHoweverItIsSpelled) {
    for (const char* url :
         {"http://127.0.0.1:81/", "http://127.0.0.1:081/x", "http://127.1:81/", "http://0x7f.1:81/",
          "http://2130706433:81/", "http://0177.0.0.1:81/", "http://%3127.0.0.1:81/",
          "http://%3127.1:81/", "HTTP://u:p@127.0.0.1:00081?x", "http://[::ffff:127.0.0.1]:81/"}) {
        EXPECT_EQ(host_key(url), "http://127.0.0.1:81") << url;
    }
    for (const char* url : {"http://pay.example:8080/", "http://Pay.Example.:8080/",
                            "http://pay%2Eexample:08080/", "http://p%61y.example:8080#x"}) {
        EXPECT_EQ(host_key(url), "http://pay.example:8080") << url;
    }
    for (const char* url : {"http://[2001:db8::1]/", "http://[2001:DB8:0:0::0:1]:80/"}) {
        EXPECT_EQ(host_key(url), "http://[2001:db8::1]:80") << url;
    }
}

TEST(NetHostKey, OtherHostsAreOthers) {
    EXPECT_NE(host_key("http://a:81"), host_key("http://a:82"));
    EXPECT_NE(host_key("http://a"), host_key("https://a"));
    EXPECT_NE(host_key("http://[fe80::1%25eth0]/"), host_key("http://[fe80::1%25eth1]/"));
    EXPECT_NE(host_key("http://127.0.0.1/"), host_key("http://127.0.0.2/"));
}

TEST(NetHostKey, WhatNobodyCanCall) {
    EXPECT_EQ(host_key("nonsense"), "");
    EXPECT_EQ(host_key(""), "");
    EXPECT_EQ(host_key("http://"), "http://:");
    for (const char* url : {"http://a b/", "http://%zz/", "http://a:x/", "http://[::1/", "://a"}) {
        EXPECT_NE(host_key(url), host_key("http://a/")) << url;
    }
    const std::string key = host_key("http://user:p@ss@stock/");
    EXPECT_EQ(key.find("p@ss"), key.npos) << key;
}

}  // namespace
