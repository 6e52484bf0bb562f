// HelperThreads: a few threads for calls that may block.
//
// Started when work finds none idle, up to a limit; work beyond it waits in
// order. The destructor runs what is queued, then joins.
// Thread: Run() any, RunNext() a helper's.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace varve {

class HelperThreads {
 public:
  ~HelperThreads();

  void Run(std::function<void()> work);
  // As the last thing that work of a helper does: that helper comes back to the queue, and no other one is woken for it.
  void RunNext(std::function<void()> work);

 private:
  void Body();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  size_t idle_ = 0;
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace varve
