// Helpers of native tests: a running loop, and waiting for what happens on it.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "io/disk.h"
#include "io/event_loop.h"

namespace varve {

// A loop that runs as long as the object lives.
class RunningLoop {
 public:
  explicit RunningLoop(LoopBackend backend) {
    std::string error;
    loop_ = CreateEventLoop(backend, &error);
    if (!loop_) {
      ADD_FAILURE() << error;
      abort();
    }
    loop_->Start("test");
  }
  ~RunningLoop() { loop_->Stop(); }
  EventLoop& operator*() { return *loop_; }
  EventLoop* operator->() { return loop_.get(); }

 private:
  std::unique_ptr<EventLoop> loop_;
};

// A completion that calls a function, and counts how often. It may be used again.
struct CallCompletion : Completion {
  explicit CallCompletion(std::function<void(Status)> call) : Completion(OnDone), call_(std::move(call)) {}
  static void OnDone(Completion* self, Status status) {
    auto* completion = static_cast<CallCompletion*>(self);
    ++completion->runs;
    completion->call_(status);
  }
  int runs = 0;

 private:
  std::function<void(Status)> call_;
};

struct CallCounted : CountedCompletion {
  explicit CallCounted(std::function<void(int64_t)> call) : CountedCompletion(OnDone), call_(std::move(call)) {}
  static void OnDone(CountedCompletion* self, int64_t result) {
    static_cast<CallCounted*>(self)->call_(result);
  }

 private:
  std::function<void(int64_t)> call_;
};

// Runs `work` on the loop and waits until it has returned.
inline void RunOn(EventLoop& loop, const std::function<void()>& work) {
  std::promise<void> ran;
  loop.Post([&] {
    work();
    ran.set_value();
  });
  ran.get_future().wait();
}

// Runs submit(done) on the loop and waits for what `done` reports.
inline Status Await(EventLoop& loop, const std::function<void(Completion*)>& submit) {
  std::promise<Status> result;
  CallCompletion done([&](Status status) { result.set_value(status); });
  loop.Post([&] { submit(&done); });
  return result.get_future().get();
}

inline int64_t AwaitCounted(EventLoop& loop, const std::function<void(CountedCompletion*)>& submit) {
  std::promise<int64_t> counted;
  CallCounted done([&](int64_t result) { counted.set_value(result); });
  loop.Post([&] { submit(&done); });
  return counted.get_future().get();
}

using Bytes = std::vector<uint8_t>;

// Plain calls on a disk, one at a time.
inline Status WriteDisk(EventLoop& loop, Disk& disk, uint64_t offset, const Bytes& data) {
  iovec piece{const_cast<uint8_t*>(data.data()), data.size()};
  return Await(loop, [&](Completion* done) { disk.Write(loop, offset, &piece, 1, done); });
}

inline Status ReadDisk(EventLoop& loop, Disk& disk, uint64_t offset, Bytes* data) {
  iovec piece{data->data(), data->size()};
  return Await(loop, [&](Completion* done) { disk.Read(loop, offset, &piece, 1, done); });
}

// What the disk holds; a read error fails the test.
inline Bytes Content(EventLoop& loop, Disk& disk, uint64_t offset, size_t bytes) {
  Bytes data(bytes, 0xee);
  EXPECT_TRUE(ReadDisk(loop, disk, offset, &data).ok());
  return data;
}

inline Status SyncDisk(EventLoop& loop, Disk& disk) {
  return Await(loop, [&](Completion* done) { disk.Sync(loop, done); });
}

inline Status DiscardDisk(EventLoop& loop, Disk& disk, uint64_t offset, uint64_t bytes) {
  return Await(loop, [&](Completion* done) { disk.Discard(loop, offset, bytes, done); });
}

inline Status ZeroDisk(EventLoop& loop, Disk& disk, uint64_t offset, uint64_t bytes) {
  return Await(loop, [&](Completion* done) { disk.WriteZeroes(loop, offset, bytes, done); });
}

inline uint64_t MeasureDisk(EventLoop& loop, Disk& disk) {
  uint64_t bytes = 0;
  EXPECT_TRUE(Await(loop, [&](Completion* done) { disk.Measure(loop, &bytes, done); }).ok());
  return bytes;
}

}  // namespace varve
