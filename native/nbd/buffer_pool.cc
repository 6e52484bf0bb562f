#include "nbd/buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>

namespace varve::nbd {

BufferPool::~BufferPool() {
  for (auto& buffers : free_) {
    for (std::byte* data : buffers) std::free(data);
  }
}

Buffer BufferPool::Take(size_t bytes) {
  const size_t capacity = std::max(std::bit_ceil(bytes), size_t{1} << kShiftMin);
  const auto shift = static_cast<unsigned>(std::countr_zero(capacity));
  if (shift > kShiftMax) {
    void* mapped = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return mapped == MAP_FAILED ? Buffer{} : Buffer{static_cast<std::byte*>(mapped), capacity};
  }
  auto& buffers = free_[shift - kShiftMin];
  if (buffers.empty()) {
    auto* data = static_cast<std::byte*>(std::aligned_alloc(size_t{1} << kShiftMin, capacity));
    return Buffer{data, data == nullptr ? 0 : capacity};
  }
  std::byte* data = buffers.back();
  buffers.pop_back();
  cached_bytes_ -= capacity;
  return Buffer{data, capacity};
}

void BufferPool::Give(Buffer* buffer) {
  const Buffer given = std::exchange(*buffer, Buffer{});
  if (given.data == nullptr) return;
  const auto shift = static_cast<unsigned>(std::countr_zero(given.capacity_bytes));
  if (shift > kShiftMax) {
    munmap(given.data, given.capacity_bytes);
  } else if (cached_bytes_ + given.capacity_bytes > kCachedBytesMax) {
    std::free(given.data);
  } else {
    free_[shift - kShiftMin].push_back(given.data);
    cached_bytes_ += given.capacity_bytes;
  }
}

}  // namespace varve::nbd
