// SteadyClock: std::chrono::steady_clock, unless a simulation says what time it is.
#pragma once

#include <chrono>

#include "base/simulated_time.h"

namespace varve {

struct SteadyClock {
  using duration = std::chrono::steady_clock::duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<SteadyClock>;
  static constexpr bool is_steady = true;

  static time_point now() {
    const uint64_t simulated = simulated_time_ns.load(std::memory_order_relaxed);
    if (simulated != 0) return time_point(std::chrono::nanoseconds(simulated));
    return time_point(std::chrono::steady_clock::now().time_since_epoch());
  }
};

}  // namespace varve
