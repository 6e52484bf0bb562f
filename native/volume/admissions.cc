#include "volume/admissions.h"

#include <algorithm>
#include <utility>

namespace varve {

Admissions::Admissions(std::vector<EventLoop*> loops, EventLoop* home) : loops_(std::move(loops)), home_(home) {
  size_t rows = 0;
  for (const EventLoop* loop : loops_) rows = std::max(rows, loop->ordinal + 1);
  rows_.resize(rows);
}

void Admissions::AfterAll(std::function<void()> done) {
  done_ = std::move(done);
  remaining_ = static_cast<unsigned>(loops_.size());
  for (EventLoop* loop : loops_) {
    loop->Post([this, loop] {
      Row& row = rows_[loop->ordinal];
      row.draining = true;
      row.parity ^= 1;
      if (row.inside[row.parity ^ 1] == 0) ReportEmpty(row);
    });
  }
}

void Admissions::ReportEmpty(Row& row) {
  row.draining = false;
  home_->Post([this] {
    if (--remaining_ == 0) std::exchange(done_, nullptr)();
  });
}

}  // namespace varve
