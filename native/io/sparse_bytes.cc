#include "io/sparse_bytes.h"

#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace varve {

namespace {

uint64_t NewToken() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

// Calls visit(chunk, offset in it, bytes, position in the range) for each chunk that the range touches.
template <typename Visit>
void ForEachChunk(uint64_t offset, uint64_t bytes, uint64_t chunk_bytes, Visit visit) {
  for (uint64_t position = 0; position < bytes;) {
    uint64_t start = (offset + position) % chunk_bytes;
    uint64_t length = std::min(chunk_bytes - start, bytes - position);
    visit((offset + position) / chunk_bytes, start, length, position);
    position += length;
  }
}

}  // namespace

SparseBytes::SparseBytes() : token_(NewToken()) {}

SparseBytes SparseBytes::Share() {
  SparseBytes copy;
  copy.chunks_ = chunks_;
  token_ = NewToken();
  return copy;
}

void SparseBytes::Read(uint64_t offset, std::byte* out, uint64_t bytes) const {
  VisitPieces(offset, bytes, [out](uint64_t position, const std::byte* data, uint64_t length) {
    if (data == nullptr) memset(out + position, 0, length);
    else memcpy(out + position, data, length);
  });
}

void SparseBytes::Write(uint64_t offset, const std::byte* data, uint64_t bytes) {
  ForEachChunk(offset, bytes, kChunkBytes,
               [&](uint64_t index, uint64_t start, uint64_t length, uint64_t position) {
                 memcpy(Writable(index).bytes.data() + start, data + position, length);
               });
}

void SparseBytes::Zero(uint64_t offset, uint64_t bytes) {
  ForEachChunk(offset, bytes, kChunkBytes,
               [&](uint64_t index, uint64_t start, uint64_t length, uint64_t) {
                 if (length == kChunkBytes) chunks_.erase(index);
                 else if (chunks_.contains(index)) memset(Writable(index).bytes.data() + start, 0, length);
               });
}

SparseBytes::Chunk& SparseBytes::Writable(uint64_t index) {
  std::shared_ptr<Chunk>& chunk = chunks_[index];
  if (!chunk || chunk->token != token_) {
    auto own = std::make_shared<Chunk>();
    if (chunk) own->bytes = chunk->bytes;
    chunk = std::move(own);
  }
  chunk->token = token_;
  chunk->digest.store(kUnknown, std::memory_order_relaxed);
  return *chunk;
}

uint64_t SparseBytes::DigestOf(const Chunk& chunk) {
  uint64_t known = chunk.digest.load(std::memory_order_relaxed);
  if (known != kUnknown) return known;
  static const std::array<std::byte, kChunkBytes> zeroes{};
  uint64_t digest = chunk.bytes == zeroes ? 0 : XXH64(chunk.bytes.data(), kChunkBytes, 0);
  chunk.digest.store(digest, std::memory_order_relaxed);
  return digest;
}

uint64_t SparseBytes::DigestWithin(uint64_t index, uint64_t start, uint64_t bytes) const {
  auto found = chunks_.find(index);
  if (found == chunks_.end()) return 0;
  if (bytes == kChunkBytes) return DigestOf(*found->second);
  static const std::array<std::byte, kChunkBytes> zeroes{};
  const std::byte* data = found->second->bytes.data() + start;
  return memcmp(data, zeroes.data(), bytes) == 0 ? 0 : XXH64(data, bytes, 0);
}

uint64_t SparseBytes::Digest(uint64_t offset, uint64_t bytes) const {
  uint64_t digest = 0;
  ForEachChunk(offset, bytes, kChunkBytes, [&](uint64_t index, uint64_t start, uint64_t length, uint64_t) {
    uint64_t piece[] = {digest, index, start, length, DigestWithin(index, start, length)};
    digest = XXH64(piece, sizeof(piece), 0);
  });
  return digest;
}

uint64_t SparseBytes::Digest() const {
  // A sum, so that the order of chunks does not matter; a chunk of zeroes counts as none.
  uint64_t sum = 0;
  for (const auto& [index, chunk] : chunks_) {
    uint64_t place[] = {index, DigestOf(*chunk)};
    if (place[1] != 0) sum += XXH64(place, sizeof(place), 0);
  }
  return sum;
}

}  // namespace varve
