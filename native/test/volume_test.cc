// Goal: a volume answers as a byte array would, however its requests race, and gives every cluster one owner.
// Method: a control plane of a few lines (volume_fixture.h), requests in batches that share clusters and sub-blocks but no
//   bytes, on two loops at once, compared with a byte array. Replay one case: SEED=7.
#include <cstdlib>
#include <random>

#include "io/fault_disk.h"
#include "test/volume_fixture.h"

namespace varve {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint32_t kSub = kTestClusterBytes / kSubBlocksPerCluster;

uint64_t Seed() {
  const char* text = std::getenv("SEED");
  return text ? std::strtoull(text, nullptr, 10) : std::random_device{}();
}

std::vector<std::byte> ReadAll(Volume& volume, EventLoop& loop) {
  TestRequest read(BlockOp::kRead, 0, volume.size_bytes());
  EXPECT_TRUE(read.Run(volume, loop).ok());
  return std::move(read.data);
}

uint64_t CoveredBy(const std::vector<Extent>& extents) {
  uint64_t sum = 0;
  for (const Extent& extent : extents) sum += extent.length;
  return sum;
}

class VolumeTest : public ::testing::TestWithParam<LoopBackend> {
 protected:
  PoolOptionsForTest Options() {
    PoolOptionsForTest options;
    options.backend = GetParam();
    return options;
  }
  // Puts a memory disk behind faults, which none meets yet, under the pool.
  static std::shared_ptr<FaultDisk> BehindFaults(PoolOptionsForTest* options) {
    const uint64_t bytes = kTestJournalOffset + options->journal_bytes + options->clusters * kTestClusterBytes;
    auto faulty = std::make_shared<FaultDisk>(std::make_shared<MemoryDisk>(bytes));
    options->disk = faulty;
    return faulty;
  }
};

INSTANTIATE_TEST_SUITE_P(Backends, VolumeTest, ::testing::Values(LoopBackend::kAuto, LoopBackend::kEpoll),
                         [](const auto& info) { return info.param == LoopBackend::kEpoll ? "epoll" : "auto"; });

TEST_P(VolumeTest, RacingRequestsAnswerAsAByteArrayWould) {
  const uint64_t seed = Seed();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  ControlPlaneForTest plane(Options());
  const uint64_t size = 2 * kMiB;
  Volume& volume = plane.OpenVolume(size, true);
  std::vector<std::byte> model(size);
  for (int round = 0; round < 150; round++) {
    // Cut points at odd places: neighbours share sub-blocks and clusters, never bytes.
    std::vector<std::unique_ptr<TestRequest>> batch;
    uint64_t at = random() % (64 * 1024);
    while (batch.size() < 24 && at < size) {
      uint64_t unit = random() % 3 == 0 ? 512 : random() % 2 ? kSub : 1;
      uint64_t length = std::min((1 + random() % 40) * unit, size - at);
      uint64_t pick = random() % 10;
      BlockOp op = pick < 7 ? BlockOp::kWrite : pick < 9 ? BlockOp::kWriteZeroes : BlockOp::kTrim;
      auto request = std::make_unique<TestRequest>(op, at, length, static_cast<uint8_t>(random()));
      request->request.no_hole = random() % 4 == 0;
      request->request.fua = random() % 8 == 0;
      batch.push_back(std::move(request));
      at += length + (random() % 3 == 0 ? random() % 30000 : 0);
    }
    std::shuffle(batch.begin(), batch.end(), random);
    for (auto& request : batch) request->Submit(volume, plane.loop(random() % 2));
    for (auto& request : batch) ASSERT_TRUE(request->Wait().ok());
    for (auto& request : batch) {
      const BlockRequest& r = request->request;
      if (r.op == BlockOp::kWrite) std::copy(request->data.begin(), request->data.end(), model.begin() + r.offset);
      if (r.op == BlockOp::kWriteZeroes) std::fill_n(model.begin() + r.offset, r.length, std::byte{0});
      if (r.op != BlockOp::kTrim) continue;
      const bool to_end = r.offset + r.length == size;
      uint64_t first = (r.offset + kSub - 1) / kSub * kSub;
      uint64_t last = to_end ? size : (r.offset + r.length) / kSub * kSub;
      if (last > first) std::fill(model.begin() + first, model.begin() + last, std::byte{0});
    }
    ASSERT_TRUE(ReadAll(volume, plane.loop(round % 2)) == model) << "round " << round;
  }
}

TEST_P(VolumeTest, RacingWritesIntoOneFreshSubBlockLoseNothing) {
  ControlPlaneForTest plane(Options());
  Volume& volume = plane.OpenVolume(kMiB, true);
  std::vector<std::unique_ptr<TestRequest>> batch;
  for (unsigned i = 0; i < 64; i++) {
    batch.push_back(std::make_unique<TestRequest>(BlockOp::kWrite, i * 16, 16, static_cast<uint8_t>(i + 1)));
  }
  for (unsigned i = 0; i < 64; i++) batch[i]->Submit(volume, plane.loop(i % 2));
  for (auto& request : batch) ASSERT_TRUE(request->Wait().ok());
  std::vector<std::byte> all = ReadAll(volume, plane.loop(0));
  for (unsigned i = 0; i < 1024; i++) ASSERT_EQ(static_cast<unsigned>(all[i]), i / 16 + 1);
  TestRequest flush(BlockOp::kFlush, 0, 0);
  ASSERT_TRUE(flush.Run(volume, plane.loop(0)).ok());
  EXPECT_EQ(plane.OwnedClusters(), 1u) << "one allocation per cluster however many racers";
}

TEST_P(VolumeTest, ReusedClusterShowsNothingOfItsFormerOwner) {
  PoolOptionsForTest options = Options();
  options.clusters = 8;
  ControlPlaneForTest plane(options);
  Volume& volume = plane.OpenVolume(kMiB, true);
  for (int round = 0; round < 20; round++) {
    TestRequest fill(BlockOp::kWrite, 0, 4 * kTestClusterBytes, 0xee);
    ASSERT_TRUE(fill.Run(volume, plane.loop(0)).ok());
    TestRequest trim(BlockOp::kTrim, 0, 4 * kTestClusterBytes);
    trim.request.fua = true;
    ASSERT_TRUE(trim.Run(volume, plane.loop(1)).ok());
    TestRequest little(BlockOp::kWrite, 100 + round, 1, 0x11);
    ASSERT_TRUE(little.Run(volume, plane.loop(0)).ok());
    std::vector<std::byte> all = ReadAll(volume, plane.loop(1));
    ASSERT_EQ(std::count(all.begin(), all.end(), std::byte{0xee}), 0);
    TestRequest again(BlockOp::kTrim, 0, kMiB);
    again.request.fua = true;
    ASSERT_TRUE(again.Run(volume, plane.loop(1)).ok());
  }
}

TEST_P(VolumeTest, FullPoolSaysNoSpaceAndGoesOnServing) {
  PoolOptionsForTest options = Options();
  options.clusters = 4;
  ControlPlaneForTest plane(options);
  Volume& volume = plane.OpenVolume(kMiB, true);
  TestRequest fits(BlockOp::kWrite, 0, 4 * kTestClusterBytes, 1);
  ASSERT_TRUE(fits.Run(volume, plane.loop(0)).ok());
  TestRequest more(BlockOp::kWrite, 5 * kTestClusterBytes, 512, 2);
  EXPECT_EQ(more.Run(volume, plane.loop(0)).error(), ENOSPC);
  TestRequest over(BlockOp::kWrite, 0, 512, 3);
  EXPECT_TRUE(over.Run(volume, plane.loop(0)).ok()) << "an overwrite needs no space";
  TestRequest trim(BlockOp::kTrim, 0, kTestClusterBytes);
  trim.request.fua = true;
  ASSERT_TRUE(trim.Run(volume, plane.loop(0)).ok());
  // The freed cluster comes back when it is safe: soon, but not within the trim.
  Status status(ENOSPC, "not tried");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!status.ok() && std::chrono::steady_clock::now() < deadline) {
    TestRequest retry(BlockOp::kWrite, 5 * kTestClusterBytes, 512, 2);
    status = retry.Run(volume, plane.loop(0));
  }
  EXPECT_TRUE(status.ok());
}

