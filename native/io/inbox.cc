#include "io/inbox.h"

#include <sys/eventfd.h>

#include <cstdint>
#include <cstdlib>
#include <utility>

namespace varve {

Inbox::Inbox() : wake_(eventfd(0, EFD_CLOEXEC)) {
  if (!wake_.valid()) abort();  // out of descriptors before anything is served
}

void Inbox::Post(Work work) {
  bool wake;
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
    wake = std::exchange(asleep_, false);
  }
  if (wake) Wake();
}

void Inbox::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  Wake();
}

bool Inbox::MaySleep() {
  std::lock_guard lock(mutex_);
  asleep_ = queue_.empty() && !stopped_;
  return asleep_;
}

bool Inbox::Take(std::vector<Work>* batch) {
  std::lock_guard lock(mutex_);
  asleep_ = false;
  batch->swap(queue_);
  return !stopped_;
}

void Inbox::ClearWake() {
  uint64_t count;
  if (read(wake_.get(), &count, sizeof count) < 0) abort();  // ours, and readable
}

void Inbox::Wake() {
  uint64_t one = 1;
  if (write(wake_.get(), &one, sizeof one) < 0) abort();
}

}  // namespace varve
