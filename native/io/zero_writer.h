// ZeroWriter: zeroes a range of a file by writing, one piece after the other.
#pragma once

#include <cstddef>

#include "io/event_loop.h"

namespace varve {

// Bytes that are zero, for whoever writes zeroes; only ever to be read (an iovec has no const).
constexpr uint64_t kZeroBytes = 64 * 1024;
std::byte* ZeroBytes();

class ZeroWriter : Completion {
 public:
  // done: ok once the whole range reads as zero, else the write's error.
  static void Run(EventLoop& loop, int fd, uint64_t offset, uint64_t bytes, Completion* done);

 private:
  ZeroWriter(EventLoop& loop, int fd, uint64_t offset, uint64_t bytes, Completion* done);
  static void OnPiece(Completion* self, Status status);
  void Next();

  EventLoop& loop_;
  const int fd_;
  uint64_t offset_;
  uint64_t bytes_left_;
  iovec piece_{};
  Completion* done_;
};

}  // namespace varve
