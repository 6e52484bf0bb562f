// Goal: every disk keeps the contract of io/disk.h on every event loop.
// Method: one suite, run on each disk x each loop. The block device is a loop device on a
// temporary file; it is skipped, saying so, where losetup is not allowed. NFS disks are files on a real server.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>

#include "io/fault_disk.h"
#include "io/file_disk.h"
#include "io/memory_disk.h"
#include "io/nfs_disk.h"
#include "io/patient_disk.h"
#include "io/recording_disk.h"
#include "io/unique_fd.h"
#include "test/ganesha.h"
#include "test/loop_fixture.h"
#include "test/nfs_opening.h"
#include "test/tgt_server.h"

namespace varve {
namespace {

constexpr uint64_t kSizeBytes = 8 << 20;

// A sparse file that is removed at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(uint64_t size_bytes) {
    path_ = (std::filesystem::temp_directory_path() / "varve-disk-XXXXXX").string();
    UniqueFd file(mkstemp(path_.data()));
    EXPECT_TRUE(file.valid());
    EXPECT_EQ(ftruncate(file.get(), static_cast<off_t>(size_bytes)), 0);
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A loop device on a file; path() is empty where it cannot be had.
class LoopDevice {
 public:
  explicit LoopDevice(const std::string& file) {
    if (geteuid() != 0) return;
    FILE* losetup = popen(("losetup --find --show " + file + " 2>/dev/null").c_str(), "r");
    char line[256] = "";
    if (losetup && fgets(line, sizeof line, losetup)) path_ = std::string(line, strcspn(line, "\n"));
    if (losetup) pclose(losetup);
  }
  ~LoopDevice() {
    if (path_.empty()) return;
    EXPECT_EQ(system(("losetup --detach " + path_).c_str()), 0);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// One target for all, with a new LUN for each test.
TgtServer& SharedTarget() {
  static TgtServer server;
  return server;
}

enum class Kind { kFile, kBlockDevice, kMemory, kRecording, kFault, kIscsi, kIscsiThin, kNfs3, kNfs4, kPatient };

struct Case {
  Kind kind;
  LoopBackend backend;
};

std::string Name(const testing::TestParamInfo<Case>& info) {
  static const char* const kinds[] = {"file",  "block_device",  "memory", "recording", "fault",
                                      "iscsi", "iscsi_thin_4k", "nfs3",   "nfs4", "patient"};
  std::string loop = info.param.backend == LoopBackend::kUring ? "uring" : "epoll";
  return std::string(kinds[static_cast<int>(info.param.kind)]) + "_" + loop;
}

class DiskContract : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().kind == Kind::kBlockDevice) {
      device_ = std::make_unique<LoopDevice>(file_.path());
      if (device_->path().empty()) GTEST_SKIP() << "block device: losetup needs root and a loop device";
    }
    disk = Open();
  }
  void TearDown() override {
    disk.reset();
    // What a disk on the network leaves to its loop.
    for (int turn = 0; turn < 3; ++turn) RunOn(*loop, [] {});
    device_.reset();
  }

  std::string path() const { return device_ ? device_->path() : file_.path(); }

  std::shared_ptr<Disk> Open() {
    switch (GetParam().kind) {
      case Kind::kMemory: return std::make_shared<MemoryDisk>(kSizeBytes);
      case Kind::kRecording: return std::make_shared<RecordingDisk>(kSizeBytes);
      case Kind::kFault: return std::make_shared<FaultDisk>(std::make_shared<MemoryDisk>(kSizeBytes));
      case Kind::kIscsi: return OpenLun({.size_bytes = kSizeBytes});
      case Kind::kIscsiThin: return OpenLun({.size_bytes = kSizeBytes, .block_bytes = 4096, .thin = true});
      case Kind::kNfs3: return OpenNfs(3);
      case Kind::kNfs4: return OpenNfs(4);
      case Kind::kPatient:
        return PatientDisk::Create(std::make_shared<MemoryDisk>(kSizeBytes), &*other_loop, {}, [](const DiskCondition&) {});
      default: break;
    }
    std::shared_ptr<Disk> opened;
    Status status = OpenFileDisk(path(), false, &opened);
    EXPECT_TRUE(status.ok()) << status.what() << ": " << strerror(status.error());
    return opened;
  }

