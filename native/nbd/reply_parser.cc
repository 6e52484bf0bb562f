#include "nbd/reply_parser.h"

#include <algorithm>
#include <array>
#include <utility>

#include "nbd/bytes.h"

namespace varve::nbd {

namespace {

constexpr size_t kGreetingBytes = 18;
constexpr size_t kOptionReplyBytes = 20;
constexpr size_t kMagicBytes = 4;
// Behind the magic.
constexpr size_t kSimpleBytes = 12;
constexpr size_t kChunkHeaderBytes = 16;
constexpr size_t kOffsetBytes = 8;
constexpr uint32_t kOptionDataBytesMax = 64 << 10;
constexpr uint32_t kErrorBit = 0x80000000;
constexpr uint16_t kErrorChunkBit = 0x8000;
constexpr uint32_t kShutdown = 0x80000007;
constexpr uint32_t kTlsRequired = 0x80000005;
constexpr uint32_t kWireShutdown = 108;
// In the order in which they are asked.
constexpr std::array kOptions{Option::kStructuredReply, Option::kSetMetaContext, Option::kGo};

Status Violation(const char* what) { return Status(EPROTO, what); }

bool Is(uint32_t reply, OptionReply known) { return reply == static_cast<uint32_t>(known); }

Status Refusal(uint32_t reply) {
  if (Is(reply, OptionReply::kErrUnknown)) return Status(ENOENT, "the NBD server has no such export");
  if (Is(reply, OptionReply::kErrPolicy) || reply == kTlsRequired) return Status(EACCES, "the NBD server refuses us");
  if (reply == kShutdown) return Status(ECONNREFUSED, "the NBD server is shutting down");
  return Violation("the NBD server refuses the export");
}

// A read that failed, whatever for; but a server that goes away may come back.
int ErrnoOf(uint32_t wire) { return wire == kWireShutdown ? ECONNRESET : EIO; }

void AppendOption(std::string* out, Option option, const std::string& data) {
  AppendBig<uint64_t>(out, kOptionMagic);
  AppendBig<uint32_t>(out, static_cast<uint32_t>(option));
  AppendBig<uint32_t>(out, static_cast<uint32_t>(data.size()));
  out->append(data);
}

std::string WithLength(std::string_view text) {
  std::string out;
  AppendBig<uint32_t>(&out, static_cast<uint32_t>(text.size()));
  return out.append(text);
}

}  // namespace

std::string AskForExport(std::string_view name) {
  std::string out;
  AppendBig<uint32_t>(&out, kFixedNewstyle | kNoZeroes);
  AppendOption(&out, Option::kStructuredReply, "");
  std::string contexts = WithLength(name);
  AppendBig<uint32_t>(&contexts, 1);
  AppendOption(&out, Option::kSetMetaContext, contexts.append(WithLength(kBaseAllocation)));
  std::string go = WithLength(name);
  AppendBig<uint16_t>(&go, 1);
  AppendBig<uint16_t>(&go, static_cast<uint16_t>(Info::kBlockSize));
  AppendOption(&out, Option::kGo, go);
  return out;
}

std::string AskFor(Command command, uint64_t cookie, uint64_t offset, uint32_t bytes) {
  std::string out;
  AppendBig<uint32_t>(&out, kCompactRequestMagic);
  AppendBig<uint16_t>(&out, 0);
  AppendBig<uint16_t>(&out, static_cast<uint16_t>(command));
  AppendBig<uint64_t>(&out, cookie);
  AppendBig<uint64_t>(&out, offset);
  AppendBig<uint32_t>(&out, bytes);
  return out;
}

// ---- cutting

Status ReplyParser::Feed(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (stage_ == Stage::kData) {
      const auto data = bytes.first(std::min<size_t>(bytes.size(), chunk_bytes_));
      if (Status status = TakeData(data); !status.ok()) return status;
      bytes = bytes.subspan(data.size());
      continue;
    }
    const size_t more = std::min(bytes.size(), Wanted() - held_.size());
    held_.insert(held_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(more));
    bytes = bytes.subspan(more);
    if (held_.size() < Wanted()) return Status::Ok();
    // What is taken may lead to a stage that wants nothing.
    do {
      const std::vector<std::byte> taken = std::exchange(held_, {});
      if (Status status = Take(taken); !status.ok()) return status;
    } while (Wanted() == 0);
  }
  return Status::Ok();
}

