// Fuzzer of what an NBD server says to us: from its greeting, or right behind a whole handshake.
//
// The first byte says which, the second into which pieces the rest is cut. Oracle: no sanitizer report; nothing is told behind an error; the
// pieces make no difference to what was told.
//
//   npm run fuzz -- client
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

#include "nbd/bytes.h"
#include "nbd/reply_parser.h"

namespace varve::nbd {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// Writes down what it is told; neighbouring data as one.
class Notes final : public ReplySink {
 public:
  void OnGreeting() override { Add("greeting", 0, 0, 0); }
  void OnOffer(const ServerOffer& offer) override { Add("offer", offer.size_bytes, offer.block_bytes_min, offer.payload_bytes_max); }
  bool OnData(uint64_t cookie, uint64_t offset, std::span<const std::byte> data) override {
    Require(!ended && !data.empty());
    uint64_t sum = 0;
    for (std::byte byte : data) sum += static_cast<uint8_t>(byte);
    data_[0] = cookie;
    data_[1] = offset + data.size();
    data_[2] += sum;
    return true;
  }
  bool OnHole(uint64_t cookie, uint64_t offset, uint64_t bytes) override { return Add("hole", cookie, offset, bytes); }
  bool OnExtents(uint64_t cookie, std::span<const Extent> extents) override {
    for (const Extent& extent : extents) Add("extent", cookie, extent.length, extent.flags);
    return !extents.empty();
  }
  bool OnError(uint64_t cookie, int error) override {
    Require(error > 0);
    return Add("error", cookie, static_cast<uint64_t>(error), 0);
  }
  bool OnDone(uint64_t cookie) override { return Add("done", cookie, data_[1], data_[2]); }

  std::string text;
  bool ended = false;

 private:
  bool Add(const char* what, uint64_t a, uint64_t b, uint64_t c) {
    Require(!ended);
    text += std::string(what) + " " + std::to_string(a) + " " + std::to_string(b) + " " + std::to_string(c) + "\n";
    return true;
  }
  uint64_t data_[3] = {0, 0, 0};
};

void AppendAnswer(std::string* out, Option option, OptionReply reply, const std::string& data) {
  AppendBig<uint64_t>(out, kOptionReplyMagic);
  AppendBig<uint32_t>(out, static_cast<uint32_t>(option));
  AppendBig<uint32_t>(out, static_cast<uint32_t>(reply));
  AppendBig<uint32_t>(out, static_cast<uint32_t>(data.size()));
  out->append(data);
}

std::string Handshake() {
  std::string out;
  AppendBig<uint64_t>(&out, kGreetingMagic);
  AppendBig<uint64_t>(&out, kOptionMagic);
  AppendBig<uint16_t>(&out, kFixedNewstyle | kNoZeroes);
  AppendAnswer(&out, Option::kStructuredReply, OptionReply::kAck, "");
  std::string context;
  AppendBig<uint32_t>(&context, 7);
  AppendAnswer(&out, Option::kSetMetaContext, OptionReply::kMetaContext, context + kBaseAllocation);
  AppendAnswer(&out, Option::kSetMetaContext, OptionReply::kAck, "");
  std::string info;
  AppendBig<uint16_t>(&info, static_cast<uint16_t>(Info::kExport));
  AppendBig<uint64_t>(&info, 1 << 20);
  AppendBig<uint16_t>(&info, kHasFlags);
  AppendAnswer(&out, Option::kGo, OptionReply::kInfo, info);
  AppendAnswer(&out, Option::kGo, OptionReply::kAck, "");
  return out;
}

std::string Told(const std::string& said, size_t piece_bytes) {
  Notes notes;
  ReplyParser parser(&notes);
  Status status;
  for (size_t at = 0; at < said.size() && status.ok(); at += piece_bytes) {
    const size_t bytes = std::min(piece_bytes, said.size() - at);
    // A block of exactly that size: reading beyond it is seen.
    std::vector<std::byte> piece(bytes);
    std::memcpy(piece.data(), said.data() + at, bytes);
    status = parser.Feed(piece);
  }
  notes.ended = true;
  Require(status.ok() || status.error() > 0);
  return notes.text + std::to_string(status.error());
}

}  // namespace
}  // namespace varve::nbd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace varve::nbd;
  if (size < 2) return 0;
  std::string said = data[0] % 2 ? Handshake() : "";
  said.append(reinterpret_cast<const char*>(data + 2), size - 2);
  Require(Told(said, 1 + data[1]) == Told(said, std::max<size_t>(said.size(), 1)));
  return 0;
}