TEST_P(VolumeTest, WriterWhoWaitsForAReleasedClusterIsNotWaitedFor) {
  PoolOptionsForTest options = Options();
  options.clusters = 4;
  options.patient = true;
  ControlPlaneForTest plane(options);
  Volume& volume = plane.OpenVolume(kMiB, true);
  TestRequest fits(BlockOp::kWrite, 0, 4 * kTestClusterBytes, 1);
  ASSERT_TRUE(fits.Run(volume, plane.loop(0)).ok());
  // One waits before anything is written, the other has a piece of an owned cluster behind it.
  TestRequest waits(BlockOp::kWrite, 5 * kTestClusterBytes, 512, 2);
  waits.Submit(volume, plane.loop(1));
  TestRequest straddles(BlockOp::kWrite, 3 * kTestClusterBytes, 2 * kTestClusterBytes, 3);
  straddles.Submit(volume, plane.loop(0));
  TestRequest trim(BlockOp::kTrim, 0, 2 * kTestClusterBytes);
  trim.request.fua = true;
  ASSERT_TRUE(trim.Run(volume, plane.loop(0)).ok());
  EXPECT_TRUE(waits.WaitFor(std::chrono::seconds(20)).ok());
  EXPECT_TRUE(straddles.WaitFor(std::chrono::seconds(20)).ok());
  plane.pool().grants(0).SetExhausted(Shortage::kRefuse);  // whoever still waits need not keep the test from ending
}

