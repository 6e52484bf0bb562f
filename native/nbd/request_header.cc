#include "nbd/request_header.h"

#include <span>

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
  if (command == Command::kBlockStatus && terms.context_count() == 0) return Invalid("no context was selected");
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

ContextMask AllContexts(const Terms& terms) {
  const ContextMask others = ((ContextMask{1} << terms.contexts.size()) - 1) << 1;
  return others | (terms.base_allocation ? 1 : 0);
}

bool IsStatusFilterSize(uint64_t bytes, const Terms& terms) {
  if (bytes < sizeof(uint64_t) + sizeof(uint32_t)) return false;
  const uint64_t ids_bytes = bytes - sizeof(uint64_t);
  return ids_bytes % sizeof(uint32_t) == 0 && ids_bytes / sizeof(uint32_t) <= terms.context_count();
}

Refusal ParseStatusFilter(const std::byte* payload, uint64_t payload_bytes, const Terms& terms, uint64_t* length,
                          ContextMask* contexts) {
  if (!IsStatusFilterSize(payload_bytes, terms)) return Invalid("malformed filter of contexts");
  ByteReader reader(std::span(payload, payload_bytes));
  *length = reader.Take<uint64_t>();
  *contexts = 0;
  while (reader.left() != 0) {
    const uint32_t id = reader.Take<uint32_t>();
    const bool other = id >= kFirstContextId && id - kFirstContextId < terms.contexts.size();
    const bool base = id == kBaseAllocationId && terms.base_allocation;
    if (!other && !base) return Invalid("context was not selected");
    const ContextMask bit = base ? 1 : ContextMask{2} << (id - kFirstContextId);
    if (*contexts & bit) return Invalid("context asked for twice");
    *contexts |= bit;
  }
  return {};
}

}  // namespace varve::nbd
