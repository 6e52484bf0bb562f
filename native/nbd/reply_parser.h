// ReplyParser: what an NBD server says to us, taken apart. Bytes in, calls out; no sockets, no clock.
//
//   greeting ─▶ replies to our options, in their order ─▶ offer ─▶ chunks of replies, for as long as they come
//
// What we ask, and so what is understood: structured replies (required), base:allocation (used when there is one), GO; then READ
// and BLOCK_STATUS.
//
// Invariants:
//   - What is no correct answer ends with EPROTO, and nothing of it was told; no length that was announced makes us hold more than
//     kChunkBytesMax.
//   - Data is passed on as it comes, never gathered.
// Elsewhere: whether an answer is one to what was asked (client_disk.cc), the socket (client_link.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "nbd/protocol.h"
#include "volume/block_target.h"

namespace varve::nbd {

struct ServerOffer {
  uint64_t size_bytes = 0;
  uint32_t block_bytes_min = 1;  // offsets and lengths are multiples
  uint32_t payload_bytes_max = kPayloadBytesMax;
  bool tells_allocation = false;
};

// A false answer: that was not asked for, or is none to it. Nothing is told after that.
class ReplySink {
 public:
  virtual ~ReplySink() = default;
  virtual void OnGreeting() = 0;
  virtual void OnOffer(const ServerOffer& offer) = 0;
  virtual bool OnData(uint64_t cookie, uint64_t offset, std::span<const std::byte> data) = 0;
  virtual bool OnHole(uint64_t cookie, uint64_t offset, uint64_t bytes) = 0;
  virtual bool OnExtents(uint64_t cookie, std::span<const Extent> extents) = 0;
  virtual bool OnError(uint64_t cookie, int error) = 0;
  // Nothing more comes for that cookie.
  virtual bool OnDone(uint64_t cookie) = 0;
};

// Our side of the handshake behind the greeting: flags, and every option at once.
std::string AskForExport(std::string_view name);
// A request without payload.
std::string AskFor(Command command, uint64_t cookie, uint64_t offset, uint32_t bytes);

class ReplyParser {
 public:
  // Of a reply that is no data: what QEMU sends at most for one BLOCK_STATUS.
  static constexpr uint32_t kChunkBytesMax = (1 << 20) + 64;

  explicit ReplyParser(ReplySink* sink) : sink_(sink) {}

  // Takes all of `bytes`. EPROTO, ENOTSUP no structured replies, ENOENT no such export, EACCES not for us: final.
  Status Feed(std::span<const std::byte> bytes);

 private:
  enum class Stage : uint8_t { kGreeting, kOption, kOptionData, kMagic, kSimple, kChunk, kChunkData, kDataOffset, kData };

  size_t Wanted() const;
  Status Take(std::span<const std::byte> bytes);
  Status TakeGreeting(std::span<const std::byte> bytes);
  Status TakeOption(std::span<const std::byte> bytes);
  Status TakeOptionData(std::span<const std::byte> bytes);
  Status TakeStructured();
  Status TakeContext(std::span<const std::byte> bytes);
  Status TakeGo(std::span<const std::byte> bytes);
  Status TakeInfo(std::span<const std::byte> bytes);
  Status TakeMagic(std::span<const std::byte> bytes);
  Status TakeSimple(std::span<const std::byte> bytes);
  Status TakeChunk(std::span<const std::byte> bytes);
  Status TakeChunkData(std::span<const std::byte> bytes);
  Status TakeData(std::span<const std::byte> bytes);
  Status EndChunk();
  bool TellHole(std::span<const std::byte> bytes);
  bool TellExtents(std::span<const std::byte> bytes);
  bool TellError(std::span<const std::byte> bytes);

  ReplySink* const sink_;
  Stage stage_ = Stage::kGreeting;
  std::vector<std::byte> held_;  // the beginning of what is wanted
  std::vector<Extent> extents_;

  // Handshake.
  size_t option_ = 0;       // of those we asked, the one being answered
  uint32_t option_reply_ = 0;
  uint32_t option_bytes_ = 0;
  uint32_t context_id_ = 0;
  bool has_size_ = false;
  ServerOffer offer_;

  // The chunk at hand.
  uint16_t chunk_flags_ = 0;
  uint16_t chunk_type_ = 0;
  uint64_t cookie_ = 0;
  uint32_t chunk_bytes_ = 0;  // still to come
  uint64_t data_offset_ = 0;
};

}  // namespace varve::nbd
