// Goal: a latency is found in the histogram at no less than what it was and at most an eighth more; kinds and loops are kept apart and summed.
// Method: latencies around every power of two; a pool of two loops that serves requests which say that a guest waits for them, and others.
#include <gtest/gtest.h>

#include <numeric>

#include "test/nbd_manual_loop.h"
#include "test/volume_fixture.h"
#include "volume/latencies.h"

namespace varve {
namespace {

// From a bucket on.
uint64_t Count(const Latencies& latencies, Latencies::Kind kind, size_t from = 0) {
  const std::array<uint64_t, Latencies::kBuckets> counts = latencies.Read().counts[static_cast<size_t>(kind)];
  return std::accumulate(counts.begin() + static_cast<ptrdiff_t>(from), counts.end(), uint64_t{0});
}

TEST(LatenciesTest, BucketsHoldWhatTheirBoundsSay) {
  for (unsigned power = 10; power < 37; power++) {
    for (int64_t beside : {-1, 0, 1, 1 << 9, 777}) {
      const uint64_t nanoseconds = (uint64_t{1} << power) + static_cast<uint64_t>(beside);
      const double seconds = static_cast<double>(nanoseconds) * 1e-9;
      const double bound = Latencies::BoundSeconds(Latencies::BucketOf(nanoseconds));
      EXPECT_GT(bound, seconds) << nanoseconds;
      EXPECT_LE(bound, seconds * 1.125 + 1024e-9) << nanoseconds;
    }
  }
  EXPECT_EQ(Latencies::BucketOf(0), 0u);
  EXPECT_EQ(Latencies::BucketOf(UINT64_MAX), Latencies::kBuckets - 1);
  for (size_t i = 1; i < Latencies::kBuckets; i++) EXPECT_GT(Latencies::BoundSeconds(i), Latencies::BoundSeconds(i - 1));
}

TEST(LatenciesTest, RowsOfAllLoopsAreSummedByKind) {
  ManualLoop loops[2];
  loops[1].ordinal = 1;
  Latencies latencies({&loops[0], &loops[1]});
  for (ManualLoop& loop : loops) {
    for (bool fua : {false, true}) {
      for (BlockOp op : {BlockOp::kRead, BlockOp::kWrite, BlockOp::kTrim, BlockOp::kFlush}) {
        BlockRequest request;
        request.op = op;
        request.fua = fua && op != BlockOp::kRead;
        request.loop = &loop;
        latencies.Add(request, 5000);
      }
    }
  }
  EXPECT_EQ(Count(latencies, Latencies::Kind::kRead), 4u);
  EXPECT_EQ(Count(latencies, Latencies::Kind::kWrite), 4u);
  EXPECT_EQ(Count(latencies, Latencies::Kind::kFlush), 8u);
  EXPECT_EQ(latencies.Read().counts[0][Latencies::BucketOf(5000)], 4u);
  EXPECT_EQ(latencies.Read().nanoseconds[0], 4u * 5000);
}

TEST(LatenciesTest, OnlyWhatAGuestWaitsForIsCounted) {
  ControlPlaneForTest plane({});
  Volume& volume = plane.OpenVolume(1 << 20, true);
  for (bool guest : {true, false}) {
    for (BlockOp op : {BlockOp::kWrite, BlockOp::kRead, BlockOp::kFlush}) {
      TestRequest request(op, 0, op == BlockOp::kFlush ? 0 : 4096);
      request.request.guest_waits = guest;
      EXPECT_TRUE(request.Run(volume, plane.loop(guest ? 0 : 1)).ok());
    }
  }
  plane.CloseVolume();
  const Latencies& latencies = plane.pool().latencies();
  EXPECT_EQ(Count(latencies, Latencies::Kind::kWrite), 1u);
  EXPECT_EQ(Count(latencies, Latencies::Kind::kRead), 1u);
  EXPECT_EQ(Count(latencies, Latencies::Kind::kFlush), 1u);
}

// What a busy loop found only behind its work had waited for it. The work is long beside what a processor may be late.
TEST(LatenciesTest, TimeThatALoopHadNoEyesForARequestCounts) {
  ControlPlaneForTest plane({});
  Volume& volume = plane.OpenVolume(1 << 20, true);
  constexpr auto kBusy = std::chrono::milliseconds(200);
  std::promise<void> begun, submitted;
  plane.loop(0).Post([&] {
    begun.set_value();
    submitted.get_future().wait();
    std::this_thread::sleep_for(kBusy);
  });
  begun.get_future().wait();
  TestRequest request(BlockOp::kRead, 0, 4096);
  request.request.guest_waits = true;
  request.Submit(volume, plane.loop(0));
  submitted.set_value();
  EXPECT_TRUE(request.Wait().ok());
  plane.CloseVolume();
  const size_t least = Latencies::BucketOf(std::chrono::nanoseconds(kBusy).count());
  EXPECT_EQ(Count(plane.pool().latencies(), Latencies::Kind::kRead, least), 1u);
}

}  // namespace
}  // namespace varve
