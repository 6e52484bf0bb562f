// Goal: what leaves a volume is the volume, byte for byte, and a difference is found wherever it is.
// Method: ranges of a sparse target in memory, copied to a disk that held something else, compared, then damaged.
#include "volume/copy_out.h"

#include <random>

#include "io/fault_disk.h"
#include "io/memory_disk.h"
#include "test/loop_fixture.h"
#include "test/memory_target.h"

namespace varve {
namespace {

constexpr uint64_t kSizeBytes = 5 << 20;  // no multiple of what is copied at a time and of its lanes

class CopyOutTest : public testing::Test {
 protected:
  void SetUp() override {
    for (uint64_t at : {uint64_t{0}, uint64_t{700000}, uint64_t{3 << 20}, kSizeBytes - 4096}) Put(at, 4096 + at % 200000);
  }

  // Random bytes, in the target and in the model.
  void Put(uint64_t offset, uint64_t bytes) {
    bytes = std::min(bytes, kSizeBytes - offset);
    for (uint64_t i = 0; i < bytes; i++) model[offset + i] = static_cast<uint8_t>(random());
    BlockRequest request;
    request.op = BlockOp::kWrite;
    request.offset = offset;
    request.length = bytes;
    request.data = reinterpret_cast<std::byte*>(&model[offset]);
    request.loop = &*loop;
    EXPECT_TRUE(Await(*loop, [&](Completion* done) {
                  request.done = done;
                  source->Submit(&request);
                }).ok());
  }

  Status Copy(CopyOutMode mode, uint64_t offset = 0, uint64_t bytes = kSizeBytes) {
    std::promise<Status> end;
    CopyOut::Start(&*loop, {source, disk, offset, bytes, mode}, [&end](Status status) { end.set_value(status); });
    return end.get_future().get();
  }

  std::mt19937 random{7};
  RunningLoop loop{LoopBackend::kAuto};
  std::shared_ptr<MemoryTarget> source = std::make_shared<MemoryTarget>(kSizeBytes);
  std::shared_ptr<MemoryDisk> memory = std::make_shared<MemoryDisk>(kSizeBytes);
  std::shared_ptr<FaultDisk> disk = std::make_shared<FaultDisk>(memory);
  Bytes model = Bytes(kSizeBytes, 0);
};

TEST_F(CopyOutTest, NothingOfWhatTheDiskHeldIsLeft) {
  EXPECT_TRUE(WriteDisk(*loop, *memory, 0, Bytes(kSizeBytes, 0xee)).ok());
  EXPECT_TRUE(Copy(CopyOutMode::kCopyAll).ok());
  EXPECT_TRUE(Content(*loop, *memory, 0, kSizeBytes) == model);
  EXPECT_TRUE(Copy(CopyOutMode::kCompare).ok());
}

TEST_F(CopyOutTest, ADiskThatIsZeroGetsTheDataOnly) {
  disk->Set({{.op = DiskOp::kZero, .error = EIO}});
  EXPECT_TRUE(Copy(CopyOutMode::kCopyData).ok());
  EXPECT_TRUE(Content(*loop, *memory, 0, kSizeBytes) == model);
}

TEST_F(CopyOutTest, TouchesItsRangeOnly) {
  EXPECT_TRUE(WriteDisk(*loop, *memory, 0, Bytes(kSizeBytes, 0xee)).ok());
  EXPECT_TRUE(Copy(CopyOutMode::kCopyAll, 123456, 777777).ok());
  Bytes expected(kSizeBytes, 0xee);
  std::copy_n(model.begin() + 123456, 777777, expected.begin() + 123456);
  EXPECT_TRUE(Content(*loop, *memory, 0, kSizeBytes) == expected);
}

TEST_F(CopyOutTest, ADifferenceIsFoundInDataAndInHoles) {
  EXPECT_TRUE(Copy(CopyOutMode::kCopyData).ok());
  for (uint64_t at : {uint64_t{0}, uint64_t{1 << 20}, kSizeBytes - 1}) {
    EXPECT_TRUE(WriteDisk(*loop, *memory, at, Bytes{static_cast<uint8_t>(model[at] + 1)}).ok());
    EXPECT_EQ(Copy(CopyOutMode::kCompare).error(), EILSEQ) << at;
    EXPECT_TRUE(WriteDisk(*loop, *memory, at, Bytes{model[at]}).ok());
  }
  EXPECT_TRUE(Copy(CopyOutMode::kCompare).ok());
}

TEST_F(CopyOutTest, AnErrorOfTheDiskEndsIt) {
  disk->Set({{.op = DiskOp::kWrite, .error = ENOSPC, .after = 1}});
  EXPECT_EQ(Copy(CopyOutMode::kCopyData).error(), ENOSPC);
  disk->Set({});
  EXPECT_TRUE(Copy(CopyOutMode::kCopyData).ok());
  disk->Set({{.op = DiskOp::kRead, .error = EIO, .after = 2}});
  EXPECT_EQ(Copy(CopyOutMode::kCompare).error(), EIO);
}

}  // namespace
}  // namespace varve
