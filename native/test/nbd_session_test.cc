// Goal: the transmission phase answers every request, well formed or not, as the protocol asks; nothing torn is applied;
//   memory stays within its budget.
// Method: a session between a scripted client and a memory target, on a loop without a clock. Replies are compared in
//   full, and most cases run with messages cut into single bytes.
#include <gtest/gtest.h>

#include <bit>
#include <optional>

#include "nbd/session.h"
#include "test/memory_target.h"
#include "test/nbd_script_transport.h"
#include "test/nbd_wire.h"

namespace varve::nbd {
namespace {

using namespace wire;

constexpr uint64_t kSizeBytes = 64 << 20;
constexpr uint16_t kAllFlags = kHasFlags | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes | kSendDontFragment |
                               kCanMultiConn | kSendCache | kSendFastZero;

// What a client of these tests may have selected, with ids 1, 2 and 3.
ChangedContexts Changes(std::vector<ChangedRun> runs) {
  const auto shared = std::make_shared<const std::vector<ChangedRun>>(std::move(runs));
  return std::make_shared<const std::vector<ChangedContext>>(
      std::vector<ChangedContext>{{"varve:changed:x", shared}, {"qemu:dirty-bitmap:x", shared}});
}

struct Host final : SessionHost {
  void SessionEnded(Session*) override { ended++; }
  void SessionParked(Session*) override { parked++; }
  void MemoryWantedBack() override { wanted_back++; }
  int ended = 0;
  int parked = 0;
  int wanted_back = 0;
};

// Shared by the sessions of a test.
struct Surroundings {
  ManualLoop loop;
  BufferPool buffers;
  MemoryBudget budget{64 << 20};
  MemoryBudget waiting_budget{64 << 20};
  std::shared_ptr<MemoryTarget> target = std::make_shared<MemoryTarget>(kSizeBytes);
};

class Client {
 public:
  Client(Surroundings& around, Framing framing, uint16_t flags = kAllFlags, size_t slice_bytes = SIZE_MAX,
         bool fenced = false, Selection contexts = {kBaseAllocationBit, nullptr})
      : framing_(framing), around_(around) {
    if (framing == Framing::kSimple) contexts = {};
    auto owned = std::make_unique<ScriptTransport>(around.loop, slice_bytes);
    transport = owned.get();
    if (framing == Framing::kExtended) flags |= kBlockStatusPayload;
    session.emplace(SessionParts{.loop = around.loop,
                                 .buffers = around.buffers,
                                 .budget = around.budget,
                                 .waiting_budget = around.waiting_budget,
                                 .host = host,
                                 .transport = std::move(owned),
                                 .target = around.target,
                                 .record = std::make_shared<ClientRecord>(),
                                 .terms = {kSizeBytes, flags, framing, std::move(contexts)}});
    session->Start({}, fenced);
  }

  void Put(const RequestFields& fields, std::string_view payload = {}) {
    transport->Put(RequestBytes(framing_, fields, payload));
  }
  // Sends a request, and returns everything that came back.
  std::string Ask(const RequestFields& fields, std::string_view payload = {}) {
    Put(fields, payload);
    around_.loop.RunAll();
    return transport->TakeOutput();
  }
  // Hangs up and waits for the end.
  void Finish() {
    transport->SetReading(true);
    transport->EndInput();
    around_.loop.RunAll();
    around_.loop.Advance(std::chrono::seconds(60));
    EXPECT_EQ(host.ended, 1);
  }

  Host host;
  ScriptTransport* transport;
  std::optional<Session> session;

 private:
  Framing framing_;
  Surroundings& around_;
};

std::string SimpleReply(uint32_t error, uint64_t cookie = 1) {
  std::string bytes;
  AppendBig(&bytes, kSimpleReplyMagic);
  AppendBig(&bytes, error);
  AppendBig(&bytes, cookie);
  return bytes;
}

std::string ChunkBytes(Framing framing, Chunk type, bool done, uint64_t request_offset, std::string_view payload) {
  std::string bytes;
  AppendBig(&bytes, framing == Framing::kExtended ? kExtendedReplyMagic : kStructuredReplyMagic);
  AppendBig(&bytes, static_cast<uint16_t>(done ? 1 : 0));
  AppendBig(&bytes, static_cast<uint16_t>(type));
  AppendBig(&bytes, uint64_t{1});
  if (framing == Framing::kExtended) {
    AppendBig(&bytes, request_offset);
    AppendBig(&bytes, uint64_t{payload.size()});
  } else {
    AppendBig(&bytes, static_cast<uint32_t>(payload.size()));
  }
  return bytes.append(payload);
}

std::string AtOffset(uint64_t offset, std::string_view rest) {
  std::string bytes;
  AppendBig(&bytes, offset);
  return bytes.append(rest);
}

std::string Hole(uint64_t offset, uint32_t length) {
  std::string bytes = AtOffset(offset, "");
  AppendBig(&bytes, length);
  return bytes;
}

// The error of a reply in any framing; 0 is success.
uint32_t ErrorOf(Framing framing, const std::string& reply) {
  ByteReader reader(std::as_bytes(std::span(reply)));
  const uint32_t magic = reader.Take<uint32_t>();
  if (magic == kSimpleReplyMagic) return reader.Take<uint32_t>();
  reader.Take<uint16_t>();
  const auto type = static_cast<Chunk>(reader.Take<uint16_t>());
  reader.TakeText(framing == Framing::kExtended ? 24 : 12);
  return type == Chunk::kError ? reader.Take<uint32_t>() : 0;
}

class EachFraming : public testing::TestWithParam<std::tuple<Framing, size_t>> {
 protected:
  Framing framing() const { return std::get<0>(GetParam()); }
  size_t slice_bytes() const { return std::get<1>(GetParam()); }
  Surroundings around;
};
INSTANTIATE_TEST_SUITE_P(Framings, EachFraming,
                         testing::Combine(testing::Values(Framing::kSimple, Framing::kStructured, Framing::kExtended),
                                          testing::Values(size_t{1}, SIZE_MAX)));

TEST_P(EachFraming, WhatWasWrittenIsRead) {
  Client client(around, framing(), kAllFlags, slice_bytes());
  const std::string data(5000, 'v');
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kWrite, 0, 1, 1000, data.size()}, data)), 0u);
  const std::string reply = client.Ask({Command::kRead, 0, 1, 1000, data.size()});
  const std::string expected =
      framing() == Framing::kSimple
          ? SimpleReply(0) + data
          : ChunkBytes(framing(), Chunk::kOffsetData, true, 1000, AtOffset(1000, data));
  EXPECT_EQ(reply, expected);
  client.Finish();
}

