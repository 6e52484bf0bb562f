// Goal: in a full pool a write that needs space is held, nothing else is, it goes on when space comes, and it ends with an error or is
//   given back as soon as somebody says so.
// Method: a pool of a few clusters (volume_fixture.h), whose control plane says when writers are to be held, when they are refused, and where
//   space comes from. No time passes: a wait is for what the other side has said or done.
#include <chrono>

#include "test/volume_fixture.h"

namespace varve {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kCluster = kTestClusterBytes;
constexpr uint32_t kSub = kTestClusterBytes / kSubBlocksPerCluster;
constexpr uint64_t kOwned = 4;  // clusters of the pool, all of them the volume's

// A request that may be held.
struct HeldRequest : TestRequest, Holder {
  using TestRequest::TestRequest;
  void Submit(Volume& volume, EventLoop& loop) {
    request.holder = this;
    TestRequest::Submit(volume, loop);
  }
  // As the session of a client that is gone does it.
  void Recall(Volume& volume) {
    request.loop->Post([this, &volume] {
      recalled = true;
      volume.RecallHeld();
    });
  }
  bool recalls() const override { return recalled; }
  bool LetWait() override { return has_means; }

  bool recalled = false;
  bool has_means = true;
};

class HeldWritersTest : public ::testing::TestWithParam<LoopBackend> {
 protected:
  static PoolOptionsForTest Options() {
    PoolOptionsForTest options;
    options.backend = GetParam();
    options.clusters = kOwned;
    options.spare_clusters = 64;
    options.shortage = Shortage::kHold;
    options.window_ms = 3'600'000;  // no round but those of the test
    return options;
  }
  HeldWritersTest() : HeldWritersTest(Options()) {}
  explicit HeldWritersTest(PoolOptionsForTest options)
      : plane_(std::move(options)), volume_(plane_.OpenVolume(kMiB, true)) {
    Ok(BlockOp::kWrite, 0, kOwned * kCluster, 1);
  }
  ~HeldWritersTest() override {
    // Whoever is still held need not keep a failed test from ending.
    plane_.pool().grants(0).SetExhausted(Shortage::kRefuse);
  }

  void Ok(BlockOp op, uint64_t offset, uint64_t length, uint8_t fill = 0, bool fua = false) {
    TestRequest request(op, offset, length, fill);
    request.request.fua = fua;
    EXPECT_TRUE(request.Run(volume_, plane_.loop(offset / kCluster % 2)).ok());
  }
  uint8_t ByteAt(uint64_t offset) {
    TestRequest read(BlockOp::kRead, offset, 1);
    EXPECT_TRUE(read.Run(volume_, plane_.loop(0)).ok());
    // A hole says so and leaves the buffer alone.
    const bool zero = !read.request.extents.empty() && (read.request.extents.front().flags & kExtentZero) != 0;
    return zero ? 0 : static_cast<uint8_t>(read.data[0]);
  }
  std::unique_ptr<HeldRequest> Start(BlockOp op, uint64_t offset, uint64_t length, uint8_t fill = 0, unsigned loop = 0) {
    auto request = std::make_unique<HeldRequest>(op, offset, length, fill);
    request->Submit(volume_, plane_.loop(loop));
    return request;
  }
  std::unique_ptr<HeldRequest> StartWrite(uint64_t slot, uint8_t fill, unsigned loop = 0) {
    return Start(BlockOp::kWrite, slot * kCluster, kCluster, fill, loop);
  }
  void WaitUntilHeld(uint64_t count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    uint64_t held = plane_.pool().HeldWriters();
    while (held != count && std::chrono::steady_clock::now() < deadline) held = plane_.pool().HeldWriters();
    EXPECT_EQ(held, count);
  }
  static Status End(HeldRequest& request) { return request.WaitFor(std::chrono::seconds(60)); }

