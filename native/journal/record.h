// Journal records: their bytes (docs/format.md section 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/units.h"

namespace varve {

inline constexpr uint32_t kJournalBlockBytes = 4096;
inline constexpr uint32_t kRecordPayloadBytesMax = 1u << 20;
inline constexpr size_t kRecordHeaderBytes = 64;

enum class RecordKind : uint16_t { kDeltas = 1, kBatch = 2 };

struct RecordPlace {
  const uint8_t* pool_uuid;  // 16 bytes
  uint64_t epoch;
  uint64_t sequence;
  uint64_t position;
};

// Bytes a record of this payload takes in the ring: header, payload, padding.
uint64_t RecordBytes(size_t payload_bytes);

// Payload of a record of so many deltas.
constexpr size_t DeltasPayloadBytes(size_t count) { return sizeof(uint64_t) + count * sizeof(Delta); }

// Appends one padded record to `out`, whose size is a multiple of kJournalBlockBytes.
void EncodeRecord(RecordKind kind, const RecordPlace& place, std::span<const uint8_t> payload, std::vector<uint8_t>* out);
// first_serial 0: their serials do not count.
void EncodeDeltasRecord(const RecordPlace& place, uint64_t first_serial, std::span<const Delta> deltas, std::vector<uint8_t>* out);

}  // namespace varve
