// Goal: each kind of fault does what its name says, when its rule says, and nothing else.
// Method: a fault disk on a memory disk, one rule at a time.
#include "io/fault_disk.h"

#include "io/memory_disk.h"
#include "test/loop_fixture.h"

namespace varve {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kSizeBytes = 1 << 20;

class FaultDiskTest : public testing::TestWithParam<LoopBackend> {
 protected:
  Status Write(uint8_t value, size_t bytes = 4096) { return WriteDisk(*loop, disk, 0, Bytes(bytes, value)); }
  Status Read(Bytes* data) { return ReadDisk(*loop, disk, 0, data); }
  Bytes Below(size_t bytes = 4096) { return Content(*loop, *below, 0, bytes); }

  RunningLoop loop{GetParam()};
  std::shared_ptr<Disk> below = std::make_shared<MemoryDisk>(kSizeBytes);
  FaultDisk disk{below};
  Bytes data = Bytes(4096);
};

TEST_P(FaultDiskTest, ErrorTransfersNothing) {
  disk.Set({{.op = DiskOp::kWrite, .error = ENOSPC}});
  EXPECT_EQ(Write(1).error(), ENOSPC);
  EXPECT_EQ(Below(), Bytes(4096, 0));
  EXPECT_TRUE(Read(&data).ok());
  disk.Set({});
  EXPECT_TRUE(Write(1).ok());
  EXPECT_EQ(Below(), Bytes(4096, 1));
}

TEST_P(FaultDiskTest, EachOperationHasItsRule) {
  auto attempt = [&](DiskOp op) {
    switch (op) {
      case DiskOp::kRead: return Read(&data);
      case DiskOp::kWrite: return Write(1);
      case DiskOp::kDiscard: return DiscardDisk(*loop, disk, 0, 4096);
      case DiskOp::kZero: return ZeroDisk(*loop, disk, 0, 4096);
      default: return SyncDisk(*loop, disk);
    }
  };
  // Sync last: its failure is final.
  for (DiskOp faulty : {DiskOp::kRead, DiskOp::kWrite, DiskOp::kDiscard, DiskOp::kZero, DiskOp::kSync}) {
    disk.Set({{.op = faulty}});
    for (DiskOp op : {DiskOp::kRead, DiskOp::kWrite, DiskOp::kDiscard, DiskOp::kZero}) {
      EXPECT_EQ(attempt(op).ok(), op != faulty);
    }
    EXPECT_EQ(attempt(DiskOp::kSync).ok(), faulty != DiskOp::kSync);
  }
}

TEST_P(FaultDiskTest, RuleStartsAfterAndLastsTimes) {
  disk.Set({{.after = 2, .times = 3}});
  std::string outcome;
  for (int i = 0; i < 8; ++i) outcome += (i % 2 ? Write(1) : Read(&data)).ok() ? '.' : 'x';
  EXPECT_EQ(outcome, "..xxx...");
}

TEST_P(FaultDiskTest, ShortWriteLeavesHalf) {
  disk.Set({{.op = DiskOp::kWrite, .kind = FaultKind::kShort, .times = 1}});
  EXPECT_EQ(Write(3).error(), EIO);
  Bytes expected(4096, 0);
  std::fill_n(expected.begin(), 2048, 3);
  EXPECT_EQ(Below(), expected);
}

TEST_P(FaultDiskTest, FlipChangesOneBitOfWhatIsRead) {
  EXPECT_TRUE(Write(0).ok());
  disk.Set({{.op = DiskOp::kRead, .kind = FaultKind::kFlip, .times = 1}});
  EXPECT_TRUE(Read(&data).ok());
  int bits = 0;
  for (uint8_t byte : data) bits += __builtin_popcount(byte);
  EXPECT_EQ(bits, 1);
  EXPECT_TRUE(Read(&data).ok());
  EXPECT_EQ(data, Bytes(4096, 0));
}

TEST_P(FaultDiskTest, LieSyncsNothingAndSaysItDid) {
  auto failing = std::make_shared<FaultDisk>(below);
  failing->Set({{.op = DiskOp::kSync}});
  FaultDisk lying{failing};
  lying.Set({{.kind = FaultKind::kLie}});
  EXPECT_TRUE(WriteDisk(*loop, lying, 0, Bytes(4096, 1)).ok());
  EXPECT_TRUE(SyncDisk(*loop, lying).ok());
  EXPECT_EQ(Below(), Bytes(4096, 1));
  lying.Set({});
  EXPECT_FALSE(SyncDisk(*loop, lying).ok());
}

TEST_P(FaultDiskTest, DelayHoldsBackAtLeastSoLong) {
  disk.Set({{.op = DiskOp::kWrite, .kind = FaultKind::kDelay, .delay = milliseconds(20)}});
  auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(Write(1).ok());
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(20));
  EXPECT_EQ(Below(), Bytes(4096, 1));
}

TEST_P(FaultDiskTest, HangIsHeldUntilTheRulesAreReplaced) {
  disk.Set({{.op = DiskOp::kWrite, .kind = FaultKind::kHang}});
  Bytes source(4096, 4);
  iovec piece{source.data(), source.size()};
  std::promise<Status> result;
  CallCompletion done([&](Status status) { result.set_value(status); });
  RunOn(*loop, [&] { disk.Write(*loop, 0, &piece, 1, &done); });
  EXPECT_TRUE(Read(&data).ok());
  EXPECT_EQ(done.runs, 0);
  EXPECT_EQ(Below(), Bytes(4096, 0));
  disk.Set({});
  EXPECT_TRUE(result.get_future().get().ok());
  EXPECT_EQ(Below(), Bytes(4096, 4));
}

TEST_P(FaultDiskTest, RulesChangeWhileOperationsRun) {
  constexpr int kWrites = 2000;
  Bytes source(512, 1);
  iovec piece{source.data(), source.size()};
  int completed = 0;
  std::promise<void> end;
  CallCompletion done([&](Status) {
    if (++completed == kWrites) end.set_value();
    else disk.Write(*loop, 0, &piece, 1, &done);
  });
  loop->Post([&] { disk.Write(*loop, 0, &piece, 1, &done); });
  for (int i = 0; i < 50; ++i) {
    disk.Set({{.op = DiskOp::kWrite, .kind = FaultKind::kHang, .after = 3}});
    RunOn(*loop, [] {});
    disk.Set({});
  }
  end.get_future().wait();
  RunOn(*loop, [] {});
  EXPECT_EQ(done.runs, kWrites);
}

INSTANTIATE_TEST_SUITE_P(Loops, FaultDiskTest, testing::Values(LoopBackend::kUring, LoopBackend::kEpoll),
                         [](const auto& info) {
                           return info.param == LoopBackend::kUring ? "uring" : "epoll";
                         });

}  // namespace
}  // namespace varve