  std::shared_ptr<Disk> OpenLun(const TgtServer::Lun& lun) {
    TgtServer& server = SharedTarget();
    OpenResult result = OpenIscsi(*loop, server.Target(server.AddLun(lun)));
    EXPECT_TRUE(result.status.ok()) << result.status.what() << ": " << strerror(result.status.error());
    return result.opened.disk;
  }

  std::shared_ptr<Disk> OpenNfs(int version) {
    static Ganesha server;
    static int files = 0;
    std::string name = "disk-" + std::to_string(++files);
    server.MakeFile(name, kSizeBytes);
    NfsOpening opening = OpenNfsDisk(*loop, server.Address(name, version));
    EXPECT_TRUE(opening.status.ok()) << opening.status.what() << ": " << strerror(opening.status.error());
    return opening.disk;
  }

  RunningLoop loop{GetParam().backend};
  RunningLoop other_loop{GetParam().backend};
  std::shared_ptr<Disk> disk;

 private:
  TemporaryFile file_{kSizeBytes};
  std::unique_ptr<LoopDevice> device_;
};

// Disks that are opened by a path, and what only they promise.
class OpenedDisk : public DiskContract {};

Bytes Pattern(size_t bytes, uint8_t seed) {
  Bytes data(bytes);
  for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<uint8_t>(seed + i * 31 + (i >> 9));
  return data;
}

TEST_P(DiskContract, KnowsItsSize) {
  EXPECT_EQ(disk->size_bytes(), kSizeBytes);
  EXPECT_EQ(MeasureDisk(*loop, *disk), kSizeBytes);
}

TEST_P(DiskContract, ReadsBackWhatWasWrittenAtAnyAlignment) {
  struct { uint64_t offset; size_t bytes; } ranges[] = {
      {0, 4096}, {1, 1}, {511, 3}, {4095, 8193}, {70000, 300001}, {kSizeBytes - 5, 5}, {100, 0},
  };
  for (auto [offset, bytes] : ranges) {
    Bytes data = Pattern(bytes, static_cast<uint8_t>(offset));
    EXPECT_TRUE(WriteDisk(*loop, *disk, offset, data).ok());
    EXPECT_EQ(Content(*loop, *disk, offset, bytes), data) << offset << " + " << bytes;
  }
}

TEST_P(DiskContract, UnwrittenBytesAreZero) {
  EXPECT_TRUE(WriteDisk(*loop, *disk, 5000, Pattern(10, 1)).ok());
  EXPECT_EQ(Content(*loop, *disk, 1 << 20, 65536), Bytes(65536, 0));
  EXPECT_EQ(Content(*loop, *disk, kSizeBytes - 100, 100), Bytes(100, 0));
}

TEST_P(DiskContract, MovesVectors) {
  Bytes data = Pattern(20000, 7), target(20000);
  iovec out[] = {{&data[0], 1}, {&data[1], 0}, {&data[1], 9999}, {&data[10000], 10000}};
  iovec in[] = {{&target[0], 12345}, {&target[12345], 7655}};
  EXPECT_TRUE(Await(*loop, [&](Completion* done) { disk->Write(*loop, 777, out, 4, done); }).ok());
  EXPECT_TRUE(Await(*loop, [&](Completion* done) { disk->Read(*loop, 777, in, 2, done); }).ok());
  EXPECT_EQ(target, data);
}

TEST_P(DiskContract, CompletesOnceOnItsLoopAndNotInsideTheCall) {
  Bytes data(4096, 1);
  iovec piece{data.data(), data.size()};
  bool inside = true, was_inside = false, elsewhere = false;
  std::promise<void> end;
  CallCompletion done([&](Status status) {
    EXPECT_TRUE(status.ok());
    was_inside |= inside;
    elsewhere |= !loop->OnLoopThread();
    if (done.runs == 5) end.set_value();
  });
  loop->Post([&] {
    inside = true;
    disk->Write(*loop, 0, &piece, 1, &done);
    disk->Read(*loop, 65536, &piece, 1, &done);
    disk->Sync(*loop, &done);
    disk->Discard(*loop, 131072, 65536, &done);
    disk->WriteZeroes(*loop, 1 << 20, 1 << 20, &done);
    inside = false;
  });
  end.get_future().wait();
  RunOn(*loop, [] {});
  EXPECT_EQ(done.runs, 5);
  EXPECT_FALSE(was_inside);
  EXPECT_FALSE(elsewhere);
}

TEST_P(DiskContract, CompletedWriteIsSeenFromAnotherLoop) {
  for (uint8_t round = 0; round < 50; ++round) {
    Bytes data = Pattern(6000, round);
    EXPECT_TRUE(WriteDisk(round % 2 ? *loop : *other_loop, *disk, 3000, data).ok());
    EXPECT_EQ(Content(round % 2 ? *other_loop : *loop, *disk, 3000, data.size()), data);
  }
}

// Two loops write disjoint ranges of random sizes all at once; then everything is compared.
TEST_P(DiskContract, ConcurrentWritesOfDisjointRangesAllArrive) {
  unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Bytes model(kSizeBytes / 2);
  for (uint8_t& byte : model) byte = static_cast<uint8_t>(random());
  std::vector<iovec> pieces;
  for (size_t at = 0; at < model.size();) {
    size_t bytes = std::min<size_t>(model.size() - at, 1 + random() % (random() % 20 ? 9000 : 400000));
    pieces.push_back({&model[at], bytes});
    at += bytes;
  }
  std::atomic<size_t> completed = 0;
  std::promise<void> end;
  auto count = [&](Status status) {
    EXPECT_TRUE(status.ok());
    if (++completed == pieces.size()) end.set_value();
  };
  CallCompletion even(count), odd(count);
  auto submit = [&](EventLoop& on, size_t first, CallCompletion* done) {
    for (size_t i = first; i < pieces.size(); i += 2) {
      uint64_t offset = static_cast<uint64_t>(static_cast<uint8_t*>(pieces[i].iov_base) - model.data());
      disk->Write(on, offset, &pieces[i], 1, done);
    }
  };
  loop->Post([&] { submit(*loop, 0, &even); });
  other_loop->Post([&] { submit(*other_loop, 1, &odd); });
  end.get_future().wait();
  RunOn(*loop, [] {});
  RunOn(*other_loop, [] {});
  EXPECT_EQ(Content(*loop, *disk, 0, model.size()), model);
}

TEST_P(DiskContract, ZeroedRangesReadAsZeroAndNothingElseDoes) {
  struct { uint64_t offset, bytes; } ranges[] = {
      {0, 4096}, {513, 5}, {65536, 65536}, {100000, 200001}, {1 << 20, 2 << 20}, {3 << 20, 300 << 10},
  };
  const Bytes pattern = Pattern(4 << 20, 9);
  for (auto [offset, bytes] : ranges) {
    Bytes model = pattern;
    EXPECT_TRUE(WriteDisk(*loop, *disk, 0, model).ok());
    EXPECT_TRUE(ZeroDisk(*loop, *disk, offset, bytes).ok());
    std::fill_n(model.begin() + static_cast<ptrdiff_t>(offset), bytes, 0);
    EXPECT_TRUE(Content(*loop, *disk, 0, model.size()) == model) << offset << " + " << bytes;
  }
}

TEST_P(DiskContract, DiscardTouchesNothingOutsideItsRange) {
  Bytes model = Pattern(2 << 20, 5);
  EXPECT_TRUE(WriteDisk(*loop, *disk, 0, model).ok());
  EXPECT_TRUE(DiscardDisk(*loop, *disk, 65536 + 100, (1 << 20) + 1).ok());
  EXPECT_TRUE(DiscardDisk(*loop, *disk, 10, 3).ok());
  Bytes now = Content(*loop, *disk, 0, model.size());
  EXPECT_TRUE(std::equal(now.begin(), now.begin() + 10, model.begin()));
  EXPECT_TRUE(std::equal(now.begin() + 13, now.begin() + 65636, model.begin() + 13));
  size_t end = 65636 + (1 << 20) + 1;
  EXPECT_TRUE(std::equal(now.begin() + static_cast<ptrdiff_t>(end), now.end(),
                         model.begin() + static_cast<ptrdiff_t>(end)));
  EXPECT_TRUE(WriteDisk(*loop, *disk, 0, model).ok());
  EXPECT_TRUE(Content(*loop, *disk, 0, model.size()) == model);
}

// A hint that changes nothing, also where nothing was written.
TEST_P(DiskContract, WhatIsWrittenBackStaysAsItIs) {
  const Bytes data = Pattern(70000, 5);
  EXPECT_TRUE(WriteDisk(*loop, *disk, 100, data).ok());
  EXPECT_TRUE(Await(*loop, [&](Completion* done) { disk->WriteBack(*loop, 0, kSizeBytes, done); }).ok());
  EXPECT_TRUE(Content(*loop, *disk, 100, data.size()) == data);
  EXPECT_TRUE(SyncDisk(*loop, *disk).ok());
  EXPECT_TRUE(Content(*loop, *disk, 100, data.size()) == data);
}

// Searches on from where each one ended.
std::vector<DataRun> FindAllData(EventLoop& loop, Disk& disk, uint64_t offset, uint64_t end) {
  std::vector<DataRun> runs;
  while (offset < end) {
    DataSearch search{offset, end - offset, {}};
    EXPECT_TRUE(Await(loop, [&](Completion* done) { disk.FindData(loop, &search, done); }).ok());
    EXPECT_GT(search.bytes, 0u);
    runs.insert(runs.end(), search.runs.begin(), search.runs.end());
    offset += search.bytes;
  }
  return runs;
}

TEST_P(DiskContract, WhatIsNotFoundAsDataReadsAsZero) {
  EXPECT_TRUE(WriteDisk(*loop, *disk, 200000, Pattern(5000, 2)).ok());
  EXPECT_TRUE(WriteDisk(*loop, *disk, kSizeBytes - 3, Pattern(3, 2)).ok());
  Bytes content = Content(*loop, *disk, 0, kSizeBytes);
  uint64_t before = 1000;
  for (const DataRun& run : FindAllData(*loop, *disk, 1000, kSizeBytes)) {
    EXPECT_GE(run.offset, before);
    EXPECT_LE(run.offset + run.bytes, kSizeBytes);
    std::fill_n(content.begin() + static_cast<ptrdiff_t>(run.offset), run.bytes, 0);
    before = run.offset + run.bytes;
  }
  EXPECT_TRUE(std::all_of(content.begin(), content.end(), [](uint8_t byte) { return byte == 0; }));
}

TEST_P(DiskContract, SyncsFromManyRequestsAllComplete) {
  constexpr int kSyncs = 40;
  std::atomic<int> completed = 0;
  std::promise<void> end;
  auto count = [&](Status status) {
    EXPECT_TRUE(status.ok());
    if (++completed == 2 * kSyncs) end.set_value();
  };
  CallCompletion here(count), there(count);
  loop->Post([&] { for (int i = 0; i < kSyncs; ++i) disk->Sync(*loop, &here); });
  other_loop->Post([&] { for (int i = 0; i < kSyncs; ++i) disk->Sync(*other_loop, &there); });
  end.get_future().wait();
  RunOn(*loop, [] {});
  RunOn(*other_loop, [] {});
  EXPECT_EQ(here.runs, kSyncs);
  EXPECT_EQ(there.runs, kSyncs);
}

TEST_P(DiskContract, FailedSyncIsFinal) {
  auto faults = std::make_shared<FaultDisk>(disk);
  faults->Set({{.op = DiskOp::kSync, .error = ENOSPC, .times = 1}});
  EXPECT_TRUE(WriteDisk(*loop, *faults, 0, Pattern(100, 1)).ok());
  EXPECT_EQ(SyncDisk(*loop, *faults).error(), ENOSPC);
  EXPECT_EQ(SyncDisk(*other_loop, *faults).error(), EIO);
  EXPECT_EQ(WriteDisk(*loop, *faults, 0, Pattern(100, 2)).error(), EIO);
  EXPECT_EQ(ZeroDisk(*loop, *faults, 0, 100).error(), EIO);
  EXPECT_EQ(SyncDisk(*loop, *faults).error(), EIO);
  EXPECT_EQ(Content(*loop, *faults, 0, 100), Pattern(100, 1));
}

TEST_P(OpenedDisk, SecondOpenIsRefusedUntilTheFirstIsGone) {
  std::shared_ptr<Disk> second;
  EXPECT_EQ(OpenFileDisk(path(), false, &second).error(), EWOULDBLOCK);
  EXPECT_EQ(OpenFileDisk(path(), true, &second).error(), EWOULDBLOCK);
  EXPECT_EQ(second, nullptr);
  disk.reset();
  EXPECT_TRUE(OpenFileDisk(path(), false, &second).ok());
}

TEST_P(OpenedDisk, ReadersShareAndCannotWrite) {
  EXPECT_TRUE(WriteDisk(*loop, *disk, 0, Pattern(512, 3)).ok());
  disk.reset();
  std::shared_ptr<Disk> first, second, writer;
  EXPECT_TRUE(OpenFileDisk(path(), true, &first).ok());
  EXPECT_TRUE(OpenFileDisk(path(), true, &second).ok());
  EXPECT_EQ(OpenFileDisk(path(), false, &writer).error(), EWOULDBLOCK);
  EXPECT_EQ(Content(*loop, *second, 0, 512), Pattern(512, 3));
  EXPECT_EQ(WriteDisk(*loop, *first, 0, Pattern(512, 4)).error(), EBADF);
}

std::vector<Case> OnBothLoops(const std::vector<Kind>& kinds) {
  std::vector<Case> cases;
  for (Kind kind : kinds) {
    for (LoopBackend backend : {LoopBackend::kUring, LoopBackend::kEpoll}) cases.push_back({kind, backend});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Disks, DiskContract,
                         testing::ValuesIn(OnBothLoops({Kind::kFile, Kind::kBlockDevice, Kind::kMemory,
                                                        Kind::kRecording, Kind::kFault, Kind::kIscsi,
                                                        Kind::kIscsiThin, Kind::kNfs3, Kind::kNfs4,
                                                        Kind::kPatient})),
                         Name);
INSTANTIATE_TEST_SUITE_P(Disks, OpenedDisk,
                         testing::ValuesIn(OnBothLoops({Kind::kFile, Kind::kBlockDevice})), Name);

TEST(OpenFileDisk, SaysWhyNot) {
  std::shared_ptr<Disk> disk;
  EXPECT_EQ(OpenFileDisk("/nonexistent/disk", false, &disk).error(), ENOENT);
  EXPECT_EQ(OpenFileDisk("/tmp", false, &disk).error(), EISDIR);
  EXPECT_EQ(OpenFileDisk("/dev/null", false, &disk).error(), ENOTSUP);
  EXPECT_EQ(disk, nullptr);
}

TEST_P(OpenedDisk, SoleReaderSharesWithNobody) {
  disk.reset();
  std::shared_ptr<Disk> sole, second;
  EXPECT_TRUE(OpenFileDisk(path(), true, &sole, Sharing::kNobody).ok());
  EXPECT_EQ(OpenFileDisk(path(), true, &second).error(), EWOULDBLOCK);
  EXPECT_EQ(OpenFileDisk(path(), false, &second).error(), EWOULDBLOCK);
  EXPECT_EQ(WriteDisk(*loop, *sole, 0, Pattern(512, 4)).error(), EBADF);
  sole.reset();
  EXPECT_TRUE(OpenFileDisk(path(), false, &second).ok());
}

// More pieces than one search tells of.
TEST(FileDisk, FindsDataAmongManyHoles) {
  constexpr uint64_t kStep = 16384, kPieces = 5000;
  TemporaryFile file(kStep * kPieces);
  RunningLoop loop(LoopBackend::kAuto);
  std::shared_ptr<Disk> disk;
  ASSERT_TRUE(OpenFileDisk(file.path(), false, &disk).ok());
  for (uint64_t i = 0; i < kPieces; i++) {
    ASSERT_TRUE(WriteDisk(*loop, *disk, i * kStep, Pattern(1, 1)).ok());
  }
  std::vector<DataRun> runs = FindAllData(*loop, *disk, 0, kStep * kPieces);
  ASSERT_EQ(runs.size(), kPieces);
  for (uint64_t i = 0; i < kPieces; i++) {
    EXPECT_EQ(runs[i].offset, i * kStep);
    EXPECT_LT(runs[i].bytes, kStep);
  }
}

TEST(FileDisk, HasGrownAndIsUsedUpToItsNewEnd) {
  TemporaryFile file(kSizeBytes);
  RunningLoop loop(LoopBackend::kAuto);
  std::shared_ptr<Disk> disk;
  ASSERT_TRUE(OpenFileDisk(file.path(), false, &disk).ok());
  ASSERT_EQ(truncate(file.path().c_str(), 2 * kSizeBytes), 0);
  EXPECT_EQ(MeasureDisk(*loop, *disk), 2 * kSizeBytes);
  EXPECT_TRUE(WriteDisk(*loop, *disk, 2 * kSizeBytes - 4096, Bytes(4096, 7)).ok());
  EXPECT_EQ(Content(*loop, *disk, 2 * kSizeBytes - 4096, 4096), Bytes(4096, 7));
}

TEST(FileDisk, WasCutOffAndSaysSo) {
  TemporaryFile file(kSizeBytes);
  for (LoopBackend backend : {LoopBackend::kUring, LoopBackend::kEpoll}) {
    RunningLoop loop(backend);
    std::shared_ptr<Disk> disk;
    ASSERT_EQ(truncate(file.path().c_str(), kSizeBytes), 0);
    ASSERT_TRUE(OpenFileDisk(file.path(), false, &disk).ok());
    ASSERT_TRUE(WriteDisk(*loop, *disk, 0, Bytes(65536, 7)).ok());
    ASSERT_EQ(truncate(file.path().c_str(), 8192 + 512), 0);
    EXPECT_EQ(MeasureDisk(*loop, *disk), 8192u + 512);
    Bytes data(4096);
    EXPECT_TRUE(ReadDisk(*loop, *disk, 4096, &data).ok());
    EXPECT_EQ(ReadDisk(*loop, *disk, 8192, &data).error(), EIO);
    EXPECT_EQ(ReadDisk(*loop, *disk, 32768, &data).error(), EIO);
  }
}

TEST(FileDisk, DiscardGivesSpaceBack) {
  TemporaryFile file(kSizeBytes);
  RunningLoop loop(LoopBackend::kAuto);
  std::shared_ptr<Disk> disk;
  ASSERT_TRUE(OpenFileDisk(file.path(), false, &disk).ok());
  EXPECT_TRUE(WriteDisk(*loop, *disk, 0, Pattern(1 << 20, 1)).ok());
  EXPECT_TRUE(SyncDisk(*loop, *disk).ok());
  struct stat before, after;
  ASSERT_EQ(stat(file.path().c_str(), &before), 0);
  EXPECT_TRUE(DiscardDisk(*loop, *disk, 0, 1 << 20).ok());
  ASSERT_EQ(stat(file.path().c_str(), &after), 0);
  EXPECT_LE(after.st_blocks + (1 << 20) / 512, before.st_blocks);
}

}  // namespace
}  // namespace varve
