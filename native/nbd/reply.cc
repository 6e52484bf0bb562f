#include "nbd/reply.h"

#include <algorithm>
#include <cstring>

#include "nbd/bytes.h"

namespace varve::nbd {
namespace {

constexpr size_t kSimpleHeaderBytes = 16;
constexpr size_t kStructuredHeaderBytes = 20;
constexpr size_t kExtendedHeaderBytes = 32;
// A chunk's header and the fixed part of its payload.
constexpr size_t kChunkHeadBytesMax = kExtendedHeaderBytes + 12;
// A shorter run of zeroes costs less as data than as a chunk, for the client too.
constexpr uint64_t kHoleBytesMin = 4096;
// Vectors larger than this are given back after use.
constexpr size_t kKeptEntriesMax = 1024;

bool IsZero(const Extent& extent) { return (extent.flags & kExtentZero) != 0; }

size_t ChunkHeaderBytes(Framing framing) {
  return framing == Framing::kExtended ? kExtendedHeaderBytes : kStructuredHeaderBytes;
}

size_t StatusPayloadBytes(Framing framing, size_t extents) {
  const bool extended = framing == Framing::kExtended;
  const size_t fixed_bytes = sizeof(uint32_t) * (extended ? 2 : 1);
  return fixed_bytes + extents * 2 * (extended ? sizeof(uint64_t) : sizeof(uint32_t));
}

template <typename T>
void Shrink(std::vector<T>* vector) {
  if (vector->capacity() > kKeptEntriesMax) std::vector<T>().swap(*vector);
}

}  // namespace

void Reply::Begin(size_t head_bytes) {
  parts_.clear();
  total_bytes_ = 0;
  heads_used_ = 0;
  if (heads_.size() < head_bytes) heads_.resize(head_bytes);
}

void Reply::Clear() {
  Shrink(&heads_);
  Shrink(&parts_);
  Shrink(&runs_);
}

// Heads that follow one another directly go out as one part.
std::byte* Reply::TakeHead(size_t bytes) {
  std::byte* head = heads_.data() + heads_used_;
  heads_used_ += bytes;
  total_bytes_ += bytes;
  if (!parts_.empty() && static_cast<std::byte*>(parts_.back().iov_base) + parts_.back().iov_len == head) {
    parts_.back().iov_len += bytes;
  } else {
    parts_.push_back({head, bytes});
  }
  return head;
}

void Reply::AppendData(std::byte* data, size_t bytes) {
  parts_.push_back({data, bytes});
  total_bytes_ += bytes;
}

std::byte* Reply::BeginChunk(const RequestHeader& header, Framing framing, Chunk type, bool done,
                             uint64_t payload_bytes) {
  const bool extended = framing == Framing::kExtended;
  std::byte* to = TakeHead(ChunkHeaderBytes(framing));
  to = StoreBig(to, extended ? kExtendedReplyMagic : kStructuredReplyMagic);
  to = StoreBig(to, static_cast<uint16_t>(done ? kChunkDone : 0));
  to = StoreBig(to, static_cast<uint16_t>(type));
  to = StoreBig(to, header.cookie);
  if (!extended) return StoreBig(to, static_cast<uint32_t>(payload_bytes));
  to = StoreBig(to, header.offset);
  return StoreBig(to, payload_bytes);
}

void Reply::SetDone(const RequestHeader& header, Framing framing) {
  Begin(kChunkHeadBytesMax);
  // A structured READ may not be answered simply, not even one of nothing.
  const bool chunk = framing == Framing::kExtended ||
                     (framing == Framing::kStructured && header.command == Command::kRead);
  if (chunk) {
    BeginChunk(header, framing, Chunk::kNone, true, 0);
    return;
  }
  SetRefusal(header, Framing::kSimple, Refusal{});
}

void Reply::SetRefusal(const RequestHeader& header, Framing framing, const Refusal& refusal) {
  Begin(kChunkHeadBytesMax + kErrorMessageBytesMax);
  const auto error = static_cast<uint32_t>(refusal.error);
  if (framing == Framing::kSimple) {
    std::byte* to = StoreBig(TakeHead(kSimpleHeaderBytes), kSimpleReplyMagic);
    StoreBig(StoreBig(to, error), header.cookie);
    return;
  }
  const size_t message_bytes = std::min(std::strlen(refusal.message), kErrorMessageBytesMax);
  const size_t payload_bytes = sizeof(uint32_t) + sizeof(uint16_t) + message_bytes;
  BeginChunk(header, framing, Chunk::kError, true, payload_bytes);
  std::byte* to = StoreBig(TakeHead(payload_bytes), error);
  std::memcpy(StoreBig(to, static_cast<uint16_t>(message_bytes)), refusal.message, message_bytes);
}

void Reply::SetRead(const RequestHeader& header, Framing framing, std::byte* data, std::span<const Extent> extents) {
  if (header.length == 0) return SetDone(header, framing);
  const bool fragment = framing != Framing::kSimple && !header.Has(kFlagDontFragment);
  FindRuns(fragment, data, header.length, extents);
  if (framing == Framing::kSimple) {
    SetRefusal(header, framing, Refusal{});
    return AppendData(data, header.length);
  }
  Begin(runs_.size() * kChunkHeadBytesMax);
  for (const Run& run : runs_) AppendRun(header, framing, run, &run == &runs_.back(), data);
}

// Leaves runs_ as the chunks to send, and zeroes in `data` wherever a run of data covers a hole.
void Reply::FindRuns(bool fragment, std::byte* data, uint64_t length, std::span<const Extent> extents) {
  runs_.clear();
  uint64_t at = 0;
  for (const Extent& extent : extents) {
    const bool hole = fragment && IsZero(extent) && extent.length >= kHoleBytesMin;
    if (!hole && IsZero(extent)) std::memset(data + at, 0, extent.length);
    if (!runs_.empty() && runs_.back().hole == hole) {
      runs_.back().length += extent.length;
    } else {
      runs_.push_back({at, extent.length, hole});
    }
    at += extent.length;
  }
  // A target that promised to cover the range and did not must not show a former reader's bytes.
  if (at < length) {
    std::memset(data + at, 0, length - at);
    runs_.push_back({at, length - at, false});
  }
}

void Reply::AppendRun(const RequestHeader& header, Framing framing, const Run& run, bool last, std::byte* data) {
  const uint64_t offset = header.offset + run.offset;
  if (run.hole) {
    BeginChunk(header, framing, Chunk::kOffsetHole, last, sizeof(uint64_t) + sizeof(uint32_t));
    std::byte* to = StoreBig(TakeHead(sizeof(uint64_t) + sizeof(uint32_t)), offset);
    StoreBig(to, static_cast<uint32_t>(run.length));
    return;
  }
  BeginChunk(header, framing, Chunk::kOffsetData, last, sizeof(uint64_t) + run.length);
  StoreBig(TakeHead(sizeof(uint64_t)), offset);
  AppendData(data + run.offset, run.length);
}

void Reply::SetBlockStatus(const RequestHeader& header, Framing framing, std::span<const ContextStatus> statuses) {
  size_t head_bytes = 0;
  for (const ContextStatus& status : statuses) {
    head_bytes += ChunkHeaderBytes(framing) + StatusPayloadBytes(framing, status.extents.size());
  }
  Begin(head_bytes);
  for (const ContextStatus& status : statuses) AppendStatus(header, framing, status, &status == &statuses.back());
}

void Reply::AppendStatus(const RequestHeader& header, Framing framing, const ContextStatus& status, bool last) {
  const bool extended = framing == Framing::kExtended;
  const size_t payload_bytes = StatusPayloadBytes(framing, status.extents.size());
  BeginChunk(header, framing, extended ? Chunk::kBlockStatusExtended : Chunk::kBlockStatus, last, payload_bytes);
  std::byte* to = StoreBig(TakeHead(payload_bytes), status.id);
  if (extended) to = StoreBig(to, static_cast<uint32_t>(status.extents.size()));
  for (const Extent& extent : status.extents) {
    // A compact request asks for less than 2^32 bytes, and no more is ever reported.
    to = extended ? StoreBig(to, extent.length) : StoreBig(to, static_cast<uint32_t>(extent.length));
    to = extended ? StoreBig(to, uint64_t{extent.flags}) : StoreBig(to, extent.flags);
  }
}

}  // namespace varve::nbd