TEST_P(EachFraming, LargeWritesGoStraightToTheirPlace) {
  Client client(around, framing(), kAllFlags, slice_bytes() == 1 ? 7777 : SIZE_MAX);
  std::string data;
  for (uint32_t i = 0; data.size() < (3u << 20) + 17; i++) AppendBig(&data, i);
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kWrite, 0, 1, 1, data.size()}, data)), 0u);
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kWrite, 0, 1, 8 << 20, data.size()}, data)), 0u);
  for (const uint64_t offset : {uint64_t{1}, uint64_t{8 << 20}}) {
    const std::string reply = client.Ask({Command::kRead, 0, 1, offset, data.size()});
    EXPECT_EQ(reply.substr(reply.size() - data.size()), data);
  }
  client.Finish();
}

// The table of the protocol digest, sections 8, 11 and 13: an error each, and the stream stays in sync.
TEST_P(EachFraming, RefusesWithTheRightErrorAndStaysInSync) {
  const bool extended = framing() == Framing::kExtended;
  const bool structured = framing() != Framing::kSimple;
  const uint64_t beyond = kSizeBytes - 4095;
  const std::string page(4096, 'x');
  const struct {
    const char* what;
    RequestFields fields;
    std::string_view payload;
    uint32_t error;
  } cases[] = {
      {"unknown command", {Command{42}}, "", 22},
      {"resize", {Command{8}}, "", 22},
      {"unknown flag", {Command::kRead, 1 << 9, 1, 0, 1}, "", 22},
      {"NO_HOLE on a read", {Command::kRead, kFlagNoHole, 1, 0, 1}, "", 22},
      {"NO_HOLE on a write", {Command::kWrite, kFlagNoHole, 1, 0, 4096}, page, 22},
      {"DF on a write", {Command::kWrite, kFlagDontFragment, 1, 0, 4096}, page, 22},
      {"FAST_ZERO on a trim", {Command::kTrim, kFlagFastZero, 1, 0, 4096}, "", 22},
      {"unknown flag on cache", {Command::kCache, 1 << 8, 1, 0, 4096}, "", 22},
      {"read beyond the end", {Command::kRead, 0, 1, beyond, 4096}, "", 22},
      {"read that wraps", {Command::kRead, 0, 1, UINT64_MAX, 4096}, "", 22},
      {"read of more than the maximum", {Command::kRead, 0, 1, 0, (32 << 20) + 1}, "", 75},
      {"write beyond the end", {Command::kWrite, 0, 1, beyond, 4096}, page, 28},
      {"zero beyond the end", {Command::kWriteZeroes, 0, 1, beyond, 4096}, "", 28},
      {"trim beyond the end", {Command::kTrim, 0, 1, beyond, 4096}, "", 22},
      {"cache beyond the end", {Command::kCache, 0, 1, beyond, 4096}, "", 22},
      {"fast zero that keeps its space", {Command::kWriteZeroes, kFlagFastZero | kFlagNoHole, 1, 0, 4096}, "", 95},
      {"status of nothing", {Command::kBlockStatus, 0, 1, 0, 0}, "", 22},
      {"status beyond the end", {Command::kBlockStatus, 0, 1, beyond, 4096}, "", 22},
      {"zero-length read", {Command::kRead, 0, 1, 0, 0}, "", 0},
      {"zero-length read at the end", {Command::kRead, 0, 1, kSizeBytes, 0}, "", 0},
      {"zero-length write", {Command::kWrite, 0, 1, 0, 0}, "", 0},
      {"zero-length trim", {Command::kTrim, kFlagFua, 1, 0, 0}, "", 0},
      {"flush with a range", {Command::kFlush, 0, 1, 12345, 678}, "", 0},
      {"FUA on everything", {Command::kRead, kFlagFua, 1, 0, 0}, "", 0},
      {"fast zero", {Command::kWriteZeroes, kFlagFastZero, 1, 0, 8192}, "", 0},
      {"DF", {Command::kRead, kFlagDontFragment, 1, 0, 4096}, "", 0},
      {"cache", {Command::kCache, 0, 1, 0, kSizeBytes}, "", 0},
      {"payload on a flush", {Command::kFlush, kFlagPayloadLength, 1, 0, extended ? 4096u : 0u},
       extended ? std::string_view(page) : "", 22},
      {"payload length on a compact write", {Command::kWrite, kFlagPayloadLength, 1, 0, 4096}, page,
       extended ? 0u : 22u},
  };
  for (const auto& c : cases) {
    // DF and status exist with chunks only.
    if (!structured && c.fields.command == Command::kBlockStatus) continue;
    const uint16_t flags = structured ? kAllFlags : kAllFlags & ~kSendDontFragment;
    if (!structured && c.fields.flags == kFlagDontFragment) continue;
    Client client(around, framing(), flags, slice_bytes());
    const std::string reply = client.Ask(c.fields, c.payload);
    EXPECT_EQ(ErrorOf(framing(), reply), c.error) << c.what;
    EXPECT_FALSE(reply.empty()) << c.what;
    EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kFlush})), 0u) << "after " << c.what;
    client.Finish();
  }
}

TEST_P(EachFraming, ReadOnlyRefusesWhatWrites) {
  Client client(around, framing(), kHasFlags | kReadOnly | kSendFlush | kSendFua, slice_bytes());
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kWrite, 0, 1, 0, 3}, "abc")), 1u);
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kTrim, 0, 1, 0, 4096})), 1u);
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kWriteZeroes, kFlagNoHole, 1, 0, 4096})), 1u);
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kWriteZeroes, kFlagFastZero, 1, 0, 4096})), 22u);
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kRead, 0, 1, 0, 1})), 0u);
  client.Finish();
}

