// Goal: a passthrough export serves exactly its disk: every byte, every flush, no success that the disk did not give.
// Method: requests straight at the target, on a real file and on a disk that fails on demand.
#include "volume/disk_target.h"

#include <cstring>

#include "io/fault_disk.h"
#include "io/memory_disk.h"
#include "test/loop_fixture.h"

namespace varve {
namespace {

constexpr uint64_t kSizeBytes = 4 << 20;

class DiskTargetTest : public testing::Test {
 protected:
  // Submits and waits; `request` holds what the target answered.
  Status Run(BlockOp op, uint64_t offset, uint64_t length, bool fua = false) {
    request = BlockRequest();
    request.op = op;
    request.fua = fua;
    request.offset = offset;
    request.length = length;
    buffer.resize(length, 0x5a);
    request.data = reinterpret_cast<std::byte*>(buffer.data());
    request.loop = &*loop;
    return Await(*loop, [&](Completion* done) {
      request.done = done;
      target.Submit(&request);
    });
  }

  Status Write(uint64_t offset, Bytes bytes, bool fua = false) {
    buffer = std::move(bytes);
    return Run(BlockOp::kWrite, offset, buffer.size(), fua);
  }

  RunningLoop loop{LoopBackend::kAuto};
  std::shared_ptr<MemoryDisk> memory = std::make_shared<MemoryDisk>(kSizeBytes);
  std::shared_ptr<FaultDisk> disk = std::make_shared<FaultDisk>(memory);
  DiskTarget target{disk};
  BlockRequest request;
  Bytes buffer;
};

TEST_F(DiskTargetTest, WritesLandOnTheDiskAndAreReadBack) {
  const Bytes data{1, 2, 3, 4, 5};
  EXPECT_TRUE(Write(kSizeBytes - 5, data).ok());
  EXPECT_EQ(Content(*loop, *memory, kSizeBytes - 5, 5), data);
  buffer.clear();
  EXPECT_TRUE(Run(BlockOp::kRead, kSizeBytes - 5, 5).ok());
  EXPECT_EQ(buffer, data);
  ASSERT_EQ(request.extents.size(), 1u);
  EXPECT_EQ(request.extents[0].length, 5u);
  EXPECT_EQ(request.extents[0].flags, 0u);
  EXPECT_EQ(target.size_bytes(), kSizeBytes);
}

TEST_F(DiskTargetTest, ZeroesAndTrims) {
  EXPECT_TRUE(Write(0, Bytes(300000, 7)).ok());
  EXPECT_TRUE(Run(BlockOp::kWriteZeroes, 1000, 200000).ok());
  Bytes expected(300000, 7);
  std::fill_n(expected.begin() + 1000, 200000, 0);
  EXPECT_TRUE(Content(*loop, *memory, 0, 300000) == expected);
  EXPECT_TRUE(Run(BlockOp::kTrim, 0, kSizeBytes, true).ok());
  EXPECT_TRUE(Run(BlockOp::kCache, 0, kSizeBytes).ok());
}

// What is answered with FUA, and a flush, depends on a sync of the disk.
TEST_F(DiskTargetTest, DurableMeansSynced) {
  for (BlockOp op : {BlockOp::kWrite, BlockOp::kWriteZeroes, BlockOp::kTrim}) {
    auto failing = std::make_shared<FaultDisk>(memory);
    DiskTarget broken(failing);
    failing->Set({{.op = DiskOp::kSync, .error = ENOSPC, .times = 1}});
    request = BlockRequest();
    request.op = op;
    request.length = 4096;
    buffer.resize(4096);
    request.data = reinterpret_cast<std::byte*>(buffer.data());
    request.loop = &*loop;
    auto submit = [&](Completion* done) {
      request.done = done;
      broken.Submit(&request);
    };
    EXPECT_TRUE(Await(*loop, submit).ok());
    request.fua = true;
    EXPECT_EQ(Await(*loop, submit).error(), ENOSPC);
    request.op = BlockOp::kFlush;
    EXPECT_EQ(Await(*loop, submit).error(), EIO);
  }
}

TEST_F(DiskTargetTest, ErrorsOfTheDiskAreTheClients) {
  disk->Set({{.op = DiskOp::kRead, .error = EIO}});
  EXPECT_EQ(Run(BlockOp::kRead, 0, 512).error(), EIO);
  disk->Set({{.op = DiskOp::kWrite, .error = ENOSPC}});
  // A write that failed is not synced into a success.
  EXPECT_EQ(Write(0, Bytes(512), true).error(), ENOSPC);
}

// Data and holes in turn, from the first to the last byte asked for.
class HoledDisk final : public Disk {
 public:
  void Read(EventLoop& loop, uint64_t, const iovec*, int, Completion* done) override { loop.Complete(done, Status::Ok()); }
  void Write(EventLoop& loop, uint64_t, const iovec*, int, Completion* done) override { loop.Complete(done, Status::Ok()); }
  void Sync(EventLoop& loop, Completion* done) override { loop.Complete(done, Status::Ok()); }
  void Discard(EventLoop& loop, uint64_t, uint64_t, Completion* done) override { loop.Complete(done, Status::Ok()); }
  void WriteZeroes(EventLoop& loop, uint64_t, uint64_t, Completion* done) override { loop.Complete(done, Status::Ok()); }
  void FindData(EventLoop& loop, DataSearch* search, Completion* done) override {
    search->runs = {{search->offset, 100}, {search->offset + 200, 300}};
    search->bytes = 600;
    loop.Complete(done, Status::Ok());
  }
  uint64_t size_bytes() const override { return kSizeBytes; }
};

TEST_F(DiskTargetTest, TellsWhatTheDiskKnowsOfItsHoles) {
  DiskTarget holed(std::make_shared<HoledDisk>());
  request.op = BlockOp::kBlockStatus;
  request.offset = 4096;
  request.length = 65536;
  request.loop = &*loop;
  auto submit = [&](Completion* done) {
    request.done = done;
    holed.Submit(&request);
  };
  EXPECT_TRUE(Await(*loop, submit).ok());
  const Extent expected[] = {{100, 0}, {100, 3}, {300, 0}, {100, 3}};
  ASSERT_EQ(request.extents.size(), 4u);
  for (size_t i = 0; i < 4; i++) {
    EXPECT_EQ(request.extents[i].length, expected[i].length) << i;
    EXPECT_EQ(request.extents[i].flags, expected[i].flags) << i;
  }
  request.extents.clear();
  request.extents_max = 1;
  EXPECT_TRUE(Await(*loop, submit).ok());
  EXPECT_EQ(request.extents.size(), 1u);
}

}  // namespace
}  // namespace varve
