// Goal: copies arrive whole, and spare guests when they are to: small pieces, one at a time, each sent on its way before the next. A disk that has
//   left the pool is not read.
// Method: a memory disk that logs what it is asked for, below the real wrappers of a pool's disks.
#include "volume/cluster_copy.h"

#include "io/leased_disk.h"
#include "io/memory_disk.h"
#include "io/patient_disk.h"
#include "test/loop_fixture.h"
#include "test/volume_fixture.h"

namespace varve {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kFrom = 4 * kMiB, kTo = 12 * kMiB, kCopied = 3 * kMiB + 4096;

struct Asked {
  char what;  // r, w, b
  uint64_t offset;
  uint64_t bytes;
  bool operator==(const Asked&) const = default;
};

class LoggingDisk final : public Disk {
 public:
  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override {
    Log({'r', offset, iov->iov_len});
    memory_.Read(loop, offset, iov, count, done);
  }
  void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override {
    Log({'w', offset, iov->iov_len});
    memory_.Write(loop, offset, iov, count, done);
  }
  void Sync(EventLoop& loop, Completion* done) override { memory_.Sync(loop, done); }
  void Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override {
    memory_.Discard(loop, offset, bytes, done);
  }
  void WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override {
    memory_.WriteZeroes(loop, offset, bytes, done);
  }
  void WriteBack(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override {
    Log({'b', offset, bytes});
    memory_.WriteBack(loop, offset, bytes, done);
  }
  uint64_t size_bytes() const override { return memory_.size_bytes(); }

  std::vector<Asked> TakeLog() {
    std::lock_guard lock(mutex_);
    return std::exchange(log_, {});
  }

 private:
  void Log(const Asked& asked) {
    std::lock_guard lock(mutex_);
    log_.push_back(asked);
  }
  MemoryDisk memory_{32 * kMiB};
  std::mutex mutex_;
  std::vector<Asked> log_;
};

class ClusterCopyTest : public testing::Test {
 protected:
  ~ClusterCopyTest() override { plane_.reset(); }

  // What the disk is asked for meanwhile.
  std::vector<Asked> Copy(bool gentle) {
    plane_->pool().SetGentleCopies(gentle);
    Bytes content(kCopied);
    for (size_t i = 0; i < content.size(); i++) content[i] = static_cast<uint8_t>(i * 31 >> 3);
    EventLoop& on = plane_->loop(0);
    EXPECT_TRUE(WriteDisk(on, *disk_, kFrom, content).ok());
    disk_->TakeLog();
    std::promise<Status> ended;
    ClusterCopy::Start(&plane_->pool(), &plane_->pool(), &on, {{0, kFrom, 0, kTo, kCopied}},
                       [&ended](Status status) { ended.set_value(status); });
    EXPECT_TRUE(ended.get_future().get().ok());
    std::vector<Asked> log = disk_->TakeLog();
    EXPECT_TRUE(Content(on, *disk_, kTo, kCopied) == content);
    return log;
  }

  RunningLoop home_{LoopBackend::kAuto};
  std::shared_ptr<LoggingDisk> disk_ = std::make_shared<LoggingDisk>();
  std::unique_ptr<ControlPlaneForTest> plane_ = std::make_unique<ControlPlaneForTest>(PoolOptionsForTest{
      .clusters = 16,
      .disk = std::make_shared<LeasedDisk>(PatientDisk::Create(disk_, &*home_, {}, [](const DiskCondition&) {})),
      .ring_disk = std::make_shared<MemoryDisk>(4 * kMiB)});
};

TEST_F(ClusterCopyTest, GentleOneIsWrittenBackPieceByPiece) {
  std::vector<Asked> expected;
  for (uint64_t at = 0; at < kCopied; at += 65536) {
    const uint64_t bytes = std::min<uint64_t>(65536, kCopied - at);
    expected.insert(expected.end(), {{'r', kFrom + at, bytes}, {'w', kTo + at, bytes}, {'b', kTo + at, bytes}});
  }
  EXPECT_TRUE(Copy(true) == expected);
}

TEST_F(ClusterCopyTest, FreeOneIsLeftToTheNextSync) {
  uint64_t written = 0;
  for (const Asked& asked : Copy(false)) {
    EXPECT_NE(asked.what, 'b');
    if (asked.what == 'w') written += asked.bytes;
  }
  EXPECT_EQ(written, kCopied);
}

TEST_F(ClusterCopyTest, FromADiskThatHasLeftIsTold) {
  Pool& pool = plane_->pool();
  pool.AddDisk(7, std::make_shared<MemoryDisk>(kMiB));
  std::promise<void> removed;
  pool.RemoveDisk(7, [&removed] { removed.set_value(); });
  removed.get_future().wait();
  std::promise<Status> ended;
  ClusterCopy::Start(&pool, &pool, &plane_->loop(0), {{7, 0, 0, kTo, 4096}}, [&ended](Status status) { ended.set_value(status); });
  EXPECT_EQ(ended.get_future().get().error(), ENODEV);
}

}  // namespace
}  // namespace varve
