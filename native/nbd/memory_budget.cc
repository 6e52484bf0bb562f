#include "nbd/memory_budget.h"

#include <algorithm>

namespace varve::nbd {

bool MemoryBudget::TryTake(uint64_t bytes) { return waiting_.load() == 0 && Fits(bytes); }

// Adds before it looks, so that two who race cannot both have the last of it.
bool MemoryBudget::Fits(uint64_t bytes) {
  if (taken_bytes_.fetch_add(bytes) + bytes <= limit_bytes_) return true;
  taken_bytes_.fetch_sub(bytes);
  return false;
}

void MemoryBudget::Wait(MemoryWaiter* waiter) {
  std::lock_guard lock(mutex_);
  queue_.push_back(waiter);
  // Before Settle() looks at the bytes: a Give() that comes too late for it sees the waiter.
  waiting_.store(queue_.size());
  Settle();
}

bool MemoryBudget::Cancel(MemoryWaiter* waiter) {
  std::lock_guard lock(mutex_);
  const auto found = std::find(queue_.begin(), queue_.end(), waiter);
  if (found == queue_.end()) return false;
  queue_.erase(found);
  waiting_.store(queue_.size());
  Settle();
  return true;
}

void MemoryBudget::Give(uint64_t bytes) {
  taken_bytes_.fetch_sub(bytes);
  if (waiting_.load() == 0) return;
  std::lock_guard lock(mutex_);
  Settle();
}

void MemoryBudget::GiveOverdraft() {
  std::lock_guard lock(mutex_);
  overdrawn_ = false;
  Settle();
}

void MemoryBudget::Settle() {
  while (!queue_.empty()) {
    MemoryWaiter* waiter = queue_.front();
    waiter->overdraft = !Fits(waiter->bytes);
    if (waiter->overdraft && overdrawn_) return;
    overdrawn_ |= waiter->overdraft;
    queue_.pop_front();
    waiting_.store(queue_.size());
    waiter->loop->Post([waiter] { waiter->fn(waiter); });
  }
}

}  // namespace varve::nbd
