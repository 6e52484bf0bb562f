// Goal: nothing of a pool reaches its disks at a moment at which its lease does not hold, and nothing is lost by waiting.
// Method: a leased disk on a memory disk, with leases that hold for an hour or ran out long ago; the loop is held
//   up for longer than an operation may be on its way.
#include "io/leased_disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <thread>

#include "io/file_disk.h"
#include "io/memory_disk.h"
#include "test/loop_fixture.h"

namespace varve {
namespace {

constexpr uint64_t kSizeBytes = 1 << 20;
constexpr uint64_t kAt = LeasedDisk::kLabelAreaBytes;
constexpr uint64_t kHourNs = 3'600'000'000'000;

uint64_t Later() { return BootNanoseconds() + kHourNs; }

// An operation that is to wait.
struct Waiting {
  CallCompletion done{[this](Status status) { ended.set_value(status); }};
  std::promise<Status> ended;
  std::future<Status> future = ended.get_future();
  iovec piece{};
};

// Whether it has ended, after everything on the loop had its turn.
bool Ended(EventLoop& loop, Waiting& waiting) {
  RunOn(loop, [] {});
  RunOn(loop, [] {});
  return waiting.future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

class LeasedDiskTest : public testing::TestWithParam<LoopBackend> {
 protected:
  bool Ended(Waiting& waiting) { return varve::Ended(*loop, waiting); }
  void StartWrite(Waiting* waiting, const Bytes& data, uint64_t offset = kAt) {
    waiting->piece = {const_cast<uint8_t*>(data.data()), data.size()};
    RunOn(*loop, [&] { disk.Write(*loop, offset, &waiting->piece, 1, &waiting->done); });
  }
  Bytes Below(uint64_t offset = kAt) { return Content(*loop, *below, offset, 4096); }
  Status WriteLabel(uint64_t until_ns, uint8_t value) {
    Bytes label(4096, value);
    iovec piece{label.data(), label.size()};
    return Await(*loop, [&](Completion* done) { disk.WriteLabel(*loop, 0, &piece, until_ns, done); });
  }

  RunningLoop loop{GetParam()};
  std::shared_ptr<Disk> below = std::make_shared<MemoryDisk>(kSizeBytes);
  LeasedDisk disk{below};
  Bytes ones = Bytes(4096, 1);
  Bytes twos = Bytes(4096, 2);
};

TEST_P(LeasedDiskTest, PassesWithoutALeaseAndWithOneThatHolds) {
  EXPECT_TRUE(WriteDisk(*loop, disk, kAt, ones).ok());
  disk.SetLease(std::make_shared<Lease>(Later()));
  EXPECT_TRUE(WriteDisk(*loop, disk, kAt, twos).ok());
  EXPECT_EQ(Content(*loop, disk, kAt, 4096), twos);
  EXPECT_TRUE(SyncDisk(*loop, disk).ok());
  EXPECT_TRUE(ZeroDisk(*loop, disk, kAt, 4096).ok());
  EXPECT_TRUE(DiscardDisk(*loop, disk, kAt, 4096).ok());
}

TEST_P(LeasedDiskTest, HoldsEverythingUntilTheLeaseIsRenewed) {
  auto lease = std::make_shared<Lease>(0);
  disk.SetLease(lease);
  Waiting write, read, sync, zero, discard;
  StartWrite(&write, ones);
  Bytes found(4096, 9);
  read.piece = {found.data(), found.size()};
  RunOn(*loop, [&] {
    disk.Sync(*loop, &sync.done);
    disk.WriteZeroes(*loop, 2 * kAt, 4096, &zero.done);
    disk.Discard(*loop, 3 * kAt, 4096, &discard.done);
  });
  for (Waiting* waiting : {&write, &sync, &zero, &discard}) EXPECT_FALSE(Ended(*waiting));
  EXPECT_EQ(Below(), Bytes(4096, 0));
  RunOn(*loop, [&] { disk.Read(*loop, kAt, &read.piece, 1, &read.done); });
  EXPECT_FALSE(Ended(read));

  lease->Renew(Later());
  for (Waiting* waiting : {&write, &read, &sync, &zero, &discard}) EXPECT_TRUE(waiting->future.get().ok());
  EXPECT_EQ(Below(), ones);
  EXPECT_EQ(write.done.runs, 1);
}

TEST_P(LeasedDiskTest, AnEarlierHeartbeatTakesNothingAway) {
  auto lease = std::make_shared<Lease>(Later());
  lease->Renew(1);
  EXPECT_TRUE(lease->Holds());
}

TEST_P(LeasedDiskTest, RunsOutByItself) {
  auto lease = std::make_shared<Lease>(BootNanoseconds() + 20'000'000);
  disk.SetLease(lease);
  while (lease->Holds()) std::this_thread::yield();
  Waiting write;
  StartWrite(&write, ones);
  EXPECT_FALSE(Ended(write));
  EXPECT_EQ(Below(), Bytes(4096, 0));
  lease->Finish(Lease::End::kFenced);
  EXPECT_EQ(write.future.get().error(), EIO);
}

TEST_P(LeasedDiskTest, FencedRefusesEverything) {
  auto lease = std::make_shared<Lease>(0);
  disk.SetLease(lease);
  Waiting write;
  StartWrite(&write, ones);
  lease->Finish(Lease::End::kFenced);
  EXPECT_EQ(write.future.get().error(), EIO);
  lease->Renew(Later());  // a heartbeat that was under way
  lease->Finish(Lease::End::kFailed);
  EXPECT_EQ(WriteDisk(*loop, disk, kAt, ones).error(), EIO);
  EXPECT_EQ(SyncDisk(*loop, disk).error(), EIO);
  EXPECT_EQ(ZeroDisk(*loop, disk, kAt, 4096).error(), EIO);
  EXPECT_EQ(DiscardDisk(*loop, disk, kAt, 4096).error(), EIO);
  Bytes found(4096);
  EXPECT_EQ(ReadDisk(*loop, disk, kAt, &found).error(), EIO);
  EXPECT_EQ(Below(), Bytes(4096, 0));
}

TEST_P(LeasedDiskTest, AFailedPoolIsStillRead) {
  auto lease = std::make_shared<Lease>(0);
  disk.SetLease(lease);
  lease->Finish(Lease::End::kFailed);
  EXPECT_EQ(WriteDisk(*loop, disk, kAt, ones).error(), EIO);
  EXPECT_EQ(Content(*loop, disk, kAt, 4096), Bytes(4096, 0));
}

TEST_P(LeasedDiskTest, LabelsHaveATimeLimitOfTheirOwn) {
  disk.SetLease(std::make_shared<Lease>(0));
  EXPECT_TRUE(WriteLabel(Later(), 7).ok());
  EXPECT_EQ(Content(*loop, disk, 0, 4096), Bytes(4096, 7));
  EXPECT_EQ(WriteLabel(1, 8).error(), ETIME);
  EXPECT_EQ(Below(0), Bytes(4096, 7));
}

// As a process that was stopped between the look at the clock and the system call at the end of the turn. (The other
// backend's helpers begin beside the turn.)
TEST(LeasedFile, AChangeHeldUpOnItsWayDoesNotReachTheFile) {
  RunningLoop loop(LoopBackend::kUring);
  char path[] = "/tmp/varve-leased-XXXXXX";
  int fd = mkstemp(path);
  ASSERT_EQ(ftruncate(fd, kSizeBytes), 0);
  const Bytes before(512 * 1024, 1);
  ASSERT_EQ(pwrite(fd, before.data(), before.size(), kAt), static_cast<ssize_t>(before.size()));
  std::shared_ptr<Disk> file;
  ASSERT_TRUE(OpenFileDisk(path, false, &file).ok());
  LeasedDisk leased(file);
  auto lease = std::make_shared<Lease>(BootNanoseconds() + EventLoop::kEnterKernelMaxNs / 2);
  leased.SetLease(lease);
  // Zeroes of that length are the kernel's to make, so that it is queued.
  Waiting zero;
  RunOn(*loop, [&] {
    leased.WriteZeroes(*loop, kAt, before.size(), &zero.done);
    const uint64_t from = BootNanoseconds();
    while (BootNanoseconds() - from < EventLoop::kEnterKernelMaxNs * 3 / 2) std::this_thread::yield();
  });
  EXPECT_FALSE(Ended(*loop, zero));
  Bytes found(4096);
  ASSERT_EQ(pread(fd, found.data(), found.size(), kAt), 4096);
  EXPECT_EQ(found, Bytes(4096, 1));

  lease->Renew(Later());
  EXPECT_TRUE(zero.future.get().ok());
  ASSERT_EQ(pread(fd, found.data(), found.size(), kAt), 4096);
  EXPECT_EQ(found, Bytes(4096, 0));
  close(fd);
  unlink(path);
}

INSTANTIATE_TEST_SUITE_P(Backends, LeasedDiskTest, testing::Values(LoopBackend::kUring, LoopBackend::kEpoll),
                         [](const auto& info) { return info.param == LoopBackend::kUring ? "uring" : "epoll"; });

}  // namespace
}  // namespace varve
