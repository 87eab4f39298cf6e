// What a role may do over HTTP: what it may do in SQL, by EXECUTE on the functions that dtm_grant()
// hands out. Runs within a pg::Spi scope.
#pragma once

#include "pg/postgres.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace dtm::store {

// A function that the API's routes stand for.
enum class Deed : std::uint8_t {
    submit,
    prepare,
    abort,
    register_branch,
    query,
    observe,
    retry_now,
    retry_all,
    force_stop,
    subscribe,
    unsubscribe,
    drop_topic,
};
inline constexpr std::size_t deeds = 12;

struct Door {
    std::string_view name;   // of the function, for people
    std::string_view level;  // of dtm_grant(): the lowest one that opens it
};
Door door_of(Deed);
// "SELECT dtm_grant('app', 'submit')"
std::string grant_call(Oid role, std::string_view level);

using Permitted = std::array<bool, deeds>;
Permitted permitted(Oid role);

// Whether permitted() may say something else than at the last call of this: somebody changed a
// function, a role or a membership. True at the first call in a process.
bool rights_changed();

}  // namespace dtm::store
