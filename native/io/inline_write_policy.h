// InlineWritePolicy: which buffered writes the loop does itself.
//
// A buffered write is a copy into the page cache, a few microseconds. The
// kernel will not start one asynchronously on most filesystems: io_uring hands it
// to a worker thread, which costs many times the copy. So small writes are
// done on the loop's thread, until a disk shows that it stalls them (dirty-page
// throttling, a dying device): then its writes go the asynchronous way for a
// while, so that the other disks of the loop are not frozen with it: ten times as
// long as the write was held up, and twice as long as the last time if that was
// just now. Most stalls are short (a writeback of the file that began).
// Thread: the loop's.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace varve {

class InlineWritePolicy {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr uint64_t kInlineBytesMax = 256 * 1024;  // about 50 us of copying
  static constexpr std::chrono::milliseconds kSlowWrite{2};
  static constexpr int kAvoidedPerStall = 10;
  static constexpr std::chrono::seconds kAvoidanceMax{1};

  bool MayWriteInline(int fd, uint64_t bytes, Clock::time_point now);
  // Reports an inline write that was held up for longer than kSlowWrite, from `start` to `now`.
  void Stalled(int fd, Clock::time_point start, Clock::time_point now);

 private:
  struct SlowFile {
    int fd;
    Clock::duration avoidance;
    Clock::time_point until;
    // Whether it has done well for as long as it was avoided.
    bool IsForgiven(Clock::time_point now) const { return now >= until + avoidance; }
  };
  SlowFile* Find(int fd);

  std::vector<SlowFile> slow_;  // empty nearly always
};

}  // namespace varve
