// Goal: nothing that an NFS disk acknowledged is lost or applied out of order, whatever the server does; what cannot be opened says why.
// Method: nfs-ganesha, killed, restarted, paused in the middle of I/O. What a server forgets by restarting is
//   played by changing the file behind its back while it is down. The contract itself: disk_contract_test.cc.
#include <fcntl.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include "io/nfs_disk.h"
#include "io/nfs_errand.h"
#include "test/ganesha.h"
#include "test/loop_fixture.h"
#include "test/nfs_opening.h"

namespace varve {
namespace {

constexpr uint64_t kSizeBytes = 8 << 20;

struct Case {
  int version;
  LoopBackend backend;
};

std::string Name(const testing::TestParamInfo<Case>& info) {
  return "v" + std::to_string(info.param.version) + (info.param.backend == LoopBackend::kUring ? "_uring" : "_epoll");
}

class NfsDiskTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { disk = Open({}).disk; }
  void TearDown() override {
    disk.reset();
    // The file goes in turns of its loop.
    for (int turn = 0; turn < 3; ++turn) RunOn(*loop, [] {});
  }
  NfsOpening Open(NfsDisk::Access access) {
    return OpenNfsDisk(*loop, server.Address("disk", GetParam().version), access);
  }
  // Submits again what failed, as the layer above does.
  Status Insist(const std::function<Status()>& operation) {
    auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (true) {
      Status status = operation();
      if (status.ok() || std::chrono::steady_clock::now() > give_up) return status;
      EXPECT_TRUE(IsPassing(status.error())) << status.what() << ": " << strerror(status.error());
    }
  }
  static bool IsPassing(int error) {
    return error == ENOTCONN || error == ETIMEDOUT || error == ECONNRESET || error == ECONNREFUSED ||
           error == EHOSTUNREACH || error == ESTALE;
  }
  Bytes OnServer(uint64_t offset, size_t bytes) {
    std::ifstream file(server.Path("disk"), std::ios::binary);
    Bytes data(bytes);
    file.seekg(static_cast<std::streamoff>(offset));
    file.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(bytes));
    return data;
  }
  void ChangeOnServer(uint64_t offset, const Bytes& data) {
    std::fstream file(server.Path("disk"), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
  }

  Ganesha server{Ganesha::File{"disk", kSizeBytes}};
  RunningLoop loop{GetParam().backend};
  RunningLoop other_loop{GetParam().backend};
  std::shared_ptr<NfsDisk> disk;
};

Bytes Filled(size_t bytes, uint8_t value) { return Bytes(bytes, value); }

TEST_P(NfsDiskTest, MeasuresAFileThatGrewAndNeverTakesItSmallerAgain) {
  EXPECT_EQ(MeasureDisk(*other_loop, *disk), kSizeBytes);
  // A server that runs would go on believing what it knows of the file.
  auto resize = [this](uint64_t bytes) {
    server.Kill();
    std::filesystem::resize_file(server.Path("disk"), bytes);
    server.Start();
  };
  resize(2 * kSizeBytes);
  EXPECT_TRUE(Insist([&] { return WriteDisk(*loop, *disk, 0, Filled(512, 0)); }).ok());
  EXPECT_EQ(MeasureDisk(*other_loop, *disk), 2 * kSizeBytes);
  Bytes data = Filled(3000, 7);
  EXPECT_TRUE(WriteDisk(*loop, *disk, 2 * kSizeBytes - 3000, data).ok());
  EXPECT_EQ(Content(*loop, *disk, 2 * kSizeBytes - 3000, 3000), data);
  EXPECT_TRUE(SyncDisk(*loop, *disk).ok());
  // What lay behind its first end counts now: a file without it is another one.
  resize(kSizeBytes);
  Status status;
  do status = WriteDisk(*loop, *disk, 0, Filled(512, 8));
  while (status.error() != ESTALE && IsPassing(status.error()));
  EXPECT_EQ(status.error(), ESTALE);
  EXPECT_EQ(OnServer(0, 512), Filled(512, 0));
}

TEST_P(NfsDiskTest, WhatARestartedServerForgotIsReadAndWrittenAgain) {
  constexpr size_t kBytes = 300'000;
  ASSERT_TRUE(WriteDisk(*loop, *disk, 1000, Filled(kBytes, 1)).ok());
  ASSERT_TRUE(SyncDisk(*loop, *disk).ok());
  ASSERT_TRUE(WriteDisk(*loop, *disk, 1000, Filled(kBytes, 2)).ok());
  ASSERT_TRUE(WriteDisk(*other_loop, *disk, 5000, Filled(100, 3)).ok());
  server.Kill();
  ChangeOnServer(1000, Filled(kBytes, 1));
  server.Start();

  Bytes expected = Filled(kBytes, 2);
  std::fill_n(expected.begin() + 4000, 100, 3);
  Bytes read(kBytes);
  ASSERT_TRUE(Insist([&] { return ReadDisk(*loop, *disk, 1000, &read); }).ok());
  EXPECT_TRUE(read == expected);
  ASSERT_TRUE(Insist([&] { return SyncDisk(*loop, *disk); }).ok());
  EXPECT_TRUE(OnServer(1000, kBytes) == expected);
}

TEST_P(NfsDiskTest, WhatWasWrittenAfterTheRestartIsNotOverwritten) {
  ASSERT_TRUE(WriteDisk(*loop, *disk, 0, Filled(100'000, 1)).ok());
  server.Kill();
  ChangeOnServer(0, Filled(100'000, 9));
  server.Start();
  ASSERT_TRUE(Insist([&] { return WriteDisk(*loop, *disk, 30'000, Filled(20'000, 2)); }).ok());
  ASSERT_TRUE(Insist([&] { return SyncDisk(*loop, *disk); }).ok());
  Bytes expected = Filled(100'000, 1);
  std::fill_n(expected.begin() + 30'000, 20'000, 2);
  EXPECT_TRUE(OnServer(0, expected.size()) == expected);
  EXPECT_TRUE(Content(*loop, *disk, 0, expected.size()) == expected);
}

// Writers on two loops each keep a sector's value growing; the server is killed among them again and again.
TEST_P(NfsDiskTest, KilledAmongWritesItLosesNothing) {
  constexpr int kSlots = 40, kKills = 3;
  constexpr size_t kSlotBytes = 20'000;
  unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::atomic<bool> stop = false;
  std::vector<uint8_t> values(kSlots, 0);
  auto write_slots = [&](EventLoop& on, int first) {
    std::mt19937 random(seed + static_cast<unsigned>(first));
    while (!stop) {
      size_t slot = random() % (kSlots / 2) * 2 + static_cast<size_t>(first);
      Bytes data = Filled(kSlotBytes, ++values[slot]);
      EXPECT_TRUE(Insist([&] { return WriteDisk(on, *disk, slot * kSlotBytes, data); }).ok());
      if (random() % 8 != 0) continue;
      EXPECT_TRUE(Insist([&] { return SyncDisk(on, *disk); }).ok());
    }
  };
  std::thread even([&] { write_slots(*loop, 0); }), odd([&] { write_slots(*other_loop, 1); });
  for (int kill = 0; kill < kKills; ++kill) {
    Bytes before(kSlotBytes);
    EXPECT_TRUE(Insist([&] { return ReadDisk(*other_loop, *disk, 0, &before); }).ok());
    server.Kill();
    server.Start();
  }
  stop = true;
  even.join();
  odd.join();
  ASSERT_TRUE(Insist([&] { return SyncDisk(*loop, *disk); }).ok());
  for (size_t slot = 0; slot < kSlots; ++slot) {
    EXPECT_TRUE(OnServer(slot * kSlotBytes, kSlotBytes) == Filled(kSlotBytes, values[slot])) << "slot " << slot;
  }
}

// The server answers nothing for longer than an operation waits; then it performs what it had.
TEST_P(NfsDiskTest, AWriteWithoutAnAnswerNeverComesAfterANewerOne) {
  ASSERT_TRUE(WriteDisk(*loop, *disk, 0, Filled(50'000, 1)).ok());
  server.Pause();
  EXPECT_EQ(WriteDisk(*loop, *disk, 0, Filled(50'000, 2)).error(), ETIMEDOUT);
  std::promise<Status> newer;
  Bytes data = Filled(50'000, 3);
  iovec piece{data.data(), data.size()};
  CallCompletion done([&](Status status) { newer.set_value(status); });
  RunOn(*loop, [&] { disk->Write(*loop, 0, &piece, 1, &done); });
  server.Resume();
  EXPECT_TRUE(newer.get_future().get().ok());
  EXPECT_TRUE(SyncDisk(*loop, *disk).ok());
  EXPECT_TRUE(OnServer(0, 50'000) == Filled(50'000, 3));
}

TEST_P(NfsDiskTest, AServerThatIsGoneIsAnErrorThatMayPass) {
  server.Kill();
  Bytes data(4096);
  EXPECT_TRUE(IsPassing(ReadDisk(*loop, *disk, 0, &data).error()));
  EXPECT_TRUE(IsPassing(WriteDisk(*loop, *disk, 0, data).error()));
  server.Start();
  EXPECT_TRUE(Insist([&] { return WriteDisk(*loop, *disk, 0, data); }).ok());
}

TEST_P(NfsDiskTest, AnotherFileUnderTheNameIsStale) {
  server.Kill();
  std::filesystem::rename(server.Path("disk"), server.Path("old"));
  server.MakeFile("disk", kSizeBytes);
  server.Start();
  Bytes data(4096);
  auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  int error = 0;
  while (error != ESTALE && std::chrono::steady_clock::now() < give_up) error = ReadDisk(*loop, *disk, 0, &data).error();
  EXPECT_EQ(error, ESTALE);
}

TEST_P(NfsDiskTest, OneOwnerInThisProcess) {
  EXPECT_EQ(Open({}).status.error(), EWOULDBLOCK);
  NfsOpening reader = Open({.read_only = true});
  EXPECT_TRUE(reader.status.ok());
  EXPECT_EQ(reader.disk->identity(), disk->identity());
  EXPECT_EQ(WriteDisk(*loop, *reader.disk, 0, Filled(10, 1)).error(), EBADF);
  disk.reset();
  EXPECT_TRUE(Open({}).status.ok());
}

TEST_P(NfsDiskTest, OpeningSaysWhyNot) {
  auto error = [&](NfsAddress address) { return OpenNfsDisk(*loop, address).status.error(); };
  NfsAddress address = server.Address("none", GetParam().version);
  EXPECT_EQ(error(address), ENOENT);
  address.path = "/nowhere/disk";
  // Version 3 does not tell a stranger what there is.
  EXPECT_EQ(error(address), GetParam().version == 4 ? ENXIO : EACCES);
  address = server.Address("disk", GetParam().version);
  address.nfs_port = 1;
  EXPECT_EQ(error(address), ECONNREFUSED);
  std::filesystem::create_directory(server.Path("folder"));
  EXPECT_EQ(error(server.Address("folder", GetParam().version)), EISDIR);
}

INSTANTIATE_TEST_SUITE_P(Versions, NfsDiskTest,
                         testing::Values(Case{3, LoopBackend::kUring}, Case{3, LoopBackend::kEpoll},
                                         Case{4, LoopBackend::kUring}, Case{4, LoopBackend::kEpoll}),
                         Name);

Status Await(const std::function<void(std::function<void(Status)>)>& start) {
  std::promise<Status> ended;
  start([&](Status status) { ended.set_value(status); });
  return ended.get_future().get();
}

TEST(NfsErrand, MakesListsAndRemovesFiles) {
  Ganesha server;
  RunningLoop loop(LoopBackend::kAuto);
  NfsAddress file = server.Address("made", 3);
  auto create = [&] { return Await([&](auto done) { CreateNfsFile(*loop, file, 1 << 20, done); }); };
  EXPECT_TRUE(create().ok());
  EXPECT_EQ(std::filesystem::file_size(server.Path("made")), 1u << 20);
  EXPECT_EQ(create().error(), EEXIST);
  NfsAddress folder = file;
  folder.path = file.folder();
  std::vector<NfsEntry> found;
  auto take = [&](auto done) {
    return [&found, done](Status status, std::vector<NfsEntry> entries) {
      found = std::move(entries);
      done(status);
    };
  };
  EXPECT_TRUE(Await([&](auto done) { ListNfsFolder(*loop, folder, take(done)); }).ok());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, "made");
  EXPECT_EQ(found[0].size_bytes, 1u << 20);
  EXPECT_TRUE(Await([&](auto done) { ListNfsExports(*loop, file, take(done)); }).ok());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, folder.path);
  auto remove = [&] { return Await([&](auto done) { RemoveNfsFile(*loop, file, done); }); };
  EXPECT_TRUE(remove().ok());
  EXPECT_FALSE(std::filesystem::exists(server.Path("made")));
  EXPECT_TRUE(remove().ok());
  for (int turn = 0; turn < 3; ++turn) RunOn(*loop, [] {});
}

}  // namespace
}  // namespace varve
