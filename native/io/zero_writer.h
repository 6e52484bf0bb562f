// ZeroWriter: zeroes a range by writing, one piece after the other.
#pragma once

#include <array>
#include <cstddef>
#include <functional>

#include "io/event_loop.h"

namespace varve {

// Bytes that are zero, for whoever writes zeroes; only ever to be read (an iovec has no const).
constexpr uint64_t kZeroBytes = 64 * 1024;
std::byte* ZeroBytes();

class ZeroWriter : Completion {
 public:
  // Writes zeroes at an offset; they are lent until `done` runs.
  using Write = std::function<void(uint64_t offset, const iovec* zeroes, int count, Completion* done)>;

  // done: ok once the whole range reads as zero, else the write's error.
  static void Run(EventLoop& loop, Write write, uint64_t offset, uint64_t bytes, Completion* done);
  // Of a file.
  static void Run(EventLoop& loop, int fd, uint64_t offset, uint64_t bytes, Completion* done);

 private:
  ZeroWriter(Write write, uint64_t offset, uint64_t bytes, Completion* done);
  static void OnPiece(Completion* self, Status status);
  void Next();

  // A piece is the buffer of zeroes, several times over: a server behind a network answers one large write sooner than many.
  static constexpr size_t kBuffers = 16;

  const Write write_;
  uint64_t offset_;
  uint64_t bytes_left_;
  std::array<iovec, kBuffers> piece_{};
  uint64_t piece_bytes_ = 0;
  Completion* done_;
};

}  // namespace varve
