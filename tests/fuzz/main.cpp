// libFuzzer's door. DTM_FUZZ_TARGET names the target that gets the bytes.
#include "targets.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace {

using Target = void (*)(std::string_view);

constexpr std::pair<std::string_view, Target> targets[] = {
    {"trans", dtm::fuzz::trans},
    {"registration", dtm::fuzz::registration},
    {"rpc", dtm::fuzz::rpc},
    {"target", dtm::fuzz::target},
    {"http", dtm::fuzz::http},
    {"classify", dtm::fuzz::classify},
    {"stored_request", dtm::fuzz::stored_request},
    {"stored_progress", dtm::fuzz::stored_progress},
    {"rpc_call", dtm::fuzz::rpc_call},
};

Target chosen() {
    const char* name = std::getenv("DTM_FUZZ_TARGET");
    for (const auto& [known, target] : targets) {
        if (name != nullptr && known == name) return target;
    }
    std::fputs("DTM_FUZZ_TARGET must be one of:", stderr);
    for (const auto& [known, target] : targets) std::fprintf(stderr, " %s", known.data());
    std::fputc('\n', stderr);
    std::exit(2);
}

}  // namespace

namespace dtm::fuzz {

void must(bool holds, const char* what, std::string_view about) {
    if (holds) return;
    std::fprintf(stderr, "does not hold: %s\n%.*s\n", what, static_cast<int>(about.size()),
                 about.data());
    std::abort();
}

}  // namespace dtm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Target target = chosen();
    target({reinterpret_cast<const char*>(data), size});
    return 0;
}
