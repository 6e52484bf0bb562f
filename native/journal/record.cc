#include "journal/record.h"

#include <xxhash.h>

#include <bit>
#include <cstring>

namespace varve {

static_assert(std::endian::native == std::endian::little, "records are written as they lie in memory");

namespace {

struct RecordHeader {
  uint32_t magic;
  uint16_t kind;
  uint16_t reserved16;
  uint8_t pool_uuid[16];
  uint64_t epoch;
  uint64_t sequence;
  uint64_t position;
  uint32_t payload_bytes;
  uint32_t reserved32;
  uint64_t xxh64;  // of header and payload, with this field zero
};
static_assert(sizeof(RecordHeader) == kRecordHeaderBytes);

constexpr uint32_t kRecordMagic = 0x314E524A;

// Room for a record at the end of `out`, all zero; returns where it starts.
size_t Extend(std::vector<uint8_t>* out, size_t payload_bytes) {
  size_t start = out->size();
  out->resize(start + RecordBytes(payload_bytes), 0);
  return start;
}

// Fills the header of a record whose payload is already in place.
void Finish(uint8_t* record, RecordKind kind, const RecordPlace& place, size_t payload_bytes) {
  RecordHeader header = {};
  header.magic = kRecordMagic;
  header.kind = static_cast<uint16_t>(kind);
  std::memcpy(header.pool_uuid, place.pool_uuid, 16);
  header.epoch = place.epoch;
  header.sequence = place.sequence;
  header.position = place.position;
  header.payload_bytes = static_cast<uint32_t>(payload_bytes);
  std::memcpy(record, &header, sizeof(header));
  header.xxh64 = XXH64(record, sizeof(header) + payload_bytes, 0);
  std::memcpy(record, &header, sizeof(header));
}

}  // namespace

uint64_t RecordBytes(size_t payload_bytes) {
  size_t bytes = kRecordHeaderBytes + payload_bytes;
  return (bytes + kJournalBlockBytes - 1) / kJournalBlockBytes * kJournalBlockBytes;
}

void EncodeRecord(RecordKind kind, const RecordPlace& place, std::span<const uint8_t> payload, std::vector<uint8_t>* out) {
  size_t start = Extend(out, payload.size());
  uint8_t* record = out->data() + start;
  if (!payload.empty()) std::memcpy(record + kRecordHeaderBytes, payload.data(), payload.size());
  Finish(record, kind, place, payload.size());
}

void EncodeDeltasRecord(const RecordPlace& place, uint64_t first_serial, std::span<const Delta> deltas, std::vector<uint8_t>* out) {
  size_t payload_bytes = sizeof(first_serial) + deltas.size_bytes();
  size_t start = Extend(out, payload_bytes);
  uint8_t* record = out->data() + start;
  std::memcpy(record + kRecordHeaderBytes, &first_serial, sizeof(first_serial));
  std::memcpy(record + kRecordHeaderBytes + sizeof(first_serial), deltas.data(), deltas.size_bytes());
  Finish(record, RecordKind::kDeltas, place, payload_bytes);
}

}  // namespace varve