TEST_P(EachFraming, OverlongWriteIsDrainedAndRefused) {
  // 40 MiB byte by byte would take minutes.
  Client client(around, framing(), kAllFlags, slice_bytes() == 1 ? 1 << 20 : SIZE_MAX);
  const std::string payload(40u << 20, 'x');
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kWrite, 0, 1, 0, payload.size()}, payload)), 22u);
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kFlush})), 0u);
  client.Finish();
}

TEST_P(EachFraming, HostileWriteEndsTheConnection) {
  Client client(around, framing(), kAllFlags, slice_bytes());
  EXPECT_EQ(client.Ask({Command::kWrite, 0, 1, 0, (64u << 20) + 1}), "");
  EXPECT_EQ(client.host.ended, 1);
}

TEST_P(EachFraming, WrongMagicEndsTheConnectionWithoutExecuting) {
  Client client(around, framing(), kAllFlags, slice_bytes());
  std::string request = RequestBytes(framing(), {Command::kWriteZeroes, 0, 1, 0, 4096});
  request[0] ^= 1;
  client.transport->Put(request);
  around.loop.RunAll();
  EXPECT_EQ(client.host.ended, 1);
  EXPECT_STREQ(client.session->end_reason(), "bad request magic");
}

TEST_P(EachFraming, TornWriteIsNotAppliedAndWhatCameBeforeIsAnswered) {
  Client client(around, framing(), kAllFlags, slice_bytes());
  client.Put({Command::kFlush});
  const std::string torn = RequestBytes(framing(), {Command::kWrite, 0, 1, 0, 4096}, std::string(4096, 'x'));
  client.transport->Put(torn.substr(0, torn.size() - 1));
  client.transport->EndInput();
  around.loop.RunAll();
  EXPECT_EQ(client.host.ended, 1);
  EXPECT_EQ(ErrorOf(framing(), client.transport->TakeOutput()), 0u);
  Client reader(around, Framing::kSimple);
  EXPECT_EQ(reader.Ask({Command::kRead, 0, 1, 0, 4096}), SimpleReply(0) + std::string(4096, '\0'));
  reader.Finish();
}

TEST_P(EachFraming, DisconnectAnswersWhatIsInFlight) {
  Client client(around, framing(), kAllFlags, slice_bytes());
  for (int i = 0; i < 20; i++) client.Put({Command::kWrite, 0, 1, 0, 512}, std::string(512, 'x'));
  const std::string one = client.Ask({Command::kDisconnect, 0xffff, 1, 99, 0});
  EXPECT_EQ(client.host.ended, 1);
  EXPECT_EQ(one.size(), 20 * (framing() == Framing::kExtended ? 32u : 16u));
}

TEST_P(EachFraming, PlannedStopAnswersWithoutError) {
  Client client(around, framing(), kAllFlags, slice_bytes());
  client.Put({Command::kFlush});
  around.loop.RunAll();
  client.Put({Command::kFlush});
  client.session->Drain("stop");
  around.loop.RunAll();
  EXPECT_EQ(client.host.ended, 1);
  EXPECT_EQ(ErrorOf(framing(), client.transport->TakeOutput()), 0u);
}

class Chunked : public testing::TestWithParam<Framing> {
 protected:
  // 64 KiB: hole, data at 16 KiB for 8 KiB, hole.
  void WriteIsland() { EXPECT_EQ(ErrorOf(GetParam(), client.Ask({Command::kWrite, 0, 1, 16384, 8192}, island)), 0u); }
  Surroundings around;
  Client client{around, GetParam()};
  std::string island = std::string(8192, 'i');
};
INSTANTIATE_TEST_SUITE_P(Framings, Chunked, testing::Values(Framing::kStructured, Framing::kExtended));

TEST_P(Chunked, SparseReadCarriesHoles) {
  WriteIsland();
  const Framing f = GetParam();
  EXPECT_EQ(client.Ask({Command::kRead, 0, 1, 0, 65536}),
            ChunkBytes(f, Chunk::kOffsetHole, false, 0, Hole(0, 16384)) +
                ChunkBytes(f, Chunk::kOffsetData, false, 0, AtOffset(16384, island)) +
                ChunkBytes(f, Chunk::kOffsetHole, true, 0, Hole(24576, 40960)));
  client.Finish();
}

TEST_P(Chunked, DontFragmentGetsOneChunkOfData) {
  WriteIsland();
  const std::string all = std::string(16384, '\0') + island + std::string(40960, '\0');
  EXPECT_EQ(client.Ask({Command::kRead, kFlagDontFragment, 1, 0, 65536}),
            ChunkBytes(GetParam(), Chunk::kOffsetData, true, 0, AtOffset(0, all)));
  client.Finish();
}

TEST_P(Chunked, ShortHolesAreSentAsZeroes) {
  WriteIsland();
  const std::string expected = std::string(100, '\0') + island + std::string(100, '\0');
  EXPECT_EQ(client.Ask({Command::kRead, 0, 1, 16284, expected.size()}),
            ChunkBytes(GetParam(), Chunk::kOffsetData, true, 16284, AtOffset(16284, expected)));
  client.Finish();
}

std::string StatusPayload(Framing framing, std::initializer_list<Extent> extents, uint32_t id = kBaseAllocationId) {
  std::string bytes;
  AppendBig(&bytes, id);
  const bool extended = framing == Framing::kExtended;
  if (extended) AppendBig(&bytes, static_cast<uint32_t>(extents.size()));
  for (const Extent& extent : extents) {
    extended ? AppendBig(&bytes, extent.length) : AppendBig(&bytes, static_cast<uint32_t>(extent.length));
    extended ? AppendBig(&bytes, uint64_t{extent.flags}) : AppendBig(&bytes, extent.flags);
  }
  return bytes;
}

TEST_P(Chunked, BlockStatusTellsHolesZeroesAndData) {
  WriteIsland();
  EXPECT_EQ(ErrorOf(GetParam(), client.Ask({Command::kWriteZeroes, kFlagNoHole, 1, 0, 4096})), 0u);
  const Chunk type = GetParam() == Framing::kExtended ? Chunk::kBlockStatusExtended : Chunk::kBlockStatus;
  EXPECT_EQ(client.Ask({Command::kBlockStatus, 0, 1, 0, 65536}),
            ChunkBytes(GetParam(), type, true, 0,
                       StatusPayload(GetParam(), {{4096, 2}, {12288, 3}, {8192, 0}, {40960, 3}})));
  EXPECT_EQ(client.Ask({Command::kBlockStatus, kFlagReqOne, 1, 8192, 65536}),
            ChunkBytes(GetParam(), type, true, 8192, StatusPayload(GetParam(), {{8192, 3}})));
  client.Finish();
}

