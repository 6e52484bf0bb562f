// Numbers of the NBD protocol, and the limits we put on what it leaves open.
//
// Source: https://github.com/NetworkBlockDevice/nbd, doc/proto.md, and its extension-ext-header branch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace varve::nbd {

inline constexpr uint64_t kGreetingMagic = 0x4e42444d41474943;  // "NBDMAGIC"
inline constexpr uint64_t kOptionMagic = 0x49484156454f5054;    // "IHAVEOPT"
inline constexpr uint64_t kOptionReplyMagic = 0x0003e889045565a9;
inline constexpr uint32_t kCompactRequestMagic = 0x25609513;
inline constexpr uint32_t kExtendedRequestMagic = 0x21e41c71;
inline constexpr uint32_t kSimpleReplyMagic = 0x67446698;
inline constexpr uint32_t kStructuredReplyMagic = 0x668e33ef;
inline constexpr uint32_t kExtendedReplyMagic = 0x6e8a278c;

// Bits of the greeting; the client's have the same numbers.
inline constexpr uint16_t kFixedNewstyle = 1;
inline constexpr uint16_t kNoZeroes = 2;

enum class Option : uint32_t {
  kExportName = 1,
  kAbort = 2,
  kList = 3,
  kStartTls = 5,
  kInfo = 6,
  kGo = 7,
  kStructuredReply = 8,
  kListMetaContext = 9,
  kSetMetaContext = 10,
  kExtendedHeaders = 11,
};

enum class OptionReply : uint32_t {
  kAck = 1,
  kServer = 2,
  kInfo = 3,
  kMetaContext = 4,
  kErrUnsupported = 0x80000001,
  kErrPolicy = 0x80000002,
  kErrInvalid = 0x80000003,
  kErrUnknown = 0x80000006,
  kErrTooBig = 0x80000009,
  kErrExtendedHeadersRequired = 0x8000000a,
};

enum class Info : uint16_t { kExport = 0, kName = 1, kDescription = 2, kBlockSize = 3 };

// Transmission flags.
inline constexpr uint16_t kHasFlags = 1 << 0;
inline constexpr uint16_t kReadOnly = 1 << 1;
inline constexpr uint16_t kSendFlush = 1 << 2;
inline constexpr uint16_t kSendFua = 1 << 3;
inline constexpr uint16_t kSendTrim = 1 << 5;
inline constexpr uint16_t kSendWriteZeroes = 1 << 6;
inline constexpr uint16_t kSendDontFragment = 1 << 7;
inline constexpr uint16_t kCanMultiConn = 1 << 8;
inline constexpr uint16_t kSendCache = 1 << 10;
inline constexpr uint16_t kSendFastZero = 1 << 11;
inline constexpr uint16_t kBlockStatusPayload = 1 << 12;

enum class Command : uint16_t {
  kRead = 0,
  kWrite = 1,
  kDisconnect = 2,
  kFlush = 3,
  kTrim = 4,
  kCache = 5,
  kWriteZeroes = 6,
  kBlockStatus = 7,
};

inline constexpr uint16_t kFlagFua = 1 << 0;
inline constexpr uint16_t kFlagNoHole = 1 << 1;
inline constexpr uint16_t kFlagDontFragment = 1 << 2;
inline constexpr uint16_t kFlagReqOne = 1 << 3;
inline constexpr uint16_t kFlagFastZero = 1 << 4;
inline constexpr uint16_t kFlagPayloadLength = 1 << 5;

enum class Chunk : uint16_t {
  kNone = 0,
  kOffsetData = 1,
  kOffsetHole = 2,
  kBlockStatus = 5,
  kBlockStatusExtended = 6,
  kError = 0x8001,
};
inline constexpr uint16_t kChunkDone = 1;

// Error values on the wire; no other may be sent.
enum class WireError : uint32_t {
  kOk = 0,
  kPermission = 1,
  kIo = 5,
  kMemory = 12,
  kInvalid = 22,
  kNoSpace = 28,
  kOverflow = 75,
  kNotSupported = 95,
};

inline constexpr size_t kCompactRequestBytes = 28;
inline constexpr size_t kExtendedRequestBytes = 32;
inline constexpr size_t kOptionHeaderBytes = 16;

// Strings: names, descriptions, context names.
inline constexpr size_t kStringBytesMax = 4096;
// QEMU gives up for good on an error chunk of more than 1000 bytes.
inline constexpr size_t kErrorMessageBytesMax = 256;

// The largest READ and WRITE, advertised: what every peer does, and what QEMU cuts its requests to.
inline constexpr uint32_t kPayloadBytesMax = 32u << 20;
// A WRITE up to here is drained and refused; beyond it the client is cut off.
inline constexpr uint32_t kDrainedPayloadBytesMax = 64u << 20;

inline constexpr char kBaseAllocation[] = "base:allocation";
inline constexpr uint32_t kBaseAllocationId = 1;

// How replies look; each later one was negotiated and takes precedence.
enum class Framing : uint8_t { kSimple, kStructured, kExtended };

}  // namespace varve::nbd
