// Topics: rows of dtm.kv with cat 'topics', whose v is the JSON text [{"url":…,"remark":…}, …], as
// dtm keeps them. Two sessions that change one topic wait for each other, so no subscriber is lost.
// What the text means is the caller's business. Runs within a store::AsOwner.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dtm::store {

// The current text, nullopt: no such topic. A fresh snapshot in READ COMMITTED.
std::optional<std::string> topic(std::string_view name);
// The same, locked until the end of the transaction.
std::optional<std::string> lock_topic(std::string_view name);
// The same; made with an empty list first when there is none.
std::string lock_or_create_topic(std::string_view name);
void write_topic(std::string_view name, std::string_view text);  // of a locked one
void delete_topic(std::string_view name);

}  // namespace dtm::store