TEST_P(Chunked, StatusWithoutContextIsInvalid) {
  Client bare(around, GetParam());
  bare.Finish();
  Surroundings other;
  Client simple(other, Framing::kSimple);
  EXPECT_EQ(ErrorOf(Framing::kSimple, simple.Ask({Command::kBlockStatus, 0, 1, 0, 4096})), 22u);
  simple.Finish();
  client.Finish();
}

// 4 KiB changed at 8 KiB, 1 MiB at 1 MiB, and a run that ends with the export.
const std::vector<ChangedRun> kRuns{{8192, 4096}, {1 << 20, 1 << 20}, {kSizeBytes - 512, 512}};

class ChangedStatus : public testing::TestWithParam<std::tuple<Framing, size_t>> {
 protected:
  Framing framing() const { return std::get<0>(GetParam()); }
  Client Select(ContextBits bits, std::vector<ChangedRun> runs = kRuns) {
    return Client(around, framing(), kAllFlags, std::get<1>(GetParam()), false, {bits, Changes(std::move(runs))});
  }
  std::string Status(uint32_t id, bool done, uint64_t offset, std::initializer_list<Extent> extents) {
    const Chunk type = framing() == Framing::kExtended ? Chunk::kBlockStatusExtended : Chunk::kBlockStatus;
    return ChunkBytes(framing(), type, done, offset, StatusPayload(framing(), extents, id));
  }
  Surroundings around;
};
INSTANTIATE_TEST_SUITE_P(Framings, ChangedStatus,
                         testing::Combine(testing::Values(Framing::kStructured, Framing::kExtended),
                                          testing::Values(size_t{1}, SIZE_MAX)));

TEST_P(ChangedStatus, TellsRunsAndWhatLiesBetween) {
  Client client = Select(ContextBit(2));
  EXPECT_EQ(client.Ask({Command::kBlockStatus, 0, 1, 0, kSizeBytes}),
            Status(2, true, 0,
                   {{8192, 0}, {4096, 1}, {(1 << 20) - 12288, 0}, {1 << 20, 1}, {kSizeBytes - (2 << 20) - 512, 0},
                    {512, 1}}));
  client.Finish();
}

TEST_P(ChangedStatus, BeginsAndEndsAnywhereInARun) {
  Client client = Select(ContextBit(3));
  const auto ask = [&](uint64_t offset, uint64_t length) {
    return client.Ask({Command::kBlockStatus, 0, 1, offset, length});
  };
  EXPECT_EQ(ask(8192, 4096), Status(3, true, 8192, {{4096, 1}}));
  EXPECT_EQ(ask(8191, 4098), Status(3, true, 8191, {{1, 0}, {4096, 1}, {1, 0}}));
  EXPECT_EQ(ask(12287, 1), Status(3, true, 12287, {{1, 1}}));
  EXPECT_EQ(ask(12288, 1), Status(3, true, 12288, {{1, 0}}));
  EXPECT_EQ(ask((1 << 20) + 5, 10), Status(3, true, (1 << 20) + 5, {{10, 1}}));
  EXPECT_EQ(ask(kSizeBytes - 1, 1), Status(3, true, kSizeBytes - 1, {{1, 1}}));
  client.Finish();
}

TEST_P(ChangedStatus, NothingChangedIsOneExtent) {
  Client client = Select(ContextBit(2), {});
  EXPECT_EQ(client.Ask({Command::kBlockStatus, 0, 1, 0, kSizeBytes}), Status(2, true, 0, {{kSizeBytes, 0}}));
  client.Finish();
}

TEST_P(ChangedStatus, EachSelectedContextGetsOneChunkAndTheLastIsDone) {
  Client client = Select(7);
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kWrite, 0, 1, 0, 4096}, std::string(4096, 'x'))), 0u);
  EXPECT_EQ(client.Ask({Command::kBlockStatus, 0, 1, 0, 16384}),
            Status(1, false, 0, {{4096, 0}, {12288, 3}}) + Status(2, false, 0, {{8192, 0}, {4096, 1}, {4096, 0}}) +
                Status(3, true, 0, {{8192, 0}, {4096, 1}, {4096, 0}}));
  client.Finish();
}

TEST_P(ChangedStatus, ReqOneGetsOneExtentOfEach) {
  Client client = Select(3);
  EXPECT_EQ(client.Ask({Command::kBlockStatus, kFlagReqOne, 1, 0, 16384}),
            Status(1, false, 0, {{16384, 3}}) + Status(2, true, 0, {{8192, 0}}));
  client.Finish();
}

TEST_P(ChangedStatus, RangeIsCheckedAsForAllocation) {
  Client client = Select(ContextBit(2));
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kBlockStatus, 0, 1, kSizeBytes - 511, 512})), 22u);
  EXPECT_EQ(ErrorOf(framing(), client.Ask({Command::kBlockStatus, 0, 1, 0, 0})), 22u);
  client.Finish();
}

// Every second KiB: more than one reply may carry; a client that asks on sees all of it.
TEST(ChangedStatusLimits, ManyRunsComeInSharesThatCoverAll) {
  std::vector<ChangedRun> runs;
  for (uint64_t at = 1024; at < kSizeBytes; at += 2048) runs.push_back({at, 1024});
  for (const ContextBits bits : {ContextBits{2}, ContextBits{6}}) {
    Surroundings around;
    Client client(around, Framing::kExtended, kAllFlags, SIZE_MAX, false, {bits, Changes(runs)});
    const uint64_t share = Session::kStatusExtentsMax / std::popcount(bits);
    uint64_t requests = 0;
    for (uint64_t at = 0; at < kSizeBytes; requests++) {
      const std::string reply = client.Ask({Command::kBlockStatus, 0, 1, at, kSizeBytes - at});
      ByteReader reader(std::as_bytes(std::span(reply)));
      reader.TakeText(32);
      EXPECT_EQ(reader.Take<uint32_t>(), 2u);
      const uint32_t count = reader.Take<uint32_t>();
      ASSERT_EQ(count, share);
      for (uint32_t i = 0; i < count; i++, at += 1024) {
        EXPECT_EQ(reader.Take<uint64_t>(), 1024u);
        EXPECT_EQ(reader.Take<uint64_t>(), at / 1024 % 2);
      }
      EXPECT_EQ(reader.left() > 0, std::popcount(bits) > 1);
    }
    EXPECT_EQ(requests, kSizeBytes / 1024 / share);
    client.Finish();
    EXPECT_TRUE(around.budget.TryTake(64 << 20)) << "everything was given back";
  }
}