TEST_P(VolumeTest, RequestsWaitForTheirRegionAndOthersGoOn) {
  ControlPlaneForTest plane(Options());
  const uint64_t region_bytes = uint64_t{kSlotsPerRegion} * kTestClusterBytes;
  Volume& volume = plane.OpenVolume(4 * region_bytes, false);
  TestRequest first(BlockOp::kWrite, 0, 4096, 5);
  ASSERT_TRUE(first.Run(volume, plane.loop(0)).ok());
  plane.AnswerRegions(false);
  TestRequest waits(BlockOp::kWrite, 2 * region_bytes, 4096, 6);
  waits.Submit(volume, plane.loop(1));
  TestRequest hit(BlockOp::kRead, 0, 4096);
  ASSERT_TRUE(hit.Run(volume, plane.loop(1)).ok());
  EXPECT_EQ(static_cast<unsigned>(hit.data[0]), 5u);
  plane.AnswerRegions(true);
  ASSERT_TRUE(waits.Wait().ok());
  TestRequest read(BlockOp::kRead, 2 * region_bytes, 4096);
  ASSERT_TRUE(read.Run(volume, plane.loop(0)).ok());
  EXPECT_EQ(static_cast<unsigned>(read.data[4095]), 6u);
}

TEST_P(VolumeTest, EvictedRegionsComeBackWhole) {
  PoolOptionsForTest options = Options();
  options.map_bytes_max = 40 * 1024;  // some thirty regions with one leaf each
  ControlPlaneForTest plane(options);
  const uint64_t region_bytes = uint64_t{kSlotsPerRegion} * kTestClusterBytes;
  const unsigned regions = 64;
  Volume& volume = plane.OpenVolume(regions * region_bytes, true);
  for (int pass = 0; pass < 3; pass++) {
    for (unsigned i = 0; i < regions; i++) {
      TestRequest write(BlockOp::kWrite, i * region_bytes + pass * 4096, 4096, static_cast<uint8_t>(i + pass + 1));
      ASSERT_TRUE(write.Run(volume, plane.loop(i % 2)).ok());
    }
    TestRequest flush(BlockOp::kFlush, 0, 0);
    ASSERT_TRUE(flush.Run(volume, plane.loop(0)).ok());
  }
  EXPECT_GT(plane.RegionsAsked(), 0u) << "the budget made regions go";
  for (unsigned i = 0; i < regions; i++) {
    TestRequest read(BlockOp::kRead, i * region_bytes, 3 * 4096);
    ASSERT_TRUE(read.Run(volume, plane.loop(0)).ok());
    for (int pass = 0; pass < 3; pass++) {
      ASSERT_EQ(static_cast<unsigned>(read.data[pass * 4096]), (i + pass + 1) & 0xff);
    }
  }
}

