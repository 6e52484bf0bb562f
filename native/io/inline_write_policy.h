// InlineWritePolicy: which buffered writes the loop does itself.
//
// A buffered write is a copy into the page cache, a few microseconds. The
// kernel will not start one asynchronously on most filesystems: io_uring hands it
// to a worker thread, which costs many times the copy. So small writes are
// done on the loop's thread, until a disk shows that it stalls them (dirty-page
// throttling, a dying device): then its writes go the asynchronous way for a
// while, so that the other disks of the loop are not frozen with it.
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
  static constexpr std::chrono::seconds kAvoidance{1};

  bool MayWriteInline(int fd, uint64_t bytes, Clock::time_point now);
  // Reports an inline write that was held up for longer than kSlowWrite, until `now`.
  void Stalled(int fd, Clock::time_point now);

 private:
  struct SlowFile {
    int fd;
    Clock::time_point until;
  };
  std::vector<SlowFile> slow_;  // empty nearly always
};

}  // namespace varve
