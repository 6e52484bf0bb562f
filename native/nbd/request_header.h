// Request headers: the bytes of a request, and whether it may be executed.
//
// Checks run in the order of the protocol digest, section 8: payload first (so that a
// refusal leaves the stream in sync), then command, flags, read-only, bounds. Minimum
// block is 1, so alignment cannot be wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "nbd/contexts.h"
#include "nbd/protocol.h"

namespace varve::nbd {

struct RequestHeader {
  uint16_t flags = 0;
  Command command{};
  uint64_t cookie = 0;
  uint64_t offset = 0;
  uint64_t length = 0;  // effect's or payload's, see PayloadBytes
  bool Has(uint16_t flag) const { return (flags & flag) != 0; }
};

// What of a session decides on requests.
struct Terms {
  uint64_t size_bytes = 0;
  uint16_t transmission_flags = 0;
  Framing framing = Framing::kSimple;
  Selection contexts;
  bool Offers(uint16_t flag) const { return (transmission_flags & flag) != 0; }
};

struct Refusal {
  WireError error = WireError::kOk;
  const char* message = "";  // at most kErrorMessageBytesMax
  bool none() const { return error == WireError::kOk; }
};

constexpr size_t RequestHeaderBytes(Framing framing) {
  return framing == Framing::kExtended ? kExtendedRequestBytes : kCompactRequestBytes;
}

// bytes: RequestHeaderBytes(framing) of them. False when the magic is wrong.
bool DecodeRequestHeader(const std::byte* bytes, Framing framing, RequestHeader* header);

// Appends the bytes that DecodeRequestHeader() takes for `header`.
void AppendRequestHeader(const RequestHeader& header, Framing framing, std::string* out);

// Bytes that follow the header. A WRITE's always do: QEMU 10 sets no PAYLOAD_LEN on it.
uint64_t PayloadBytes(const RequestHeader& header, Framing framing);

// Bytes that follow are too many even to be thrown away: end the connection.
bool IsPayloadHostile(const RequestHeader& header, Framing framing);

// A filter of BLOCK_STATUS follows.
bool HasStatusFilter(const RequestHeader& header, const Terms& terms);

// Decides once the payload is there, its content unseen. DISC is never refused.
Refusal CheckRequest(const RequestHeader& header, const Terms& terms);

// Decides on the range alone; part of CheckRequest, and by itself for a filtered BLOCK_STATUS,
// whose length stands in its payload.
Refusal CheckRange(Command command, uint64_t offset, uint64_t length, uint64_t size_bytes);

// A filter of that size may be valid: it asks for at least one context, and for none twice.
bool IsStatusFilterSize(uint64_t payload_bytes);

// The filter's payload: u64 length, then context ids; its size is that of a filter. Sets `length` and `asked` when all are
// of `selected`, each once.
Refusal ParseStatusFilter(std::span<const std::byte> payload, ContextBits selected, uint64_t* length,
                          ContextBits* asked);

}  // namespace varve::nbd
