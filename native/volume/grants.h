// Grants: the free clusters a pool's data plane may use without asking.
//
// The control plane adds runs ahead of need and is told when they run low; a volume takes a short run at a time, so
// that what it writes in sequence lies in sequence. Nothing here is durable: a cluster belongs to
// somebody only by a delta.
// Thread: any; one mutex.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "base/units.h"

namespace varve {

// Consecutive clusters of one disk.
struct ClusterRun {
  unsigned disk = 0;
  uint64_t first = 0;
  uint64_t count = 0;

  // Takes the first cluster off; count > 0.
  Address Take() {
    count--;
    return Address::Of(disk, first++);
  }
};

enum class GrantOutcome { kTaken, kWait, kNoSpace };

class Grants {
 public:
  // low: told once, with the clusters left, each time less than half of the last top-up remains.
  explicit Grants(std::function<void(uint64_t)> low) : low_(std::move(low)) {}

  // Adds runs and lets those who wait try again.
  void Add(const std::vector<ClusterRun>& runs);
  // There is nothing to add: those who wait, and those who come, get kNoSpace until the next Add().
  void SetExhausted();
  // Takes every run of one disk away again.
  std::vector<ClusterRun> TakeBackOn(unsigned disk);
  // Puts back what a volume took and did not use.
  void Return(ClusterRun run);

  // Takes up to `want` consecutive clusters. On kWait, `retry` is called once, on the thread that ends the wait.
  GrantOutcome Take(uint64_t want, ClusterRun* run, std::function<void()> retry);

 private:
  std::vector<std::function<void()>> TakeWaiters();
  bool ShouldTellLow();

  const std::function<void(uint64_t)> low_;
  std::mutex mutex_;
  std::deque<ClusterRun> runs_;
  uint64_t free_ = 0;
  uint64_t low_mark_ = 1;
  bool told_low_ = false;
  bool exhausted_ = false;
  std::vector<std::function<void()>> waiters_;
};

}  // namespace varve
