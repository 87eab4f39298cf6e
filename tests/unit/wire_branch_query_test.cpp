// The identity of a branch call in a query string.
#include "wire/branch_query.hpp"

#include <gtest/gtest.h>

namespace dtm::wire {
namespace {

void expect_all(std::string_view text) {
    const BranchQuery q = parse_branch_query(text);
    EXPECT_EQ(q.trans_type, "saga") << text;
    EXPECT_EQ(q.gid, "g 1/ü") << text;
    EXPECT_EQ(q.branch_id, "01") << text;
    EXPECT_EQ(q.op, "action") << text;
}

TEST(BranchQuery, AllForms) {
    expect_all("trans_type=saga&gid=g+1%2F%c3%BC&branch_id=01&op=action");
    expect_all("?op=action&branch_id=01&gid=g%201/%C3%BC&trans_type=saga");
    expect_all("http://h:1/p?x=1&op=action&branch_id=01&gid=g+1%2f%C3%BC&trans_type=saga#f");
    expect_all("&&op=action&branch%5Fid=01&=&gid=g+1/%C3%BC&trans_type=saga&");
}

TEST(BranchQuery, TwoValuesForOneNameAreSeen) {
    // The URL of the step has one of its own, and the coordinator has added the real one.
    EXPECT_EQ(parse_branch_query("gid=a&op=action&gid=b").ambiguous, "gid");
    EXPECT_FALSE(parse_branch_query("gid=a&op=action&gid=%61").ambiguous);
    EXPECT_FALSE(parse_branch_query("x=a&x=b&gid=c").ambiguous);
}

TEST(BranchQuery, MissingAndEmptyDiffer) {
    const BranchQuery q = parse_branch_query("gid=&op");
    EXPECT_EQ(q.gid, "");
    EXPECT_EQ(q.op, "");
    EXPECT_FALSE(q.branch_id);
    EXPECT_FALSE(parse_branch_query("").gid);
    EXPECT_FALSE(parse_branch_query("GID=a").gid);
}

TEST(BranchQuery, BrokenEscapesStayAsTheyAre) {
    EXPECT_EQ(parse_branch_query("gid=a%2").gid, "a%2");
    EXPECT_EQ(parse_branch_query("gid=a%zz").gid, "a%zz");
    EXPECT_EQ(parse_branch_query("gid=%").gid, "%");
    EXPECT_EQ(parse_branch_query("gid=%%41").gid, "%A");
    EXPECT_EQ(parse_branch_query("gid=a=b").gid, "a=b");
    EXPECT_EQ(parse_branch_query("gid=a?b").gid, "a?b");
    EXPECT_FALSE(parse_branch_query("http://h/p").gid);
}

}  // namespace
}  // namespace dtm::wire
