// SparseBytes: a large array of bytes, of which only what was written takes memory.
//
// Chunks are shared between copies and copied when one of them writes, so that a copy
// costs a table of pointers. A chunk belongs to the array that made it: Share()
// renames both sides, after which every chunk counts as shared.
// Invariant: a chunk is changed only by the array whose token it carries.
// Thread: its owner's; arrays that share chunks may live on different threads.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

namespace varve {

class SparseBytes {
 public:
  SparseBytes();
  SparseBytes(SparseBytes&&) = default;
  SparseBytes& operator=(SparseBytes&&) = default;

  // An equal array that changes independently of this one.
  SparseBytes Share();

  void Read(uint64_t offset, std::byte* out, uint64_t bytes) const;
  void Write(uint64_t offset, const std::byte* data, uint64_t bytes);
  void Zero(uint64_t offset, uint64_t bytes);

  // The same for equal bytes, whatever chunks they lie in; different ones differ but by chance (1 in 2^64). A chunk that
  // several arrays share is looked at once.
  uint64_t Digest() const;
  // The same of a range: for equal bytes at the same place, and for no others but by chance.
  uint64_t Digest(uint64_t offset, uint64_t bytes) const;
  // Calls visit(position in the range, bytes there, count) piece by piece; null stands for zeroes.
  template <typename Visit>
  void VisitPieces(uint64_t offset, uint64_t bytes, Visit visit) const;

 private:
  static constexpr uint64_t kChunkBytes = 16 * 1024;
  static constexpr uint64_t kUnknown = ~uint64_t{0};
  struct Chunk {
    uint64_t token = 0;
    std::array<std::byte, kChunkBytes> bytes{};
    // Of its bytes, by those who asked; kUnknown since it was last written.
    mutable std::atomic<uint64_t> digest{kUnknown};
  };

  Chunk& Writable(uint64_t index);
  static uint64_t DigestOf(const Chunk& chunk);
  uint64_t DigestWithin(uint64_t index, uint64_t start, uint64_t bytes) const;

  uint64_t token_;
  std::unordered_map<uint64_t, std::shared_ptr<Chunk>> chunks_;  // none = zeroes
};

template <typename Visit>
void SparseBytes::VisitPieces(uint64_t offset, uint64_t bytes, Visit visit) const {
  for (uint64_t position = 0; position < bytes;) {
    uint64_t start = (offset + position) % kChunkBytes;
    uint64_t length = std::min(kChunkBytes - start, bytes - position);
    auto found = chunks_.find((offset + position) / kChunkBytes);
    visit(position, found == chunks_.end() ? nullptr : found->second->bytes.data() + start, length);
    position += length;
  }
}

}  // namespace varve
