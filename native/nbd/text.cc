#include "nbd/text.h"

#include <cstddef>
#include <cstdint>

#include "nbd/protocol.h"

namespace varve::nbd {
namespace {

struct Lead {
  unsigned continuations;
  uint32_t bits;
  uint32_t smallest;  // a smaller code point would have had a shorter form
};

// continuations 4 marks a byte that cannot lead.
Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {0, byte, 1};  // 1: NUL is refused
  if ((byte & 0xe0) == 0xc0) return {1, byte & 0x1fu, 0x80};
  if ((byte & 0xf0) == 0xe0) return {2, byte & 0x0fu, 0x800};
  if ((byte & 0xf8) == 0xf0) return {3, byte & 0x07u, 0x10000};
  return {4, 0, 0};
}

bool IsScalar(uint32_t point) { return point <= 0x10ffff && (point < 0xd800 || point > 0xdfff); }

}  // namespace

bool IsProtocolString(std::string_view text) {
  if (text.size() > kStringBytesMax) return false;
  for (size_t i = 0; i < text.size();) {
    const Lead lead = LeadOf(static_cast<uint8_t>(text[i++]));
    if (lead.continuations > 3 || text.size() - i < lead.continuations) return false;
    uint32_t point = lead.bits;
    for (unsigned k = 0; k < lead.continuations; k++) {
      const auto byte = static_cast<uint8_t>(text[i++]);
      if ((byte & 0xc0) != 0x80) return false;
      point = point << 6 | (byte & 0x3fu);
    }
    if (point < lead.smallest || !IsScalar(point)) return false;
  }
  return true;
}

}  // namespace varve::nbd
