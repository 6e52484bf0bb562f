// SimulatedTime: what the clocks of the data plane say while a simulation moves them (io/simulated_loop.h).
//
// Zero, in every process that serves: the clocks are the kernel's.
// Thread: any reads; a simulation has one thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace varve {

inline std::atomic<uint64_t> simulated_time_ns{0};

}  // namespace varve
