// Grants: the free clusters a pool's data plane may use without asking.
//
// The control plane adds runs ahead of need and is told when they run low; a volume takes a short run at a time, so
// that what it writes in sequence lies in sequence. Nothing here is durable: a cluster belongs to
// somebody only by a delta.
//
//   a group has runs ──used up──▶ asked for more ──SetExhausted(hold)──▶ writers of guests are held, others get kNoSpace
//     ▲                                 │        ──SetExhausted(refuse)─▶ everybody gets kNoSpace
//     └───────────── Add() ─────────────┴───────────────────┘
//
// Thread: any; one mutex.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
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

// Who wants a cluster.
class ClusterSeeker {
 public:
  // Asked when there is nothing to have for now: whether it waits for some. Called inside of Take() and Look(), under a mutex.
  virtual bool MayBeHeld() = 0;
  // It may look again. Any thread.
  virtual void Resume() = 0;

 protected:
  ~ClusterSeeker() = default;
};

enum class GrantOutcome { kTaken, kWait, kNoSpace };

// What becomes of those who find nothing when there is nothing to add.
enum class Shortage { kHold, kRefuse };

class Grants {
 public:
  // low: told once, with the clusters left, each time less than half of the last top-up remains.
  // held: told each time somebody is held for want of space while nobody else is.
  Grants(std::function<void(uint64_t)> low, std::function<void()> held)
      : low_(std::move(low)), held_(std::move(held)) {}

  // Adds runs and lets those who wait try again.
  void Add(const std::vector<ClusterRun>& runs);
  // There is nothing to add until the next Add(): those who wait look again, and are held or refused as those who come.
  void SetExhausted(Shortage shortage);
  // Those who wait look again: what they wait for, or that they may be held, has changed.
  void Retry();
  // Takes every run of one disk away again.
  std::vector<ClusterRun> TakeBackOn(unsigned disk);
  // Puts back what a volume took and did not use.
  void Return(ClusterRun run);

  // Takes up to `want` consecutive clusters. On kWait, `seeker` is resumed once.
  GrantOutcome Take(uint64_t want, ClusterRun* run, ClusterSeeker* seeker);
  // As Take() of whoever will need a cluster later: kTaken, unless it is known that there are none.
  GrantOutcome Look(ClusterSeeker* seeker);
  // How many are held for want of space.
  uint64_t held();

 private:
  // Under the mutex, none being free. first: nobody else was held.
  GrantOutcome FindNothing(ClusterSeeker* seeker, bool* first);
  bool ShouldTellLow();

  const std::function<void(uint64_t)> low_;
  const std::function<void()> held_;
  std::mutex mutex_;
  std::deque<ClusterRun> runs_;
  uint64_t free_ = 0;
  uint64_t low_mark_ = 1;
  bool told_low_ = false;
  std::optional<Shortage> shortage_;  // none: what was asked for may be on its way
  std::vector<ClusterSeeker*> waiters_;
};

}  // namespace varve
