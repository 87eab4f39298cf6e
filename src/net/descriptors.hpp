// How many files this process may have open.
#pragma once

#include <cstddef>

namespace dtm::net {

// Thousands of connections are thousands of descriptors: allows this process as many as it may ask
// for. Returns how many that are.
std::size_t raise_descriptor_limit();

// Whether there is none left at this moment, in the process or the machine.
bool out_of_descriptors();

}  // namespace dtm::net