class Extended : public testing::Test {
 protected:
  std::string Filter(uint64_t length, std::initializer_list<uint32_t> ids) {
    std::string bytes;
    AppendBig(&bytes, length);
    for (const uint32_t id : ids) AppendBig(&bytes, id);
    return bytes;
  }
  std::string AskFiltered(uint64_t offset, const std::string& filter) {
    return client.Ask({Command::kBlockStatus, kFlagPayloadLength, 1, offset, filter.size()}, filter);
  }
  Surroundings around;
  Client client{around, Framing::kExtended};
};

TEST_F(Extended, FilteredStatusTakesItsLengthFromThePayload) {
  EXPECT_EQ(AskFiltered(4096, Filter(8192, {1})),
            ChunkBytes(Framing::kExtended, Chunk::kBlockStatusExtended, true, 4096,
                       StatusPayload(Framing::kExtended, {{8192, 3}})));
  client.Finish();
}

TEST_F(Extended, MalformedFiltersAreConsumedAndRefused) {
  const std::string cases[] = {Filter(8192, {}),     Filter(8192, {2}),           Filter(8192, {1, 1}),
                               Filter(8192, {1}) + "x", std::string(5000, 'x'),    Filter(kSizeBytes + 1, {1}),
                               Filter(0, {1}),       std::string("short")};
  for (const std::string& filter : cases) {
    EXPECT_EQ(ErrorOf(Framing::kExtended, AskFiltered(0, filter)), 22u) << filter.size();
    EXPECT_EQ(ErrorOf(Framing::kExtended, client.Ask({Command::kFlush})), 0u);
  }
  client.Finish();
}

TEST_F(Extended, FilterChoosesAmongTheSelectedContexts) {
  Client two(around, Framing::kExtended, kAllFlags, 1, false, {3, Changes(kRuns)});
  const auto ask = [&](const std::string& filter) {
    return two.Ask({Command::kBlockStatus, kFlagPayloadLength, 1, 4096, filter.size()}, filter);
  };
  const auto status = [](uint32_t id, bool done, std::initializer_list<Extent> extents) {
    return ChunkBytes(Framing::kExtended, Chunk::kBlockStatusExtended, done, 4096,
                      StatusPayload(Framing::kExtended, extents, id));
  };
  EXPECT_EQ(ask(Filter(8192, {2})), status(2, true, {{4096, 0}, {4096, 1}}));
  EXPECT_EQ(ask(Filter(8192, {1})), status(1, true, {{8192, 3}}));
  EXPECT_EQ(ask(Filter(8192, {2, 1})), status(1, false, {{8192, 3}}) + status(2, true, {{4096, 0}, {4096, 1}}));
  // Offered but not selected, twice, no id, ids that are no bits, more than there can be.
  for (const std::string& filter : {Filter(8192, {3}), Filter(8192, {2, 2}), Filter(8192, {0}), Filter(8192, {33, 1}),
                                    Filter(8192, {UINT32_MAX}), Filter(8192, {1}) + std::string(32 * 4, '\0')}) {
    EXPECT_EQ(ErrorOf(Framing::kExtended, ask(filter)), 22u) << filter.size();
    EXPECT_EQ(ErrorOf(Framing::kExtended, two.Ask({Command::kFlush})), 0u);
  }
  two.Finish();
  client.Finish();
}

// Extents are not cut to 32 bits where they need not be.
TEST(DescribeChangesTest, LongRunsStayWhole) {
  const std::vector<ChangedRun> runs{{uint64_t{1} << 33, uint64_t{1} << 34}};
  const auto extents = DescribeChanges(runs, 5, uint64_t{1} << 40, 8);
  ASSERT_EQ(extents.size(), 3u);
  EXPECT_EQ(extents[0].length, (uint64_t{1} << 33) - 5);
  EXPECT_EQ(extents[1].length, uint64_t{1} << 34);
  EXPECT_EQ(extents[1].flags, kExtentChanged);
  EXPECT_EQ(extents[2].length, (uint64_t{1} << 40) + 5 - (uint64_t{3} << 33));
}

TEST_F(Extended, WriteCarriesItsPayloadWithAndWithoutTheFlag) {
  EXPECT_EQ(ErrorOf(Framing::kExtended, client.Ask({Command::kWrite, 0, 1, 0, 3}, "abc")), 0u);
  EXPECT_EQ(ErrorOf(Framing::kExtended, client.Ask({Command::kWrite, kFlagPayloadLength, 1, 3, 3}, "def")), 0u);
  const std::string reply = client.Ask({Command::kRead, 0, 1, 0, 6});
  EXPECT_EQ(reply, ChunkBytes(Framing::kExtended, Chunk::kOffsetData, true, 0, AtOffset(0, "abcdef")));
  client.Finish();
}

TEST_F(Extended, LongRangesTakeOneRequest) {
  EXPECT_EQ(ErrorOf(Framing::kExtended, client.Ask({Command::kWriteZeroes, 0, 1, 0, kSizeBytes})), 0u);
  EXPECT_EQ(ErrorOf(Framing::kExtended, client.Ask({Command::kRead, 0, 1, 0, uint64_t{1} << 40})), 22u);
  client.Finish();
}