size_t ReplyParser::Wanted() const {
  switch (stage_) {
    case Stage::kGreeting: return kGreetingBytes;
    case Stage::kOption: return kOptionReplyBytes;
    case Stage::kOptionData: return option_bytes_;
    case Stage::kMagic: return kMagicBytes;
    case Stage::kSimple: return kSimpleBytes;
    case Stage::kChunk: return kChunkHeaderBytes;
    case Stage::kChunkData: return chunk_bytes_;
    case Stage::kDataOffset: return kOffsetBytes;
    case Stage::kData: return chunk_bytes_;
  }
  return 0;
}

Status ReplyParser::Take(std::span<const std::byte> bytes) {
  switch (stage_) {
    case Stage::kGreeting: return TakeGreeting(bytes);
    case Stage::kOption: return TakeOption(bytes);
    case Stage::kOptionData: return TakeOptionData(bytes);
    case Stage::kMagic: return TakeMagic(bytes);
    case Stage::kSimple: return TakeSimple(bytes);
    case Stage::kChunk: return TakeChunk(bytes);
    case Stage::kChunkData: return TakeChunkData(bytes);
    case Stage::kDataOffset:
      data_offset_ = LoadBig<uint64_t>(bytes.data());
      chunk_bytes_ -= kOffsetBytes;
      stage_ = Stage::kData;
      return Status::Ok();
    case Stage::kData: break;
  }
  return Violation("NBD reply");
}

// ---- handshake

Status ReplyParser::TakeGreeting(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const bool known = reader.Take<uint64_t>() == kGreetingMagic && reader.Take<uint64_t>() == kOptionMagic;
  if (!known || !(reader.Take<uint16_t>() & kFixedNewstyle)) return Violation("NBD greeting");
  stage_ = Stage::kOption;
  sink_->OnGreeting();
  return Status::Ok();
}

Status ReplyParser::TakeOption(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const bool known = reader.Take<uint64_t>() == kOptionReplyMagic;
  const bool ours = reader.Take<uint32_t>() == static_cast<uint32_t>(kOptions[option_]);
  option_reply_ = reader.Take<uint32_t>();
  option_bytes_ = reader.Take<uint32_t>();
  if (!known || !ours || option_bytes_ > kOptionDataBytesMax) return Violation("NBD option reply");
  stage_ = Stage::kOptionData;
  return Status::Ok();
}

Status ReplyParser::TakeOptionData(std::span<const std::byte> bytes) {
  stage_ = Stage::kOption;
  switch (kOptions[option_]) {
    case Option::kStructuredReply: return TakeStructured();
    case Option::kSetMetaContext: return TakeContext(bytes);
    default: return TakeGo(bytes);
  }
}

Status ReplyParser::TakeStructured() {
  if (!Is(option_reply_, OptionReply::kAck)) return Status(ENOTSUP, "the NBD server has no structured replies");
  option_++;
  return Status::Ok();
}

Status ReplyParser::TakeContext(std::span<const std::byte> bytes) {
  if (Is(option_reply_, OptionReply::kMetaContext)) {
    ByteReader reader(bytes);
    const uint32_t id = reader.Take<uint32_t>();
    if (!reader.ok() || reader.TakeText(reader.left()) != kBaseAllocation) return Violation("NBD context");
    context_id_ = id;
    offer_.tells_allocation = true;
    return Status::Ok();
  }
  const bool refused = (option_reply_ & kErrorBit) != 0;
  if (!refused && !Is(option_reply_, OptionReply::kAck)) return Violation("NBD contexts");
  option_++;
  return Status::Ok();
}

Status ReplyParser::TakeGo(std::span<const std::byte> bytes) {
  if (option_reply_ & kErrorBit) return Refusal(option_reply_);
  if (Is(option_reply_, OptionReply::kInfo)) return TakeInfo(bytes);
  if (!Is(option_reply_, OptionReply::kAck) || !has_size_) return Violation("NBD export");
  stage_ = Stage::kMagic;
  sink_->OnOffer(offer_);
  return Status::Ok();
}