TEST_P(VolumeTest, StatusTellsDataProvisionedAndHoleApart) {
  ControlPlaneForTest plane(Options());
  Volume& volume = plane.OpenVolume(kMiB, true);
  TestRequest write(BlockOp::kWrite, kTestClusterBytes, kSub, 1);
  ASSERT_TRUE(write.Run(volume, plane.loop(0)).ok());
  TestRequest provision(BlockOp::kWriteZeroes, 4 * kTestClusterBytes, kTestClusterBytes);
  provision.request.no_hole = true;
  ASSERT_TRUE(provision.Run(volume, plane.loop(0)).ok());
  TestRequest status(BlockOp::kBlockStatus, 0, kMiB);
  ASSERT_TRUE(status.Run(volume, plane.loop(0)).ok());
  const std::vector<Extent>& extents = status.request.extents;
  EXPECT_EQ(CoveredBy(extents), kMiB);
  const std::vector<std::pair<uint64_t, uint32_t>> expected = {
      {kTestClusterBytes, 3}, {kSub, 0}, {kTestClusterBytes - kSub, 2}, {2 * kTestClusterBytes, 3},
      {kTestClusterBytes, 2}, {kMiB - 5 * kTestClusterBytes, 3}};
  ASSERT_EQ(extents.size(), expected.size());
  for (size_t i = 0; i < expected.size(); i++) {
    EXPECT_EQ(extents[i].length, expected[i].first) << i;
    EXPECT_EQ(extents[i].flags, expected[i].second) << i;
  }
}

TEST_P(VolumeTest, GivingPlacesLeavesDataAlone) {
  ControlPlaneForTest plane(Options());
  Volume& volume = plane.OpenVolume(kMiB, true);
  const uint64_t start = 2 * kTestClusterBytes + 512;
  TestRequest write(BlockOp::kWrite, start, 2 * kTestClusterBytes, 5);
  ASSERT_TRUE(write.Run(volume, plane.loop(0)).ok());
  const std::vector<std::byte> before = ReadAll(volume, plane.loop(0));
  TestRequest provision(BlockOp::kWriteZeroes, kTestClusterBytes + 512, 8 * kTestClusterBytes);
  provision.request.no_hole = provision.request.keeps_data = true;
  ASSERT_TRUE(provision.Run(volume, plane.loop(0)).ok());
  EXPECT_TRUE(ReadAll(volume, plane.loop(0)) == before);
  TestRequest status(BlockOp::kBlockStatus, 0, kMiB);
  ASSERT_TRUE(status.Run(volume, plane.loop(0)).ok());
  const std::vector<Extent>& extents = status.request.extents;
  ASSERT_GE(extents.size(), 2u);
  EXPECT_EQ(extents.front().length, kTestClusterBytes);
  EXPECT_EQ(extents.front().flags, kExtentHole | kExtentZero);
  EXPECT_EQ(extents.back().length, kMiB - 10 * kTestClusterBytes);
  for (size_t i = 1; i + 1 < extents.size(); i++) EXPECT_EQ(extents[i].flags & kExtentHole, 0u) << i;
}

TEST_P(VolumeTest, FlushWithOnlyOverwritesNeedsNoJournalRecord) {
  ControlPlaneForTest plane(Options());
  Volume& volume = plane.OpenVolume(kMiB, true);
  TestRequest write(BlockOp::kWrite, 0, 4096, 1);
  write.request.fua = true;
  ASSERT_TRUE(write.Run(volume, plane.loop(0)).ok());
  const uint64_t head = plane.journal_head();
  EXPECT_GT(head, 0u);
  TestRequest over(BlockOp::kWrite, 0, 4096, 2);
  over.request.fua = true;
  ASSERT_TRUE(over.Run(volume, plane.loop(0)).ok());
  EXPECT_EQ(plane.journal_head(), head);
}

TEST_P(VolumeTest, FailedSyncFailsTheFlushAndEverythingAfterIt) {
  PoolOptionsForTest options = Options();
  std::shared_ptr<FaultDisk> faulty = BehindFaults(&options);
  options.window_ms = 3'600'000;  // no round but the flush's
  ControlPlaneForTest plane(options);
  Volume& volume = plane.OpenVolume(kMiB, true);
  TestRequest write(BlockOp::kWrite, 0, 4096, 1);
  ASSERT_TRUE(write.Run(volume, plane.loop(0)).ok());
  faulty->Set({{.op = DiskOp::kSync, .times = 1}});
  TestRequest flush(BlockOp::kFlush, 0, 0);
  EXPECT_EQ(flush.Run(volume, plane.loop(1)).error(), EIO);
  TestRequest again(BlockOp::kFlush, 0, 0);
  EXPECT_EQ(again.Run(volume, plane.loop(1)).error(), EIO) << "never retried into success";
  TestRequest later(BlockOp::kWrite, 0, 4096, 2);
  EXPECT_EQ(later.Run(volume, plane.loop(0)).error(), EIO);
  TestRequest read(BlockOp::kRead, 0, 4096);
  EXPECT_TRUE(read.Run(volume, plane.loop(0)).ok()) << "reads go on";
}

