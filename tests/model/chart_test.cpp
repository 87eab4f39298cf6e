// The chart in src/core/README.md is the transition table, drawn. DTM_UPDATE_CHART=1 redraws it.
#include "core/machine.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace {

constexpr std::string_view kBegin = "<!-- chart:begin -->\n";
constexpr std::string_view kEnd = "<!-- chart:end -->";

TEST(Chart, ReadmeShowsTheTable) {
    const char* const path = DTM_CORE_README;
    std::ifstream in(path);
    ASSERT_TRUE(in) << path;
    std::stringstream text;
    text << in.rdbuf();
    std::string readme = text.str();
    const auto begin = readme.find(kBegin);
    const auto end = readme.find(kEnd);
    ASSERT_NE(begin, std::string::npos);
    ASSERT_NE(end, std::string::npos);
    const auto from = begin + kBegin.size();
    const std::string wanted = "```mermaid\n" + dtm::core::mermaid_chart() + "```\n";
    if (std::getenv("DTM_UPDATE_CHART")) {
        readme.replace(from, end - from, wanted);
        std::ofstream(path) << readme;
        return;
    }
    EXPECT_EQ(readme.substr(from, end - from), wanted)
        << "redraw it: DTM_UPDATE_CHART=1 make -C tests/model run";
}

}  // namespace
