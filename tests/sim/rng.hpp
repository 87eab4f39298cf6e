// Random numbers that are the same everywhere: a seed is a schedule.
#pragma once

#include <cstdint>

namespace sim {

class Rng {  // splitmix64: one multiplication chain per number, any seed is a good seed
public:
    explicit Rng(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ULL + 0x1234567) {}

    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }
    // 0 … n - 1
    unsigned below(unsigned n) { return static_cast<unsigned>((next() >> 32) * n >> 32); }
    bool one_in(unsigned n) { return below(n) == 0; }
    bool percent(unsigned p) { return below(100) < p; }

private:
    std::uint64_t state_;
};

}  // namespace sim