  ControlPlaneForTest plane_;
  Volume& volume_;
};

INSTANTIATE_TEST_SUITE_P(Backends, HeldWritersTest, ::testing::Values(LoopBackend::kAuto, LoopBackend::kEpoll),
                         [](const auto& info) { return info.param == LoopBackend::kEpoll ? "epoll" : "auto"; });

TEST_P(HeldWritersTest, GoOnWhenSpaceIsAddedAndHoldUpNothingElse) {
  std::vector<std::unique_ptr<HeldRequest>> writes;
  for (unsigned i = 0; i < 6; i++) writes.push_back(StartWrite(10 + i, static_cast<uint8_t>(20 + i), i % 2));
  WaitUntilHeld(6);
  EXPECT_EQ(plane_.times_held(), 1u) << "told once, however many";
  Ok(BlockOp::kWrite, kCluster, kCluster, 7);
  Ok(BlockOp::kFlush, 0, 0);
  Ok(BlockOp::kTrim, 30 * kCluster, kCluster, 0, true);
  EXPECT_EQ(ByteAt(kCluster), 7);
  EXPECT_EQ(ByteAt(10 * kCluster), 0) << "nothing of it is there yet";
  TestRequest control(BlockOp::kWrite, 20 * kCluster, kCluster, 9);
  EXPECT_EQ(control.Run(volume_, plane_.loop(0)).error(), ENOSPC) << "who may not be held is told at once";
  EXPECT_EQ(plane_.pool().HeldWriters(), 6u);
  plane_.AddSpace(6);
  for (auto& write : writes) EXPECT_TRUE(End(*write).ok());
  for (unsigned i = 0; i < 6; i++) EXPECT_EQ(ByteAt((10 + i) * kCluster), 20 + i);
  EXPECT_EQ(volume_.stats().errors.load(), 1u);
}

TEST_P(HeldWritersTest, GoOnOneByOneAsSpaceIsTrimmed) {
  auto first = StartWrite(10, 20, 0);
  auto second = StartWrite(11, 21, 1);
  WaitUntilHeld(2);
  Ok(BlockOp::kTrim, 0, kCluster, 0, true);
  WaitUntilHeld(1);
  Ok(BlockOp::kTrim, kCluster, kCluster, 0, true);
  EXPECT_TRUE(End(*first).ok());
  EXPECT_TRUE(End(*second).ok());
  EXPECT_EQ(ByteAt(10 * kCluster), 20);
  EXPECT_EQ(ByteAt(11 * kCluster), 21);
  EXPECT_EQ(ByteAt(2 * kCluster), 1);
}

TEST_P(HeldWritersTest, AreRefusedWhenTheControlPlaneSaysSoAndSpaceIsTakenAgain) {
  auto held = StartWrite(10, 20);
  WaitUntilHeld(1);
  plane_.pool().grants(0).SetExhausted(Shortage::kRefuse);
  EXPECT_EQ(End(*held).error(), ENOSPC);
  auto late = StartWrite(11, 21);
  EXPECT_EQ(End(*late).error(), ENOSPC) << "nobody waits for a patience that is over";
  plane_.AddSpace(1);
  auto next = StartWrite(12, 22);
  EXPECT_TRUE(End(*next).ok());
}

TEST_P(HeldWritersTest, WhoHasNotTheMeansToWaitIsRefused) {
  HeldRequest write(BlockOp::kWrite, 10 * kCluster, kCluster, 20);
  write.has_means = false;
  write.Submit(volume_, plane_.loop(0));
  EXPECT_EQ(End(write).error(), ENOSPC);
}

TEST_P(HeldWritersTest, ProvisioningIsHeldToo) {
  auto zeroes = std::make_unique<HeldRequest>(BlockOp::kWriteZeroes, 10 * kCluster, 2 * kCluster);
  zeroes->request.no_hole = true;
  zeroes->Submit(volume_, plane_.loop(0));
  WaitUntilHeld(1);
  plane_.AddSpace(2);
  EXPECT_TRUE(End(*zeroes).ok());
}

TEST_P(HeldWritersTest, RecalledOneComesBackAndIsWholeTheSecondTime) {
  auto stays = StartWrite(20, 30, 1);
  // Its first cluster is the volume's own, so that a part of it is done.
  auto straddles = Start(BlockOp::kWrite, (kOwned - 1) * kCluster, 2 * kCluster, 40);
  WaitUntilHeld(2);
  straddles->Recall(volume_);
  EXPECT_EQ(End(*straddles).error(), ERESTART);
  WaitUntilHeld(1);
  EXPECT_EQ(volume_.stats().errors.load(), 0u) << "no error of a guest";
  auto again = Start(BlockOp::kWrite, (kOwned - 1) * kCluster, 2 * kCluster, 40);
  WaitUntilHeld(2);
  plane_.AddSpace(2);
  EXPECT_TRUE(End(*again).ok());
  EXPECT_TRUE(End(*stays).ok());
  EXPECT_EQ(ByteAt((kOwned - 1) * kCluster), 40);
  EXPECT_EQ(ByteAt((kOwned + 1) * kCluster - 1), 40);
}

TEST_P(HeldWritersTest, RecalledEdgesOfZeroesEndTheWhole) {
  // A frozen layer below: the edges' content is inherited, so that writing zeroes over a part of it takes clusters.
  std::promise<void> quiet;
  volume_.Hold([&quiet] { quiet.set_value(); });
  quiet.get_future().wait();
  volume_.SwapHead(8, true);
  volume_.Unhold();
  auto zeroes = Start(BlockOp::kWriteZeroes, kSub / 2, 2 * kCluster);
  WaitUntilHeld(2);
  zeroes->Recall(volume_);
  EXPECT_EQ(End(*zeroes).error(), ERESTART);
  EXPECT_EQ(plane_.pool().HeldWriters(), 0u);
}

TEST_P(HeldWritersTest, DoNotKeepAHeadFromBeingHeldAndWaitForItsEnd) {
  auto write = StartWrite(10, 20);
  WaitUntilHeld(1);
  std::promise<void> held;
  volume_.Hold([&held] { held.set_value(); });
  held.get_future().wait();
  plane_.AddSpace(4);
  WaitUntilHeld(0);
  EXPECT_EQ(ByteAt(10 * kCluster), 0) << "it must not change what is being frozen";
  volume_.Unhold();
  EXPECT_TRUE(End(*write).ok());
  EXPECT_EQ(ByteAt(10 * kCluster), 20);
}

TEST_P(HeldWritersTest, EndWithThePool) {
  auto write = StartWrite(10, 20);
  WaitUntilHeld(1);
  plane_.pool().Stop(Status(EIO, "test"), false);
  EXPECT_EQ(End(*write).error(), EIO);
}

TEST_P(HeldWritersTest, FollowTheirVolumeToOtherDisks) {
  plane_.pool().grants(1).SetExhausted(Shortage::kHold);
  volume_.SetGrantGroup(1);
  auto write = StartWrite(10, 20);
  WaitUntilHeld(1);
  plane_.AddSpace(1);
  EXPECT_EQ(plane_.pool().HeldWriters(), 1u) << "that space is another group's";
  volume_.SetGrantGroup(0);
  EXPECT_TRUE(End(*write).ok());
}

}  // namespace
}  // namespace varve