// What trimming a part of a cluster changes points to the cluster's disk, and waits for it, though nothing was written there.
TEST_P(VolumeTest, FlushWaitsForTheDiskOfAChangeThatWroteNothing) {
  PoolOptionsForTest options = Options();
  std::shared_ptr<FaultDisk> faulty = BehindFaults(&options);
  options.ring_disk = std::make_shared<MemoryDisk>(kTestJournalOffset + options.journal_bytes);
  ControlPlaneForTest plane(options);
  Volume& volume = plane.OpenVolume(kMiB, true);
  TestRequest write(BlockOp::kWrite, 0, kTestClusterBytes, 1);
  ASSERT_TRUE(write.Run(volume, plane.loop(0)).ok());
  TestRequest first(BlockOp::kFlush, 0, 0);
  ASSERT_TRUE(first.Run(volume, plane.loop(0)).ok());

  faulty->Set({{.op = DiskOp::kSync, .kind = FaultKind::kHang}});
  plane.pool().journal().NoteWrite(0);  // somebody else's
  TestRequest trim(BlockOp::kTrim, 0, kSub);
  ASSERT_TRUE(trim.Run(volume, plane.loop(0)).ok());
  TestRequest flush(BlockOp::kFlush, 0, 0);
  flush.Submit(volume, plane.loop(0));
  // Of somebody with nothing on that disk: the round that ends it has looked at the other one, too.
  const DiskRounds nothing;
  TestRequest other(BlockOp::kFlush, 0, 0);
  FlushWait wait;
  plane.loop(0).Post([&] {
    wait = {.round = plane.pool().journal().Stamp(), .loop = &plane.loop(0), .done = &other, .changed = &nothing};
    plane.pool().journal().WaitForRound(&wait);
  });
  EXPECT_TRUE(other.Wait().ok());
  EXPECT_EQ(flush.ends, 0u);
  faulty->Set({});
  EXPECT_TRUE(flush.Wait().ok());
}

TEST_P(VolumeTest, FailedWriteGivesItsClusterBackAndClaimsNothing) {
  PoolOptionsForTest options = Options();
  options.clusters = 2;
  std::shared_ptr<FaultDisk> faulty = BehindFaults(&options);
  ControlPlaneForTest plane(options);
  Volume& volume = plane.OpenVolume(kMiB, true);
  for (int i = 0; i < 10; i++) {
    faulty->Set({{.op = DiskOp::kWrite, .times = 1}});
    TestRequest write(BlockOp::kWrite, 0, 4096, 1);
    EXPECT_EQ(write.Run(volume, plane.loop(0)).error(), EIO);
  }
  std::vector<std::byte> all = ReadAll(volume, plane.loop(0));
  EXPECT_EQ(std::count(all.begin(), all.end(), std::byte{0}), static_cast<long>(kMiB));
  TestRequest both(BlockOp::kWrite, 0, 2 * kTestClusterBytes, 1);
  EXPECT_TRUE(both.Run(volume, plane.loop(0)).ok()) << "no cluster was lost";
}

