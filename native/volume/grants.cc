#include "volume/grants.h"

#include <algorithm>
#include <utility>

namespace varve {

void Grants::Add(const std::vector<ClusterRun>& runs) {
  std::vector<ClusterSeeker*> waiters;
  {
    std::lock_guard lock(mutex_);
    for (const ClusterRun& run : runs) {
      runs_.push_back(run);
      free_ += run.count;
    }
    low_mark_ = std::max<uint64_t>(free_ / 2, 1);
    told_low_ = false;
    shortage_.reset();
    waiters = std::exchange(waiters_, {});
  }
  for (ClusterSeeker* seeker : waiters) seeker->Resume();
}

void Grants::SetExhausted(Shortage shortage) {
  {
    std::lock_guard lock(mutex_);
    shortage_ = shortage;
  }
  Retry();
}

void Grants::Retry() {
  std::vector<ClusterSeeker*> waiters;
  {
    std::lock_guard lock(mutex_);
    waiters = std::exchange(waiters_, {});
  }
  for (ClusterSeeker* seeker : waiters) seeker->Resume();
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
  std::vector<ClusterSeeker*> waiters;
  {
    std::lock_guard lock(mutex_);
    runs_.push_front(run);
    free_ += run.count;
    waiters = std::exchange(waiters_, {});
  }
  for (ClusterSeeker* seeker : waiters) seeker->Resume();
}

GrantOutcome Grants::Take(uint64_t want, ClusterRun* run, ClusterSeeker* seeker) {
  GrantOutcome outcome = GrantOutcome::kTaken;
  bool tell = false;
  bool first_held = false;
  uint64_t left = 0;
  {
    std::lock_guard lock(mutex_);
    if (free_ == 0) {
      outcome = FindNothing(seeker, &first_held);
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
  if (first_held) held_();
  return outcome;
}

GrantOutcome Grants::Look(ClusterSeeker* seeker) {
  GrantOutcome outcome = GrantOutcome::kTaken;
  bool first_held = false;
  {
    std::lock_guard lock(mutex_);
    if (free_ == 0 && shortage_) outcome = FindNothing(seeker, &first_held);
  }
  if (first_held) held_();
  return outcome;
}

GrantOutcome Grants::FindNothing(ClusterSeeker* seeker, bool* first) {
  if (shortage_ == Shortage::kRefuse) return GrantOutcome::kNoSpace;
  if (shortage_ == Shortage::kHold && !seeker->MayBeHeld()) return GrantOutcome::kNoSpace;
  *first = shortage_ == Shortage::kHold && waiters_.empty();
  waiters_.push_back(seeker);
  return GrantOutcome::kWait;
}

uint64_t Grants::held() {
  std::lock_guard lock(mutex_);
  return shortage_ == Shortage::kHold ? waiters_.size() : 0;
}

bool Grants::ShouldTellLow() {
  if (told_low_ || free_ >= low_mark_) return false;
  told_low_ = true;
  return true;
}

}  // namespace varve