TEST(SessionLimits, StopsReceivingWhileTheClientDoesNotRead) {
  Surroundings around;
  Client client(around, Framing::kSimple);
  client.transport->SetReading(false);
  for (int i = 0; i < 1000; i++) client.Put({Command::kRead, 0, 1, 0, 4096});
  around.loop.RunAll();
  EXPECT_EQ(client.session->record().in_flight.get(), Session::kInFlightMax);
  EXPECT_FALSE(client.transport->receiving());
  client.transport->SetReading(true);
  around.loop.RunAll();
  EXPECT_EQ(client.transport->TakeOutput().size(), 1000u * (16 + 4096));
  client.Finish();
}

// How many bytes of reads the target was given whose replies were not sent yet, at most.
class UnsentReads final : public BlockTarget {
 public:
  explicit UnsentReads(std::shared_ptr<BlockTarget> below) : below_(std::move(below)) {}
  void Submit(BlockRequest* request) override {
    submitted_ += request->length;
    most = std::max(most, submitted_ - std::min(submitted_, client->transport->sent_bytes()));
    below_->Submit(request);
  }
  uint64_t size_bytes() const override { return below_->size_bytes(); }
  uint32_t preferred_block_bytes() const override { return below_->preferred_block_bytes(); }

  Client* client = nullptr;
  uint64_t most = 0;

 private:
  const std::shared_ptr<BlockTarget> below_;
  uint64_t submitted_ = 0;
};

TEST(SessionLimits, LargeReadsThatCameTogetherAreAnsweredAFewAtATime) {
  Surroundings around;
  const auto unsent = std::make_shared<UnsentReads>(around.target);
  Client client(around, Framing::kSimple);
  unsent->client = &client;
  client.session->Resume(unsent);
  const unsigned requests = 64;
  std::string together;
  for (unsigned i = 0; i < requests; i++) {
    together += RequestBytes(Framing::kSimple, {.command = Command::kRead, .offset = i * 65536u, .length = 65536});
  }
  client.transport->Put(together);
  client.transport->EndInput();
  around.loop.RunAll();
  EXPECT_EQ(client.transport->TakeOutput().size(), requests * (16 + 65536u)) << "all are answered";
  // Those of one turn, and those begun before their replies left.
  EXPECT_LE(unsent->most, 2 * Session::kTurnBytesMax);
  EXPECT_EQ(client.host.ended, 1);
}

TEST(SessionLimits, AStopBetweenTwoTurnsAnswersWhatWasBegun) {
  for (const bool aborts : {false, true}) {
    Surroundings around;
    Client client(around, Framing::kSimple);
    const unsigned begun = Session::kTurnBytesMax / 65536;
    std::string together;
    for (unsigned i = 0; i < 4 * begun; i++) {
      together += RequestBytes(Framing::kSimple, {.command = Command::kRead, .offset = i * 65536u, .length = 65536});
    }
    client.transport->Put(together);
    around.loop.Post([&] { aborts ? client.session->Abort("test") : client.session->Drain("test"); });
    around.loop.RunAll();
    EXPECT_EQ(client.transport->TakeOutput().size(), aborts ? 0 : begun * (16 + 65536u));
    EXPECT_EQ(client.host.ended, 1);
    client.session.reset();
    EXPECT_EQ(around.loop.armed_timers(), 0u);
  }
}

TEST(SessionLimits, AnnouncingALargeWriteTakesOneStepOfTheBudget) {
  Surroundings around;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 200; i++) {
    clients.push_back(std::make_unique<Client>(around, Framing::kSimple));
    clients.back()->Put({Command::kWrite, 0, 1, 0, 32 << 20}, "x");
  }
  around.loop.RunAll();
  EXPECT_TRUE(around.budget.TryTake(8 << 20)) << "200 steps of 256 KiB leave 14 MiB of 64";
  around.budget.Give(8 << 20);
  for (auto& client : clients) client->Finish();
}

// Memory comes free, and before who waits for it is told, a reply has left: the request is begun with what it waited for, and once.
TEST(SessionLimits, MemoryThatIsOnItsWayIsNotTakenTwice) {
  Surroundings around;
  Client client(around, Framing::kSimple);
  ASSERT_TRUE(around.budget.TryTake(64 << 20));
  client.transport->SetReading(false);
  for (int i = 0; i < 2; i++) client.Put({Command::kRead, 0, 1, 0, 65536});  // as the overdraft; waits
  around.loop.RunAll();
  client.transport->SetReading(true);
  around.budget.Give(64 << 20);
  around.loop.RunAll();
  EXPECT_EQ(client.transport->TakeOutput().size(), 2 * (16 + 65536u));
  // It needs no memory, and leaves none behind either.
  EXPECT_EQ(client.Ask({Command::kFlush, 0, 1, 0, 0}), SimpleReply(0));
  client.Finish();
  EXPECT_TRUE(around.budget.TryTake(64 << 20)) << "everything was given back";
}

