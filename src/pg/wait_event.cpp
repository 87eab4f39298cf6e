// See wait_event.hpp.
#include "pg/wait_event.hpp"

#include "pg/call.hpp"

extern "C" {
#if PG_VERSION_NUM >= 140000
#include "utils/wait_event.h"
#else
#include "pgstat.h"
#endif
}

namespace dtm::pg {

std::uint32_t wait_event([[maybe_unused]] WaitEvent event) {
#if PG_VERSION_NUM >= 170000
    static constexpr const char* names[] = {"DtmLauncherMain", "DtmCoordinatorMain",
                                            "DtmWaitFinished"};
    static std::uint32_t ids[static_cast<int>(WaitEvent::count)] = {};
    std::uint32_t& id = ids[static_cast<int>(event)];
    if (id == 0) {
        const char* name = names[static_cast<int>(event)];
        id = call([&] { return WaitEventExtensionNew(name); });
    }
    return id;
#else
    return PG_WAIT_EXTENSION;
#endif
}

}  // namespace dtm::pg
