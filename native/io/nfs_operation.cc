#include "io/nfs_operation.h"

#include <algorithm>
#include <cstring>

namespace varve {

namespace {

// visit(memory, bytes, distance from the beginning of the piece)
template <typename Visit>
void ForEachBuffer(const NfsOperation& operation, uint64_t at, uint64_t bytes, Visit visit) {
  uint64_t start = 0, end = at + bytes;
  for (int i = 0; i < operation.count; ++i) {
    uint64_t length = operation.iov[i].iov_len;
    uint64_t from = std::max(at, start), to = std::min(end, start + length);
    if (from < to) visit(static_cast<std::byte*>(operation.iov[i].iov_base) + (from - start), to - from, from - at);
    start += length;
  }
}

}  // namespace

void CopyIn(const NfsOperation& operation, uint64_t at, const std::byte* from, uint64_t bytes) {
  ForEachBuffer(operation, at, bytes, [from](std::byte* memory, uint64_t length, uint64_t distance) {
    memcpy(memory, from + distance, length);
  });
}

void CopyOut(const NfsOperation& operation, uint64_t at, std::byte* to, uint64_t bytes) {
  ForEachBuffer(operation, at, bytes, [to](std::byte* memory, uint64_t length, uint64_t distance) {
    memcpy(to + distance, memory, length);
  });
}

void ZeroIn(const NfsOperation& operation, uint64_t at, uint64_t bytes) {
  ForEachBuffer(operation, at, bytes, [](std::byte* memory, uint64_t length, uint64_t) { memset(memory, 0, length); });
}

const std::byte* InOnePiece(const NfsOperation& operation, uint64_t at, uint64_t bytes) {
  const std::byte* found = nullptr;
  ForEachBuffer(operation, at, bytes, [&](std::byte* memory, uint64_t length, uint64_t) {
    if (length == bytes) found = memory;
  });
  return found;
}

}  // namespace varve