Status ReplyParser::TakeInfo(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  switch (static_cast<Info>(reader.Take<uint16_t>())) {
    case Info::kExport:
      offer_.size_bytes = reader.Take<uint64_t>();
      has_size_ = true;
      break;
    case Info::kBlockSize:
      offer_.block_bytes_min = reader.Take<uint32_t>();
      reader.Take<uint32_t>();  // preferred
      offer_.payload_bytes_max = std::min(reader.Take<uint32_t>(), kPayloadBytesMax);
      break;
    default: break;
  }
  const uint32_t block = offer_.block_bytes_min;
  const bool sane = block > 0 && (block & (block - 1)) == 0 && block <= offer_.payload_bytes_max;
  return reader.ok() && sane ? Status::Ok() : Violation("NBD export");
}

// ---- transmission

Status ReplyParser::TakeMagic(std::span<const std::byte> bytes) {
  switch (LoadBig<uint32_t>(bytes.data())) {
    case kSimpleReplyMagic: stage_ = Stage::kSimple; return Status::Ok();
    case kStructuredReplyMagic: stage_ = Stage::kChunk; return Status::Ok();
    default: return Violation("NBD reply");
  }
}

// Only what fails may be answered so: everything that we ask for has a payload.
Status ReplyParser::TakeSimple(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const uint32_t error = reader.Take<uint32_t>();
  const uint64_t cookie = reader.Take<uint64_t>();
  stage_ = Stage::kMagic;
  const bool asked = error != 0 && sink_->OnError(cookie, ErrnoOf(error)) && sink_->OnDone(cookie);
  return asked ? Status::Ok() : Violation("NBD simple reply");
}

Status ReplyParser::TakeChunk(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  chunk_flags_ = reader.Take<uint16_t>();
  chunk_type_ = reader.Take<uint16_t>();
  cookie_ = reader.Take<uint64_t>();
  chunk_bytes_ = reader.Take<uint32_t>();
  const bool data = chunk_type_ == static_cast<uint16_t>(Chunk::kOffsetData);
  const uint32_t most = data ? static_cast<uint32_t>(kPayloadBytesMax + kOffsetBytes) : kChunkBytesMax;
  if (chunk_bytes_ > most || (data && chunk_bytes_ <= kOffsetBytes)) return Violation("NBD chunk");
  stage_ = data ? Stage::kDataOffset : Stage::kChunkData;
  return Status::Ok();
}

Status ReplyParser::TakeData(std::span<const std::byte> bytes) {
  if (!sink_->OnData(cookie_, data_offset_, bytes)) return Violation("NBD data");
  data_offset_ += bytes.size();
  chunk_bytes_ -= static_cast<uint32_t>(bytes.size());
  return chunk_bytes_ == 0 ? EndChunk() : Status::Ok();
}

Status ReplyParser::TakeChunkData(std::span<const std::byte> bytes) {
  bool asked = false;
  if (chunk_type_ & kErrorChunkBit) asked = TellError(bytes);
  else if (chunk_type_ == static_cast<uint16_t>(Chunk::kOffsetHole)) asked = TellHole(bytes);
  else if (chunk_type_ == static_cast<uint16_t>(Chunk::kBlockStatus)) asked = TellExtents(bytes);
  else asked = chunk_type_ == static_cast<uint16_t>(Chunk::kNone) && bytes.empty() && (chunk_flags_ & kChunkDone);
  return asked ? EndChunk() : Violation("NBD chunk");
}

Status ReplyParser::EndChunk() {
  stage_ = Stage::kMagic;
  if (!(chunk_flags_ & kChunkDone) || sink_->OnDone(cookie_)) return Status::Ok();
  return Violation("NBD reply");
}

bool ReplyParser::TellError(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const uint32_t error = reader.Take<uint32_t>();
  return reader.ok() && error != 0 && sink_->OnError(cookie_, ErrnoOf(error));
}

bool ReplyParser::TellHole(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const uint64_t offset = reader.Take<uint64_t>();
  const uint32_t hole = reader.Take<uint32_t>();
  return reader.ok() && reader.left() == 0 && hole > 0 && sink_->OnHole(cookie_, offset, hole);
}

bool ReplyParser::TellExtents(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const bool ours = offer_.tells_allocation && reader.Take<uint32_t>() == context_id_;
  if (!ours || reader.left() == 0 || reader.left() % 8 != 0) return false;
  extents_.clear();
  while (reader.left() > 0) {
    const uint32_t length = reader.Take<uint32_t>();
    extents_.push_back({length, reader.Take<uint32_t>()});
    if (length == 0) return false;
  }
  return sink_->OnExtents(cookie_, extents_);
}

}  // namespace varve::nbd
