// TimerHeap: armed timers of one loop, the next due first.
//
// A binary heap whose entries know their timers and whose timers know their
// entries (Timer::id is the entry's place + 1), so that arming and cancelling
// allocate nothing and cost O(log n).
// Invariant: a timer that is not armed is never touched; its owner may be gone.
// Thread: the loop's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "io/event_loop.h"

namespace varve {

class TimerHeap {
 public:
  using Clock = std::chrono::steady_clock;

  // Arms the timer, or moves it when it was armed.
  void Set(Timer* timer, Clock::time_point due);
  void Cancel(Timer* timer);
  // Disarms and runs every timer due at `now`, in order of due time, then of arming.
  void RunDue(Clock::time_point now);

  bool empty() const { return entries_.empty(); }
  Clock::time_point next_due() const { return entries_.front().due; }

 private:
  struct Entry {
    Clock::time_point due;
    uint64_t sequence;  // of arming
    Timer* timer;
    bool Before(const Entry& other) const {
      return due != other.due ? due < other.due : sequence < other.sequence;
    }
  };

  void Put(size_t place, const Entry& entry);
  void SiftUp(size_t place);
  void SiftDown(size_t place);

  std::vector<Entry> entries_;
  uint64_t next_sequence_ = 0;
};

}  // namespace varve
