// BootClock: the clock that leases are measured with.
//
// CLOCK_BOOTTIME goes on while the machine sleeps and while the process is stopped, and nobody sets it: what
// it says has passed has passed for every other host too.
#pragma once

#include <time.h>

#include <cstdint>

#include "base/simulated_time.h"

namespace varve {

inline uint64_t BootNanoseconds() {
  const uint64_t simulated = simulated_time_ns.load(std::memory_order_relaxed);
  if (simulated != 0) return simulated;
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace varve
