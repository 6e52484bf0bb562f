// BufferPool: page-aligned memory of requests, kept for the next one.
//
// Sizes are powers of two from 4 KiB to 1 MiB, cached; larger ones are mapped for one use, so that their
// pages are committed only as a payload arrives and given back at once.
// Invariant: at most kCachedBytesMax lie unused in one pool.
// Thread: its loop's.
// Elsewhere: how much may be in use (memory_budget.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace varve::nbd {

struct Buffer {
  std::byte* data = nullptr;
  size_t capacity_bytes = 0;
};

class BufferPool {
 public:
  BufferPool() = default;
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // At least `bytes`, content undefined. data is null when the host has no memory.
  Buffer Take(size_t bytes);
  // Empties `buffer`; an empty one is fine.
  void Give(Buffer* buffer);

 private:
  static constexpr unsigned kShiftMin = 12;
  static constexpr unsigned kShiftMax = 20;
  // 128 requests of 64 KiB and some: what a busy loop has in flight.
  static constexpr size_t kCachedBytesMax = size_t{16} << 20;

  std::array<std::vector<std::byte*>, kShiftMax - kShiftMin + 1> free_;
  size_t cached_bytes_ = 0;
};

}  // namespace varve::nbd