TEST_P(VolumeTest, FailedWriteShowsNothingOfTheFormerOwner) {
  PoolOptionsForTest options = Options();
  options.clusters = 1;
  options.patient = true;
  options.window_ms = 3'600'000;  // the write that fails is not the journal's
  std::shared_ptr<FaultDisk> faulty = BehindFaults(&options);
  ControlPlaneForTest plane(options);
  Volume& volume = plane.OpenVolume(kMiB, true);
  TestRequest former(BlockOp::kWrite, 0, kTestClusterBytes, 0xee);
  ASSERT_TRUE(former.Run(volume, plane.loop(0)).ok());
  TestRequest trim(BlockOp::kTrim, 0, kTestClusterBytes);
  trim.request.fua = true;
  ASSERT_TRUE(trim.Run(volume, plane.loop(0)).ok());
  faulty->Set({{.op = DiskOp::kWrite, .times = 1}});
  TestRequest write(BlockOp::kWrite, 5 * kTestClusterBytes, 4096, 1);
  EXPECT_EQ(write.Run(volume, plane.loop(0)).error(), EIO);
  std::vector<std::byte> all = ReadAll(volume, plane.loop(0));
  EXPECT_EQ(std::count(all.begin(), all.end(), std::byte{0}), static_cast<long>(kMiB));
}

