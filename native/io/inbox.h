// Inbox: how other threads reach a loop.
//
//   Post() ─▶ queue ─▶ Take()        wake_fd() is readable when the loop must wake
//
// Invariants:
//   - Work is taken in the order it was posted, and all that was posted before
//     Stop() is taken.
//   - The descriptor is written only when the loop has said that it may sleep,
//     at most once per sleep: a busy loop costs its posters no system call.
// Thread: Post and Stop any; the others the loop's.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "io/unique_fd.h"

namespace varve {

class Inbox {
 public:
  using Work = std::function<void()>;

  Inbox();

  void Post(Work work);
  void Stop();

  // True when nothing waits: the loop may sleep, the next Post wakes it.
  bool MaySleep();
  // Fills `batch` with all that waits and marks the loop awake. False once Stop was called.
  bool Take(std::vector<Work>* batch);
  // Makes wake_fd() unreadable again.
  void ClearWake();
  int wake_fd() const { return wake_.get(); }

 private:
  void Wake();

  UniqueFd wake_;
  std::mutex mutex_;
  std::vector<Work> queue_;
  bool asleep_ = false;
  bool stopped_ = false;
};

}  // namespace varve
