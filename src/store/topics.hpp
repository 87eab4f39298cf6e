// Topics: rows of dtm.kv with cat 'topics', whose v is the JSON text [{"url":…,"remark":…}, …], as
// dtm keeps them. Who changes a topic locks it, so no subscriber is lost. What the text means is
// subscribers.hpp's business. Runs within a store::AsOwner.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dtm::store {

// The current text, nullopt: no such topic. A fresh snapshot in READ COMMITTED.
std::optional<std::string> topic(std::string_view name);
// What to do about somebody who changes the same topic right now.
enum class Locks : std::uint8_t { wait, skip };
struct LockedTopic {
    bool busy = false;                // Locks::skip: somebody has it; nothing was done
    std::optional<std::string> text;  // nullopt: no such topic, or busy
};
// The same, locked until the end of the transaction.
LockedTopic lock_topic(std::string_view name, Locks locks);
// The same; made with an empty list first when there is none.
LockedTopic lock_or_create_topic(std::string_view name, Locks locks);
void write_topic(std::string_view name, std::string_view text);  // of a locked one
void delete_topic(std::string_view name);

}  // namespace dtm::store
