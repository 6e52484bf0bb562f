#include "io/lease.h"

#include <algorithm>
#include <utility>

namespace varve {

void Lease::Renew(uint64_t until_ns) {
  {
    std::lock_guard lock(mutex_);
    until_ns_.store(std::max(until_ns, until_ns_.load()));
  }
  Wake();
}

void Lease::Finish(End end) {
  {
    std::lock_guard lock(mutex_);
    ended_.store(std::max(end, ended_.load()));
  }
  Wake();
}

bool Lease::Wait(LeaseWait* wait) {
  std::lock_guard lock(mutex_);
  if (Holds() || ended() != End::kNone) return false;
  waiters_.push_back(wait);
  return true;
}

void Lease::Wake() {
  std::vector<LeaseWait*> waiters;
  {
    std::lock_guard lock(mutex_);
    waiters.swap(waiters_);
  }
  for (LeaseWait* wait : waiters) {
    wait->loop->Post([wait] { wait->fn(wait); });
  }
}

}  // namespace varve
