// What a transaction costs while it is held: not the length of its texts, which of many short
// branches is the smallest part. Strings are counted by what they hold, so that the same
// transaction always counts the same.
#pragma once

#include "core/decide.hpp"
#include "core/types.hpp"

#include <cstddef>
#include <string>

namespace dtm::worker {

std::size_t memory_of(const core::Request&);
std::size_t memory_of(const std::string&);  // beyond its own size, as the next
std::size_t memory_of(const core::OpState&);
std::size_t memory_of(const core::State&);
// What an event may change of the size of a transaction: of an answer, too, if it is one. `last`
// is the latest outcome.
std::size_t memory_of_words(const core::State&, const core::Outcome& last, const core::Answer*);

}  // namespace dtm::worker
