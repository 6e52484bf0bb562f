#include "nbd/request_header.h"

#include "nbd/bytes.h"

namespace varve::nbd {
namespace {

Refusal Invalid(const char* message) { return {WireError::kInvalid, message}; }

bool IsKnown(Command command) { return command <= Command::kBlockStatus; }

bool ChangesData(Command command) {
  return command == Command::kWrite || command == Command::kTrim || command == Command::kWriteZeroes;
}

// FUA is accepted on everything, and ignored where nothing is written.
uint16_t FlagsOf(Command command, const Terms& terms) {
  const uint16_t payload = terms.framing == Framing::kExtended ? kFlagPayloadLength : 0;
  switch (command) {
    case Command::kRead:
      return kFlagFua | (terms.Offers(kSendDontFragment) ? kFlagDontFragment : 0);
    case Command::kWrite:
      return kFlagFua | payload;
    case Command::kWriteZeroes:
      return kFlagFua | kFlagNoHole | (terms.Offers(kSendFastZero) ? kFlagFastZero : 0);
    case Command::kBlockStatus:
      return kFlagFua | kFlagReqOne | (terms.Offers(kBlockStatusPayload) ? kFlagPayloadLength : 0);
    case Command::kDisconnect:
    case Command::kFlush:
    case Command::kTrim:
    case Command::kCache:
      return kFlagFua;
  }
  return 0;
}

}  // namespace

bool DecodeRequestHeader(const std::byte* bytes, Framing framing, RequestHeader* header) {
  const bool extended = framing == Framing::kExtended;
  ByteReader reader(std::span(bytes, RequestHeaderBytes(framing)));
  if (reader.Take<uint32_t>() != (extended ? kExtendedRequestMagic : kCompactRequestMagic)) return false;
  header->flags = reader.Take<uint16_t>();
  header->command = static_cast<Command>(reader.Take<uint16_t>());
  header->cookie = reader.Take<uint64_t>();
  header->offset = reader.Take<uint64_t>();
  header->length = extended ? reader.Take<uint64_t>() : reader.Take<uint32_t>();
  return true;
}

void AppendRequestHeader(const RequestHeader& header, Framing framing, std::string* out) {
  const bool extended = framing == Framing::kExtended;
  AppendBig(out, extended ? kExtendedRequestMagic : kCompactRequestMagic);
  AppendBig(out, header.flags);
  AppendBig(out, static_cast<uint16_t>(header.command));
  AppendBig(out, header.cookie);
  AppendBig(out, header.offset);
  if (extended) return AppendBig(out, header.length);
  AppendBig(out, static_cast<uint32_t>(header.length));
}

uint64_t PayloadBytes(const RequestHeader& header, Framing framing) {
  if (header.command == Command::kWrite) return header.length;
  const bool announced = framing == Framing::kExtended && header.Has(kFlagPayloadLength);
  return announced ? header.length : 0;
}

bool IsPayloadHostile(const RequestHeader& header, Framing framing) {
  return PayloadBytes(header, framing) > kDrainedPayloadBytesMax;
}

bool HasStatusFilter(const RequestHeader& header, const Terms& terms) {
  return header.command == Command::kBlockStatus && header.Has(kFlagPayloadLength) &&
         terms.Offers(kBlockStatusPayload);
}

Refusal CheckRequest(const RequestHeader& header, const Terms& terms) {
  const Command command = header.command;
  if (!IsKnown(command)) return Invalid("unknown command");
  if ((header.flags & ~FlagsOf(command, terms)) != 0) return Invalid("flag not valid for this command");
  if (ChangesData(command) && terms.Offers(kReadOnly)) return {WireError::kPermission, "export is read-only"};
  if (command == Command::kBlockStatus && terms.contexts.empty()) return Invalid("no context was selected");
  if (command == Command::kFlush || HasStatusFilter(header, terms)) return {};
  if (command == Command::kWrite && header.length > kPayloadBytesMax) return Invalid("write exceeds the maximum payload");
  if (const Refusal range = CheckRange(command, header.offset, header.length, terms.size_bytes); !range.none()) {
    return range;
  }
  if (command == Command::kRead && header.length > kPayloadBytesMax) {
    return {WireError::kOverflow, "read exceeds the maximum payload"};
  }
  // Providing space is no faster than writing it.
  if (header.Has(kFlagFastZero) && header.Has(kFlagNoHole)) {
    return {WireError::kNotSupported, "zeroes that keep their space are not fast"};
  }
  return {};
}

Refusal CheckRange(Command command, uint64_t offset, uint64_t length, uint64_t size_bytes) {
  if (length > size_bytes || offset > size_bytes - length) {
    const bool takes_space = command == Command::kWrite || command == Command::kWriteZeroes;
    return {takes_space ? WireError::kNoSpace : WireError::kInvalid, "beyond the end of the export"};
  }
  if (command == Command::kBlockStatus && length == 0) return Invalid("block status of nothing");
  return {};
}

bool IsStatusFilterSize(uint64_t payload_bytes) {
  constexpr uint64_t kFixedBytes = sizeof(uint64_t);
  constexpr uint64_t kIdBytes = sizeof(uint32_t);
  constexpr uint64_t kIdsMax = kChangedContextsMax + 1;
  if (payload_bytes < kFixedBytes + kIdBytes || payload_bytes > kFixedBytes + kIdsMax * kIdBytes) return false;
  return (payload_bytes - kFixedBytes) % kIdBytes == 0;
}

Refusal ParseStatusFilter(std::span<const std::byte> payload, ContextBits selected, uint64_t* length,
                          ContextBits* asked) {
  ByteReader reader(payload);
  *length = reader.Take<uint64_t>();
  *asked = 0;
  while (reader.left() > 0) {
    const uint32_t id = reader.Take<uint32_t>();
    const bool is_id = id >= kBaseAllocationId && id <= kBaseAllocationId + kChangedContextsMax;
    if (!is_id || (selected & ContextBit(id)) == 0) return Invalid("context was not selected");
    if ((*asked & ContextBit(id)) != 0) return Invalid("context is asked for twice");
    *asked |= ContextBit(id);
  }
  return {};
}

}  // namespace varve::nbd
