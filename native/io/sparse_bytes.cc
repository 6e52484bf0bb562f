#include "io/sparse_bytes.h"

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
  ForEachChunk(offset, bytes, kChunkBytes,
               [&](uint64_t index, uint64_t start, uint64_t length, uint64_t position) {
                 auto found = chunks_.find(index);
                 if (found == chunks_.end()) memset(out + position, 0, length);
                 else memcpy(out + position, found->second->bytes.data() + start, length);
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
  if (!chunk) chunk = std::make_shared<Chunk>();
  else if (chunk->token != token_) chunk = std::make_shared<Chunk>(*chunk);
  chunk->token = token_;
  return *chunk;
}

}  // namespace varve
