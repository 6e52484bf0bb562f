#include "io/helper_threads.h"

#include <utility>

#include "io/threads.h"

namespace varve {

namespace {
// Enough that one stalled disk does not hold up the syncs of the others.
constexpr size_t kThreadsMax = 8;
}  // namespace

HelperThreads::~HelperThreads() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void HelperThreads::Run(std::function<void()> work) {
  std::lock_guard lock(mutex_);
  queue_.push_back(std::move(work));
  // Not while they are being joined: work may come from their own.
  if (!closing_ && queue_.size() > idle_ && threads_.size() < kThreadsMax) {
    threads_.push_back(StartThread("varve-helper", [this] { Body(); }));
  }
  wake_.notify_one();
}

void HelperThreads::RunNext(std::function<void()> work) {
  std::lock_guard lock(mutex_);
  queue_.push_back(std::move(work));
}

void HelperThreads::Body() {
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_;
    wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
    --idle_;
    if (queue_.empty()) return;
    std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    lock.lock();
  }
}

}  // namespace varve