// More clients in the middle of a payload than there is memory for: they end one after the other.
TEST(SessionLimits, NoDeadlockWhenPayloadsExceedTheBudget) {
  Surroundings around;
  MemoryBudget small(1 << 20);
  const std::string payload(2 << 20, 'x');
  struct Narrow {
    Host host;
    ScriptTransport* transport;
    std::unique_ptr<Session> session;
  };
  std::vector<Narrow> clients(5);
  for (Narrow& client : clients) {
    auto owned = std::make_unique<ScriptTransport>(around.loop);
    client.transport = owned.get();
    client.session = std::make_unique<Session>(SessionParts{around.loop, around.buffers, small, around.waiting_budget, client.host,
                                                            std::move(owned), around.target,
                                                            std::make_shared<ClientRecord>(),
                                                            {kSizeBytes, kAllFlags, Framing::kSimple, {}}});
    client.session->Start({}, false);
  }
  const RequestFields fields{Command::kWrite, 0, 1, 0, payload.size()};
  // Interleaved, so that all hold something before any is whole.
  const std::string bytes = RequestBytes(Framing::kSimple, fields, payload);
  for (size_t at = 0; at < bytes.size(); at += 100'000) {
    for (Narrow& client : clients) client.transport->Put(bytes.substr(at, 100'000));
    around.loop.RunAll();
  }
  for (Narrow& client : clients) {
    EXPECT_EQ(client.transport->TakeOutput(), SimpleReply(0));
    client.transport->EndInput();
  }
  around.loop.RunAll();
  for (Narrow& client : clients) EXPECT_EQ(client.host.ended, 1);
  EXPECT_TRUE(small.TryTake(1 << 20)) << "everything was given back";
}

TEST(SessionFence, HoldsWritesUntilOpenedAndServesReads) {
  Surroundings around;
  Client client(around, Framing::kSimple, kAllFlags, SIZE_MAX, true);
  EXPECT_EQ(client.Ask({Command::kWrite, 0, 7, 0, 1}, "x"), "");
  EXPECT_EQ(client.Ask({Command::kRead, 0, 8, 0, 1}), SimpleReply(0, 8) + std::string(1, '\0'));
  client.session->OpenFence();
  around.loop.RunAll();
  EXPECT_EQ(client.transport->TakeOutput(), SimpleReply(0, 7));
  client.Finish();
}

TEST(SessionFence, WaitsForWritesInFlightOfALiveClient) {
  Surroundings around;
  around.target->DelayWrites(std::chrono::milliseconds(50));
  Client older(around, Framing::kSimple);
  older.Put({Command::kWrite, 0, 1, 0, 1}, "x");
  around.loop.RunAll();
  bool open = false;
  older.session->JoinFence(std::make_shared<Fence>([&] { open = true; }));
  EXPECT_FALSE(open);
  older.Put({Command::kWrite, 0, 1, 0, 1}, "y");  // later than the fence: not waited for
  around.loop.Advance(std::chrono::milliseconds(50));
  EXPECT_TRUE(open);
  older.Finish();
}

TEST(SessionFence, WaitsForTheEndOfAClientThatHungUp) {
  Surroundings around;
  around.target->DelayWrites(std::chrono::milliseconds(50));
  bool open = false;
  {
    Client older(around, Framing::kSimple);
    older.Put({Command::kWrite, 0, 1, 0, 1}, "x");
    older.transport->EndInput();
    older.session->JoinFence(std::make_shared<Fence>([&] { open = true; }));
    around.loop.RunAll();
    EXPECT_FALSE(open);
    around.loop.Advance(std::chrono::milliseconds(50));
    EXPECT_EQ(older.host.ended, 1);
    EXPECT_FALSE(open);
  }
  EXPECT_TRUE(open);
}

TEST(SessionFence, EndedSessionKeepsTheHoldAndArmsNothing) {
  Surroundings around;
  bool open = false;
  {
    Client older(around, Framing::kSimple);
    older.transport->EndInput();
    around.loop.RunAll();
    EXPECT_EQ(older.host.ended, 1);
    older.session->JoinFence(std::make_shared<Fence>([&] { open = true; }));
    EXPECT_FALSE(open);
  }
  EXPECT_TRUE(open);
  EXPECT_EQ(around.loop.armed_timers(), 0u) << "a timer would outlive its session";
}

TEST(SessionFence, WritesHeldByAClosedFenceAreNotAppliedAfterTheConnectionBroke) {
  Surroundings around;
  Client client(around, Framing::kSimple, kAllFlags, SIZE_MAX, true);
  EXPECT_EQ(client.Ask({Command::kWrite, 0, 7, 0, 1}, "x"), "");
  client.session->Abort("broken");
  around.loop.RunAll();
  EXPECT_EQ(client.host.ended, 1);
  Client reader(around, Framing::kSimple);
  EXPECT_EQ(reader.Ask({Command::kRead, 0, 1, 0, 1}), SimpleReply(0) + std::string(1, '\0'));
  reader.Finish();
}

TEST(SessionPause, TellsWhenTheTargetHasNothingAndGoesOnWithAnother) {
  Surroundings around;
  around.target->DelayWrites(std::chrono::milliseconds(50));
  Client client(around, Framing::kSimple);
  client.Put({Command::kWrite, 0, 1, 0, 1}, "x");
  around.loop.RunAll();
  bool quiet = false;
  client.session->Pause(std::make_shared<Fence>([&] { quiet = true; }));
  EXPECT_FALSE(quiet);
  EXPECT_EQ(client.Ask({Command::kRead, 0, 2, 0, 1}), "") << "waits";
  client.Put({Command::kWrite, 0, 3, 1, 1}, "y");
  around.loop.Advance(std::chrono::milliseconds(50));
  EXPECT_TRUE(quiet);
  EXPECT_EQ(client.transport->TakeOutput(), SimpleReply(0, 1));

  const auto old = std::exchange(around.target, std::make_shared<MemoryTarget>(kSizeBytes));
  client.session->Resume(around.target);
  around.loop.RunAll();
  EXPECT_EQ(client.transport->TakeOutput(), SimpleReply(0, 2) + std::string(1, '\0') + SimpleReply(0, 3));
  EXPECT_EQ(client.Ask({Command::kRead, 0, 4, 0, 2}), SimpleReply(0, 4) + std::string("\0y", 2));
  client.Finish();
  around.target = old;
  Client reader(around, Framing::kSimple);
  EXPECT_EQ(reader.Ask({Command::kRead, 0, 5, 0, 2}), SimpleReply(0, 5) + std::string("x\0", 2));
  reader.Finish();
}

TEST(SessionPause, AnIdleSessionIsQuietAtOnce) {
  Surroundings around;
  Client client(around, Framing::kSimple);
  bool quiet = false;
  client.session->Pause(std::make_shared<Fence>([&] { quiet = true; }));
  EXPECT_TRUE(quiet);
  client.session->Resume(around.target);
  client.Finish();
}

TEST(SessionPause, WhatWaitsIsNotAppliedAfterTheConnectionBrokeAndLetsFencesGo) {
  Surroundings around;
  bool open = false;
  {
    Client client(around, Framing::kSimple);
    client.session->Pause(nullptr);
    EXPECT_EQ(client.Ask({Command::kWrite, 0, 7, 0, 1}, "x"), "");
    client.session->JoinFence(std::make_shared<Fence>([&] { open = true; }));
    EXPECT_FALSE(open);
    client.session->Abort("broken");
    around.loop.RunAll();
    EXPECT_TRUE(open);
    EXPECT_EQ(client.host.ended, 1);
  }
  Client reader(around, Framing::kSimple);
  EXPECT_EQ(reader.Ask({Command::kRead, 0, 1, 0, 1}), SimpleReply(0) + std::string(1, '\0'));
  reader.Finish();
}

// Holds every write, as a full pool does, and serves the rest.
class FullTarget final : public BlockTarget {
 public:
  void Submit(BlockRequest* request) override {
    if (request->op != BlockOp::kWrite) return memory_.Submit(request);
    if (!request->holder->LetWait()) return request->loop->Complete(request->done, Status(ENOSPC, "full"));
    held_.push_back(request);
    RecallHeld();
  }
  void RecallHeld() override {
    std::erase_if(held_, [](BlockRequest* request) {
      if (!request->holder->recalls()) return false;
      request->loop->Complete(request->done, Status(ERESTART, "recalled"));
      return true;
    });
  }
  void MakeSpace() {
    for (BlockRequest* request : std::exchange(held_, {})) memory_.Submit(request);
  }
  uint64_t size_bytes() const override { return memory_.size_bytes(); }
  uint32_t preferred_block_bytes() const override { return memory_.preferred_block_bytes(); }
  size_t held() const { return held_.size(); }

 private:
  MemoryTarget memory_{kSizeBytes};
  std::vector<BlockRequest*> held_;
};

class SessionOnAFullPool : public testing::Test {
 protected:
  SessionOnAFullPool() {
    client.session->Resume(full);
    client.Put({Command::kWrite, 0, 1, 0, 1}, "x");
    client.Put({Command::kWrite, 0, 2, 1, 1}, "y");
    around.loop.RunAll();
    EXPECT_EQ(full->held(), 2u);
  }
  Surroundings around;
  std::shared_ptr<FullTarget> full = std::make_shared<FullTarget>();
  Client client{around, Framing::kSimple};
};

TEST_F(SessionOnAFullPool, WritesWaitAndEverythingElseIsAnswered) {
  EXPECT_EQ(client.Ask({Command::kRead, 0, 3, 0, 1}), SimpleReply(0, 3) + std::string(1, '\0'));
  EXPECT_EQ(client.Ask({Command::kFlush, 0, 4}), SimpleReply(0, 4));
  full->MakeSpace();
  around.loop.RunAll();
  EXPECT_EQ(client.transport->TakeOutput(), SimpleReply(0, 1) + SimpleReply(0, 2));
  client.Finish();
}

TEST_F(SessionOnAFullPool, WritesThatWaitTakeNoMemoryFromOthersAndAreRefusedBeyondABound) {
  const uint64_t length = 4 << 20;
  client.Put({Command::kWrite, 0, 3, 0, length}, std::string(length, 'z'));
  around.loop.RunAll();
  EXPECT_EQ(full->held(), 3u);
  EXPECT_TRUE(around.budget.TryTake(64 << 20)) << "requests of others have all of it";
  around.budget.Give(64 << 20);
  EXPECT_FALSE(around.waiting_budget.TryTake((60 << 20) + 1));
  ASSERT_TRUE(around.waiting_budget.TryTake(59 << 20));
  EXPECT_EQ(client.Ask({Command::kWrite, 0, 4, 0, length}, std::string(length, 'z')), SimpleReply(28, 4));
  around.waiting_budget.Give(59 << 20);
  full->MakeSpace();
  around.loop.RunAll();
  EXPECT_EQ(client.transport->TakeOutput(), SimpleReply(0, 1) + SimpleReply(0, 2) + SimpleReply(0, 3));
  EXPECT_TRUE(around.waiting_budget.TryTake(64 << 20)) << "everything was given back";
  around.waiting_budget.Give(64 << 20);
  client.Finish();
}

TEST_F(SessionOnAFullPool, ClientThatHangsUpTakesItsWritesWithIt) {
  client.transport->EndInput();
  around.loop.RunAll();
  EXPECT_EQ(full->held(), 0u);
  EXPECT_EQ(client.host.ended, 1);
  EXPECT_EQ(client.transport->TakeOutput(), "") << "an error would be the guest's";
}

TEST_F(SessionOnAFullPool, PlannedStopAnswersWhatCanBeAnsweredAndEnds) {
  client.Put({Command::kRead, 0, 3, 0, 1});
  around.loop.RunAll();
  client.session->Drain("the export was removed");
  around.loop.RunAll();
  EXPECT_EQ(full->held(), 0u);
  EXPECT_EQ(client.host.ended, 1);
  EXPECT_EQ(client.transport->TakeOutput(), SimpleReply(0, 3) + std::string(1, '\0'));
  EXPECT_STREQ(client.session->end_reason(), "the export was removed");
}

TEST_F(SessionOnAFullPool, PauseTakesThemBackAndTheNextTargetGetsThem) {
  bool quiet = false;
  client.session->Pause(std::make_shared<Fence>([&] { quiet = true; }));
  around.loop.RunAll();
  EXPECT_TRUE(quiet) << "a move to a pool with space waits for nobody's";
  EXPECT_EQ(full->held(), 0u);
  client.session->Resume(around.target);
  around.loop.RunAll();
  EXPECT_EQ(client.transport->TakeOutput(), SimpleReply(0, 1) + SimpleReply(0, 2));
  EXPECT_EQ(client.Ask({Command::kRead, 0, 3, 0, 2}), SimpleReply(0, 3) + "xy");
  client.Finish();
}

TEST_F(SessionOnAFullPool, PauseThatIsOverAtOnceLosesNothing) {
  client.session->Pause(nullptr);
  client.session->Resume(full);
  around.loop.RunAll();
  EXPECT_EQ(full->held(), 2u) << "they wait again";
  full->MakeSpace();
  around.loop.RunAll();
  EXPECT_EQ(client.transport->TakeOutput(), SimpleReply(0, 1) + SimpleReply(0, 2));
  client.Finish();
}

TEST_F(SessionOnAFullPool, FenceOpensWhenTheyAreGivenBackByASessionThatEnds) {
  bool open = false;
  client.session->JoinFence(std::make_shared<Fence>([&] { open = true; }));
  EXPECT_FALSE(open) << "they could still be written";
  client.session->Abort("broken");
  around.loop.RunAll();
  EXPECT_TRUE(open);
  EXPECT_EQ(client.host.ended, 1);
}

}  // namespace
}  // namespace varve::nbd
