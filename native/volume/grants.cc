#include "volume/grants.h"

#include <algorithm>
#include <utility>

namespace varve {

void Grants::Add(const std::vector<ClusterRun>& runs) {
  std::vector<std::function<void()>> waiters;
  {
    std::lock_guard lock(mutex_);
    for (const ClusterRun& run : runs) {
      runs_.push_back(run);
      free_ += run.count;
    }
    low_mark_ = std::max<uint64_t>(free_ / 2, 1);
    told_low_ = false;
    exhausted_ = false;
    waiters = TakeWaiters();
  }
  for (auto& retry : waiters) retry();
}

void Grants::SetExhausted() {
  std::vector<std::function<void()>> waiters;
  {
    std::lock_guard lock(mutex_);
    exhausted_ = true;
    waiters = TakeWaiters();
  }
  for (auto& retry : waiters) retry();
}

std::vector<ClusterRun> Grants::TakeBackOn(unsigned disk) {
  std::lock_guard lock(mutex_);
  std::vector<ClusterRun> taken;
  std::erase_if(runs_, [&](const ClusterRun& run) {
    if (run.disk != disk) return false;
    free_ -= run.count;
    taken.push_back(run);
    return true;
  });
  return taken;
}

void Grants::Return(ClusterRun run) {
  if (run.count == 0) return;
  std::vector<std::function<void()>> waiters;
  {
    std::lock_guard lock(mutex_);
    runs_.push_front(run);
    free_ += run.count;
    waiters = TakeWaiters();
  }
  for (auto& retry : waiters) retry();
}

GrantOutcome Grants::Take(uint64_t want, ClusterRun* run, std::function<void()> retry) {
  GrantOutcome outcome = GrantOutcome::kTaken;
  bool tell = false;
  uint64_t left = 0;
  {
    std::lock_guard lock(mutex_);
    if (free_ == 0) {
      outcome = exhausted_ ? GrantOutcome::kNoSpace : GrantOutcome::kWait;
      if (outcome == GrantOutcome::kWait) waiters_.push_back(std::move(retry));
    } else {
      // The last clusters go out in small pieces, so that no volume sits on what another needs.
      want = std::min(want, std::max<uint64_t>(free_ / 64, 1));
      ClusterRun& front = runs_.front();
      *run = {front.disk, front.first, std::min(want, front.count)};
      front.first += run->count;
      front.count -= run->count;
      free_ -= run->count;
      if (front.count == 0) runs_.pop_front();
    }
    tell = ShouldTellLow();
    left = free_;
  }
  if (tell) low_(left);
  return outcome;
}

std::vector<std::function<void()>> Grants::TakeWaiters() { return std::exchange(waiters_, {}); }

bool Grants::ShouldTellLow() {
  if (told_low_ || free_ >= low_mark_) return false;
  told_low_ = true;
  return true;
}

}  // namespace varve