TEST_P(VolumeTest, TrimmedClusterIsNotUsedBeforeItsReleaseIsDurable) {
  PoolOptionsForTest options = Options();
  options.clusters = 1;
  options.patient = true;
  options.window_ms = 3'600'000;  // no round but the flush's
  ControlPlaneForTest plane(options);
  Volume& volume = plane.OpenVolume(kMiB, true);
  TestRequest former(BlockOp::kWrite, 0, kTestClusterBytes, 1);
  former.request.fua = true;
  ASSERT_TRUE(former.Run(volume, plane.loop(0)).ok());
  TestRequest trim(BlockOp::kTrim, 0, kTestClusterBytes);
  ASSERT_TRUE(trim.Run(volume, plane.loop(0)).ok());
  TestRequest next(BlockOp::kWrite, 5 * kTestClusterBytes, kTestClusterBytes, 2);
  std::future<Status> end = next.promise.get_future();
  next.Submit(volume, plane.loop(0));
  // Turns of its loop, in which it would go on if it could.
  for (int turn = 0; turn < 20; turn++) {
    TestRequest read(BlockOp::kRead, 0, kSub);
    ASSERT_TRUE(read.Run(volume, plane.loop(0)).ok());
  }
  EXPECT_NE(end.wait_for(std::chrono::seconds(0)), std::future_status::ready) << "a power cut would bring the former owner back";
  TestRequest flush(BlockOp::kFlush, 0, 0);
  ASSERT_TRUE(flush.Run(volume, plane.loop(0)).ok());
  ASSERT_EQ(end.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_TRUE(end.get().ok());
}

TEST_P(VolumeTest, SlowReadNeverSeesTheNextOwner) {
  PoolOptionsForTest options = Options();
  options.clusters = 1;
  options.patient = true;
  std::shared_ptr<FaultDisk> faulty = BehindFaults(&options);
  ControlPlaneForTest plane(options);
  Volume& volume = plane.OpenVolume(kMiB, true);
  TestRequest write(BlockOp::kWrite, 0, kTestClusterBytes, 1);
  ASSERT_TRUE(write.Run(volume, plane.loop(0)).ok());
  faulty->Set({{.op = DiskOp::kRead, .kind = FaultKind::kHang}});
  TestRequest slow(BlockOp::kRead, 0, kTestClusterBytes);
  slow.Submit(volume, plane.loop(0));
  TestRequest trim(BlockOp::kTrim, 0, kTestClusterBytes);
  trim.request.fua = true;
  ASSERT_TRUE(trim.Run(volume, plane.loop(0)).ok());
  // The release is durable and handed over; who was told that it is safe was told so before the trim was answered, or later.
  EXPECT_EQ(plane.safe_sequence(), 0u) << "the read is still under way";
  TestRequest next(BlockOp::kWrite, 5 * kTestClusterBytes, kTestClusterBytes, 2);
  next.Submit(volume, plane.loop(1));
  faulty->Set({});
  ASSERT_TRUE(slow.Wait().ok());
  EXPECT_EQ(std::count(slow.data.begin(), slow.data.end(), std::byte{1}), static_cast<long>(kTestClusterBytes));
  EXPECT_TRUE(next.WaitFor(std::chrono::seconds(20)).ok()) << "the cluster comes back once the read has ended";
  plane.pool().grants(0).SetExhausted(Shortage::kRefuse);  // whoever still waits need not keep the test from ending
}

TEST_P(VolumeTest, TrimWaitsForAWriteUnderWayInItsCluster) {
  PoolOptionsForTest options = Options();
  std::shared_ptr<FaultDisk> faulty = BehindFaults(&options);
  ControlPlaneForTest plane(options);
  Volume& volume = plane.OpenVolume(kMiB, true);
  TestRequest old(BlockOp::kWrite, 0, kSub, 1);
  ASSERT_TRUE(old.Run(volume, plane.loop(0)).ok());
  faulty->Set({{.op = DiskOp::kWrite, .kind = FaultKind::kHang, .times = 1}});
  TestRequest write(BlockOp::kWrite, kSub, kSub, 2);
  write.Submit(volume, plane.loop(0));
  TestRequest trim(BlockOp::kTrim, 0, kSub);
  trim.Submit(volume, plane.loop(0));
  // Planned behind the trim on the same loop.
  TestRequest read(BlockOp::kRead, 0, kSub);
  ASSERT_TRUE(read.Run(volume, plane.loop(0)).ok());
  EXPECT_EQ(static_cast<unsigned>(read.data[0]), 1u) << "the trim gave up a cluster that a write was using";
  faulty->Set({});
  ASSERT_TRUE(write.Wait().ok());
  ASSERT_TRUE(trim.Wait().ok());
  std::vector<std::byte> all = ReadAll(volume, plane.loop(0));
  EXPECT_EQ(static_cast<unsigned>(all[0]), 0u);
  EXPECT_EQ(static_cast<unsigned>(all[kSub]), 2u);
}

TEST_P(VolumeTest, HoldWaitsForAWriteUnderWay) {
  PoolOptionsForTest options = Options();
  std::shared_ptr<FaultDisk> faulty = BehindFaults(&options);
  ControlPlaneForTest plane(options);
  Volume& volume = plane.OpenVolume(kMiB, true);
  faulty->Set({{.op = DiskOp::kWrite, .kind = FaultKind::kHang, .times = 1}});
  TestRequest write(BlockOp::kWrite, 0, kSub, 1);
  write.Submit(volume, plane.loop(0));
  // Planned behind the write on the same loop.
  TestRequest read(BlockOp::kRead, 0, kSub);
  ASSERT_TRUE(read.Run(volume, plane.loop(0)).ok());
  std::promise<void> held;
  std::future<void> is_held = held.get_future();
  volume.Hold([&held] { held.set_value(); });
  EXPECT_NE(is_held.wait_for(std::chrono::seconds(0)), std::future_status::ready) << "the write would change a frozen layer";
  faulty->Set({});
  ASSERT_TRUE(write.Wait().ok());
  is_held.wait();
  volume.Unhold();
}

TEST_P(VolumeTest, FlushSyncsOverwritesInPlace) {
  PoolOptionsForTest options = Options();
  std::shared_ptr<FaultDisk> faulty = BehindFaults(&options);
  options.window_ms = 3'600'000;  // no round but the flushes'
  ControlPlaneForTest plane(options);
  Volume& volume = plane.OpenVolume(kMiB, true);
  TestRequest write(BlockOp::kWrite, 0, 4096, 1);
  write.request.fua = true;
  ASSERT_TRUE(write.Run(volume, plane.loop(0)).ok());
  TestRequest over(BlockOp::kWrite, 0, 4096, 2);
  ASSERT_TRUE(over.Run(volume, plane.loop(1)).ok());
  faulty->Set({{.op = DiskOp::kSync, .times = 1}});
  TestRequest flush(BlockOp::kFlush, 0, 0);
  EXPECT_EQ(flush.Run(volume, plane.loop(0)).error(), EIO) << "the flush met no sync";
}

TEST_P(VolumeTest, HugeDiscardOfAnEmptyVolumeIsQuick) {
  ControlPlaneForTest plane(Options());
  Volume& volume = plane.OpenVolume(uint64_t{1} << 50, true);
  TestRequest trim(BlockOp::kTrim, 0, uint64_t{1} << 50);
  ASSERT_TRUE(trim.Run(volume, plane.loop(0)).ok());
  TestRequest status(BlockOp::kBlockStatus, 0, uint64_t{1} << 50);
  ASSERT_TRUE(status.Run(volume, plane.loop(0)).ok());
  ASSERT_EQ(status.request.extents.size(), 1u);
  EXPECT_EQ(status.request.extents[0].length, uint64_t{1} << 50);
}

}  // namespace
}  // namespace varve
