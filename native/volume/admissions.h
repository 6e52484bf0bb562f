// Admissions: which requests may still hold a physical address they looked up.
//
// Every request enters before it resolves an address and leaves when its last I/O has ended. AfterAll(done) runs
// `done` once every request that had entered before the call has left: only then may a released cluster get a new
// owner (rule 2: a slow read must never see the next owner's bytes).
//
// Each loop counts its own requests in two parities. A grace period flips every loop to the other parity and waits for
// the old one to run empty; there is one grace period at a time, so two parities are enough.
// Thread: Enter and Leave on the request's loop, which alone touches its row. AfterAll on the home loop.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "io/event_loop.h"

namespace varve {

class Admissions {
 public:
  Admissions(std::vector<EventLoop*> loops, EventLoop* home);

  // Returns the parity to give back to Leave().
  unsigned Enter(EventLoop& loop) {
    Row& row = rows_[loop.ordinal];
    row.inside[row.parity]++;
    return row.parity;
  }
  void Leave(EventLoop& loop, unsigned parity) {
    Row& row = rows_[loop.ordinal];
    row.inside[parity]--;
    if (row.draining && row.inside[row.parity ^ 1] == 0) ReportEmpty(row);
  }

  bool busy() const { return remaining_ != 0; }
  // Not while busy().
  void AfterAll(std::function<void()> done);

 private:
  struct alignas(64) Row {
    uint64_t inside[2] = {0, 0};
    unsigned parity = 0;
    bool draining = false;
  };

  void ReportEmpty(Row& row);

  const std::vector<EventLoop*> loops_;
  EventLoop* const home_;
  std::vector<Row> rows_;  // by the loop's ordinal
  unsigned remaining_ = 0;
  std::function<void()> done_;
};

}  // namespace varve
