// Goal: what an iSCSI disk promises beyond the contract of disks: clear refusals, nothing lost or applied out of order when the
//   target restarts, stalls or is reached on another path, and the meaning of sync.
// Method: a real target (tgtd) on loopback, killed, stopped and started again under I/O; portals behind proxies that are cut. A
//   target that has lost its cache is one whose backing file is put back to what it was at the last sync.
#include "io/iscsi_disk.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <thread>

#include "io/iscsi_discovery.h"
#include "test/loop_fixture.h"
#include "test/tcp_proxy.h"
#include "test/tgt_server.h"

namespace varve {
namespace {

constexpr uint64_t kSizeBytes = 8 << 20;

Bytes Pattern(size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  Bytes data(bytes);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
  return data;
}

Bytes FileContent(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

void SetFileContent(const std::string& path, const Bytes& content) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
}

// What the disk said of its paths last, and waiting for something in it.
class PathLog {
 public:
  IscsiPathsObserver Observer() {
    return [this](const std::vector<IscsiPath>& paths) {
      std::lock_guard lock(mutex_);
      paths_ = paths;
      changed_.notify_all();
    };
  }
  bool Wait(const std::vector<IscsiPath::State>& states) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return Now() == states; });
  }

 private:
  std::vector<IscsiPath::State> Now() const {
    std::vector<IscsiPath::State> states;
    for (const IscsiPath& path : paths_) states.push_back(path.state);
    return states;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<IscsiPath> paths_;
};

using State = IscsiPath::State;

class IscsiDiskTest : public testing::TestWithParam<LoopBackend> {
 protected:
  std::shared_ptr<Disk> Open(const IscsiTarget& target, PathLog* log = nullptr) {
    OpenResult result = OpenIscsi(*loop, target, false, log ? log->Observer() : nullptr);
    EXPECT_TRUE(result.status.ok()) << result.status.what() << ": " << strerror(result.status.error());
    return result.opened.disk;
  }
  Status Refusal(const IscsiTarget& target) {
    OpenResult result = OpenIscsi(*loop, target);
    EXPECT_EQ(result.opened.disk, nullptr);
    return result.status;
  }
  // Lets go of a disk, and waits for what it leaves to its loop.
  void Close(std::shared_ptr<Disk>* disk) {
    disk->reset();
    for (int turn = 0; turn < 3; ++turn) RunOn(*loop, [] {});
  }
  void TearDown() override {
    for (int turn = 0; turn < 3; ++turn) RunOn(*loop, [] {});
  }

  // An error after which the same may be submitted again.
  static bool MayPass(Status status) {
    switch (status.error()) {
      case ENOTCONN:
      case ETIMEDOUT:
      case ECONNRESET:
      case ECONNREFUSED:
      case EHOSTUNREACH:
        return true;
      default:
        return false;
    }
  }
  // Submits again for as long as the disk says that it may be.
  Status Persist(const std::function<Status()>& operation) {
    Status status = operation();
    while (MayPass(status)) status = operation();
    return status;
  }
  Bytes PersistentContent(Disk& disk, uint64_t offset, size_t bytes) {
    Bytes data(bytes, 0xee);
    EXPECT_TRUE(Persist([&] { return ReadDisk(*loop, disk, offset, &data); }).ok());
    return data;
  }

  RunningLoop loop{GetParam()};
  TgtServer server;
};

INSTANTIATE_TEST_SUITE_P(Loops, IscsiDiskTest, testing::Values(LoopBackend::kUring, LoopBackend::kEpoll),
                         [](const auto& info) { return info.param == LoopBackend::kUring ? "uring" : "epoll"; });

// ---- refusals

TEST_P(IscsiDiskTest, TellsWhatTheLunIs) {
  OpenResult plain = OpenIscsi(*loop, server.Target(server.AddLun({})));
  OpenResult thin = OpenIscsi(*loop, server.Target(server.AddLun({.size_bytes = kSizeBytes, .block_bytes = 4096, .thin = true})));
  ASSERT_TRUE(plain.status.ok() && thin.status.ok());
  EXPECT_FALSE(plain.opened.lun.thin());
  EXPECT_TRUE(thin.opened.lun.thin());
  EXPECT_EQ(thin.opened.lun.capacity.block_bytes, 4096u);
  EXPECT_EQ(thin.opened.disk->size_bytes(), kSizeBytes);
  EXPECT_EQ(plain.opened.lun.inquiry.vendor, "IET");
  EXPECT_TRUE(plain.opened.lun.mode.write_cache);
  EXPECT_NE(plain.opened.lun.designators, thin.opened.lun.designators);
  Close(&plain.opened.disk);
  Close(&thin.opened.disk);
}

TEST_P(IscsiDiskTest, RefusesWhatCannotBeADisk) {
  IscsiTarget target = server.Target(server.AddLun({}));
  IscsiTarget missing_lun = target, controller = target, missing_target = target, nobody = target;
  missing_lun.lun = 77;
  controller.lun = 0;
  missing_target.name = "iqn.2026-01.dev.varve.test:other";
  nobody.portals = {"127.0.0.1:" + std::to_string(FreePort())};
  EXPECT_EQ(Refusal(missing_lun).error(), ENXIO);
  EXPECT_EQ(Refusal(controller).error(), ENOTBLK);
  EXPECT_EQ(Refusal(missing_target).error(), ENOENT);
  EXPECT_EQ(Refusal(nobody).error(), ECONNREFUSED);
  nobody.portals = {"no-such-host.invalid"};
  EXPECT_EQ(Refusal(nobody).error(), EHOSTUNREACH);
}

TEST_P(IscsiDiskTest, AWriteProtectedLunIsOpenedForReadingOnly) {
  IscsiTarget target = server.Target(server.AddLun({.read_only = true}));
  EXPECT_EQ(Refusal(target).error(), EROFS);
  OpenResult reading = OpenIscsi(*loop, target, true);
  ASSERT_TRUE(reading.status.ok());
  EXPECT_EQ(Content(*loop, *reading.opened.disk, 0, 100), Bytes(100, 0));
  EXPECT_EQ(WriteDisk(*loop, *reading.opened.disk, 0, Bytes(100, 1)).error(), EROFS);
  Close(&reading.opened.disk);
}

TEST_P(IscsiDiskTest, AdmitsWithTheRightSecretOnly) {
  server.SetAccounts({"guest", "rightsecret12"}, {"target", "targetsecret1"});
  IscsiTarget target = server.Target(server.AddLun({}));
  EXPECT_EQ(Refusal(target).error(), EACCES);
  target.user = "guest";
  target.secret = "wrongsecret12";
  EXPECT_EQ(Refusal(target).error(), EACCES);
  target.secret = "rightsecret12";
  std::shared_ptr<Disk> disk = Open(target);
  Close(&disk);
  // Mutual: the target must prove itself, too.
  target.target_user = "target";
  target.target_secret = "wrongsecret12";
  EXPECT_EQ(Refusal(target).error(), EACCES);
  target.target_secret = "targetsecret1";
  disk = Open(target);
  Close(&disk);
}

// ---- discovery

struct Discovered {
  Status status;
  std::vector<FoundTarget> targets;
};

Discovered Discover(EventLoop& loop, const IscsiTarget& seeker) {
  std::promise<Discovered> result;
  DiscoverIscsi(loop, seeker, [&](Status status, std::vector<FoundTarget> targets) {
    result.set_value({status, std::move(targets)});
  });
  return result.get_future().get();
}

TEST_P(IscsiDiskTest, APortalTellsItsTargetsAndTheirLuns) {
  unsigned plain = server.AddLun({.size_bytes = kSizeBytes});
  unsigned thin = server.AddLun({.size_bytes = 2 * kSizeBytes, .block_bytes = 4096, .thin = true});
  IscsiTarget seeker = server.Target(0);
  Discovered found = Discover(*loop, seeker);
  ASSERT_TRUE(found.status.ok()) << found.status.what();
  ASSERT_EQ(found.targets.size(), 1u);
  const FoundTarget& target = found.targets[0];
  EXPECT_EQ(target.name, seeker.name);
  EXPECT_EQ(target.portals, std::vector<std::string>{server.portal()});
  ASSERT_EQ(target.luns.size(), 3u);
  EXPECT_EQ(target.luns[0].status.error(), ENOTBLK);  // tgt's controller
  EXPECT_EQ(target.luns[1].number, plain);
  EXPECT_EQ(target.luns[1].lun.size_bytes(), kSizeBytes);
  EXPECT_EQ(target.luns[2].number, thin);
  EXPECT_TRUE(target.luns[2].lun.thin());
  server.SetAccounts({"guest", "rightsecret12"});
  found = Discover(*loop, seeker);
  ASSERT_EQ(found.targets.size(), 1u);
  EXPECT_EQ(found.targets[0].status.error(), EACCES);
  EXPECT_TRUE(found.targets[0].luns.empty());
  server.Kill();
  EXPECT_TRUE(MayPass(Discover(*loop, seeker).status));
}

// ---- the target fails

TEST_P(IscsiDiskTest, FailsWithAnErrorThatMayPassWhileTheTargetIsGoneAndGoesOnAfterwards) {
  std::shared_ptr<Disk> disk = Open(server.Target(server.AddLun({})));
  EXPECT_TRUE(WriteDisk(*loop, *disk, 1000, Pattern(5000, 1)).ok());
  server.Kill();
  EXPECT_TRUE(MayPass(WriteDisk(*loop, *disk, 0, Pattern(512, 2))));
  EXPECT_TRUE(MayPass(SyncDisk(*loop, *disk)));
  server.Start();
  EXPECT_TRUE(Persist([&] { return SyncDisk(*loop, *disk); }).ok());
  EXPECT_TRUE(WriteDisk(*loop, *disk, 0, Pattern(512, 2)).ok());
  EXPECT_EQ(Content(*loop, *disk, 1000, 5000), Pattern(5000, 1));
  Close(&disk);
}

TEST_P(IscsiDiskTest, ATargetThatLosesItsCacheGetsTheUnsyncedWritesAgain) {
  unsigned lun = server.AddLun({});
  std::shared_ptr<Disk> disk = Open(server.Target(lun));
  EXPECT_TRUE(WriteDisk(*loop, *disk, 0, Pattern(100000, 1)).ok());
  EXPECT_TRUE(SyncDisk(*loop, *disk).ok());
  Bytes durable = FileContent(server.BackingFile(lun));
  Bytes model = Pattern(100000, 1), later = Pattern(3000, 2);
  EXPECT_TRUE(WriteDisk(*loop, *disk, 50, Pattern(3000, 3)).ok());
  EXPECT_TRUE(WriteDisk(*loop, *disk, 50, later).ok());
  EXPECT_TRUE(ZeroDisk(*loop, *disk, 60000, 10000).ok());
  std::copy(later.begin(), later.end(), model.begin() + 50);
  std::fill_n(model.begin() + 60000, 10000, 0);
  server.Kill();
  SetFileContent(server.BackingFile(lun), durable);
  server.Start();
  EXPECT_TRUE(Persist([&] { return SyncDisk(*loop, *disk); }).ok());
  EXPECT_EQ(Content(*loop, *disk, 0, model.size()), model);
  Bytes file = FileContent(server.BackingFile(lun));
  EXPECT_TRUE(std::equal(model.begin(), model.end(), file.begin()));
  Close(&disk);
}

// The copies hold no more than what no sync has covered: older ones would overwrite what another host wrote since.
TEST_P(IscsiDiskTest, WhatWasSyncedIsNotWrittenAgain) {
  unsigned lun = server.AddLun({});
  std::shared_ptr<Disk> disk = Open(server.Target(lun));
  EXPECT_TRUE(WriteDisk(*loop, *disk, 0, Pattern(4096, 1)).ok());
  EXPECT_TRUE(SyncDisk(*loop, *disk).ok());
  server.Kill();
  Bytes file = FileContent(server.BackingFile(lun));
  std::fill_n(file.begin(), 4096, 0x5a);
  SetFileContent(server.BackingFile(lun), file);
  server.Start();
  EXPECT_TRUE(Persist([&] { return SyncDisk(*loop, *disk); }).ok());
  EXPECT_EQ(PersistentContent(*disk, 0, 4096), Bytes(4096, 0x5a));
  Close(&disk);
}

TEST_P(IscsiDiskTest, AWriteThroughLunNeedsNoCopies) {
  unsigned lun = server.AddLun({.write_cache = false});
  std::shared_ptr<Disk> disk = Open(server.Target(lun));
  Bytes before = FileContent(server.BackingFile(lun));
  EXPECT_TRUE(WriteDisk(*loop, *disk, 0, Pattern(4096, 1)).ok());
  server.Kill();
  SetFileContent(server.BackingFile(lun), before);
  server.Start();
  EXPECT_TRUE(Persist([&] { return SyncDisk(*loop, *disk); }).ok());
  EXPECT_EQ(PersistentContent(*disk, 0, 4096), Bytes(4096, 0));
  Close(&disk);
}

TEST_P(IscsiDiskTest, ATargetThatDoesNotAnswerIsGivenUpAndTakenUpAgain) {
  IscsiTarget target = server.Target(server.AddLun({}));
  target.answer_limit = std::chrono::milliseconds(300);
  std::shared_ptr<Disk> disk = Open(target);
  EXPECT_TRUE(WriteDisk(*loop, *disk, 0, Pattern(4096, 1)).ok());
  server.Pause();
  EXPECT_EQ(WriteDisk(*loop, *disk, 0, Pattern(4096, 2)).error(), ETIMEDOUT);
  server.Resume();
  // What was given up must not be executed behind the back of a later write.
  EXPECT_TRUE(Persist([&] { return WriteDisk(*loop, *disk, 0, Pattern(4096, 3)); }).ok());
  EXPECT_TRUE(SyncDisk(*loop, *disk).ok());
  EXPECT_EQ(Content(*loop, *disk, 0, 4096), Pattern(4096, 3));
  Close(&disk);
}

// Writers of random ranges of their own, with syncs in between, while the target is killed and started again; each write is
// persisted in. At the end the LUN must hold the newest of each.
TEST_P(IscsiDiskTest, NothingIsLostWhileTheTargetIsKilledUnderIo) {
  unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  unsigned lun = server.AddLun({});
  std::shared_ptr<Disk> disk = Open(server.Target(lun));
  constexpr int kWriters = 4, kKills = 3;
  constexpr size_t kOwn = kSizeBytes / kWriters;
  std::vector<Bytes> models(kWriters, Bytes(kOwn, 0));
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> written = 0;
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      std::mt19937 random(seed + static_cast<unsigned>(writer));
      Bytes& model = models[static_cast<size_t>(writer)];
      while (!stop) {
        size_t offset = random() % (kOwn - 20000), bytes = 1 + random() % 20000;
        Bytes data = Pattern(bytes, static_cast<unsigned>(random()));
        uint64_t at = static_cast<uint64_t>(writer) * kOwn + offset;
        EXPECT_TRUE(Persist([&] { return WriteDisk(*loop, *disk, at, data); }).ok());
        std::copy(data.begin(), data.end(), model.begin() + static_cast<ptrdiff_t>(offset));
        bool sync = random() % 16 == 0;
        Status synced = sync ? Persist([&] { return SyncDisk(*loop, *disk); }) : Status::Ok();
        EXPECT_TRUE(synced.ok());
        ++written;
      }
    });
  }
  auto after_writes = [&](uint64_t count) {
    for (uint64_t goal = written + count; written < goal;) std::this_thread::yield();
  };
  for (int kills = 0; kills < kKills; ++kills) {
    after_writes(100);
    server.Kill();
    server.Start();
  }
  after_writes(100);
  stop = true;
  for (std::thread& writer : writers) writer.join();
  EXPECT_TRUE(Persist([&] { return SyncDisk(*loop, *disk); }).ok());
  for (int writer = 0; writer < kWriters; ++writer) {
    EXPECT_TRUE(Content(*loop, *disk, static_cast<uint64_t>(writer) * kOwn, kOwn) == models[static_cast<size_t>(writer)]);
  }
  Close(&disk);
}

// tgt looks at its files when it starts: a LUN that grew under an open disk is one of a target that was started again.
TEST_P(IscsiDiskTest, MeasuresALunThatGrewAndNeverTakesItSmallerAgain) {
  unsigned lun = server.AddLun({.size_bytes = kSizeBytes});
  std::shared_ptr<Disk> disk = Open(server.Target(lun));
  EXPECT_EQ(MeasureDisk(*loop, *disk), kSizeBytes);
  auto resize = [&](uint64_t bytes) {
    server.Kill();
    std::filesystem::resize_file(server.BackingFile(lun), bytes);
    server.Start();
  };
  resize(2 * kSizeBytes);
  EXPECT_TRUE(Persist([&] { return SyncDisk(*loop, *disk); }).ok());
  EXPECT_EQ(MeasureDisk(*loop, *disk), 2 * kSizeBytes);
  EXPECT_TRUE(WriteDisk(*loop, *disk, 2 * kSizeBytes - 3000, Pattern(3000, 1)).ok());
  EXPECT_EQ(Content(*loop, *disk, 2 * kSizeBytes - 3000, 3000), Pattern(3000, 1));
  EXPECT_TRUE(SyncDisk(*loop, *disk).ok());
  // What lay behind its first end counts now: a LUN without it is another one.
  resize(kSizeBytes);
  EXPECT_TRUE(MayPass(WriteDisk(*loop, *disk, 0, Pattern(512, 2))));
  EXPECT_EQ(FileContent(server.BackingFile(lun)), Bytes(kSizeBytes, 0));
  Close(&disk);
}

// ---- several portals

class Multipath : public IscsiDiskTest {
 protected:
  IscsiTarget TwoPortals(unsigned lun) {
    IscsiTarget target = server.Target(lun);
    target.portals = {first.address(), second.address()};
    return target;
  }
  TcpProxy first{server.port()}, second{server.port()};
};

INSTANTIATE_TEST_SUITE_P(Loops, Multipath, testing::Values(LoopBackend::kUring, LoopBackend::kEpoll),
                         [](const auto& info) { return info.param == LoopBackend::kUring ? "uring" : "epoll"; });

TEST_P(Multipath, FailsOverAndBackWithoutAnError) {
  PathLog log;
  std::shared_ptr<Disk> disk = Open(TwoPortals(server.AddLun({})), &log);
  EXPECT_TRUE(log.Wait({State::kActive, State::kStandby}));
  for (unsigned round = 1; round <= 2; ++round) {
    EXPECT_TRUE(WriteDisk(*loop, *disk, 0, Pattern(70000, round)).ok());
    first.Cut();
    EXPECT_TRUE(WriteDisk(*loop, *disk, 5, Pattern(3000, round + 10)).ok());
    EXPECT_TRUE(log.Wait({State::kFailed, State::kActive}));
    EXPECT_TRUE(SyncDisk(*loop, *disk).ok());
    first.Restore();
    EXPECT_TRUE(log.Wait({State::kActive, State::kStandby}));
    EXPECT_EQ(Content(*loop, *disk, 5, 3000), Pattern(3000, round + 10));
  }
  // The path that is not in use is watched, too.
  second.Cut();
  EXPECT_TRUE(log.Wait({State::kActive, State::kFailed}));
  second.Restore();
  EXPECT_TRUE(log.Wait({State::kActive, State::kStandby}));
  Close(&disk);
}

// A stream of writes goes on while the preferred path comes and goes; no write fails, and the newest stays.
TEST_P(Multipath, WritesGoOnWhileThePreferredPathFlaps) {
  PathLog log;
  std::shared_ptr<Disk> disk = Open(TwoPortals(server.AddLun({})), &log);
  std::atomic<bool> stop = false;
  unsigned last = 0;
  std::thread writer([&] {
    while (!stop) {
      Status status = WriteDisk(*loop, *disk, 512, Pattern(9000, ++last));
      EXPECT_TRUE(status.ok()) << status.what();
    }
  });
  for (int round = 0; round < 5; ++round) {
    first.Cut();
    EXPECT_TRUE(log.Wait({State::kFailed, State::kActive}));
    first.Restore();
    EXPECT_TRUE(log.Wait({State::kActive, State::kStandby}));
  }
  stop = true;
  writer.join();
  EXPECT_EQ(Content(*loop, *disk, 512, 9000), Pattern(9000, last));
  Close(&disk);
}

TEST_P(Multipath, OpensWithTheFirstPathDownAndTakesItWhenItComes) {
  PathLog log;
  first.Cut();
  std::shared_ptr<Disk> disk = Open(TwoPortals(server.AddLun({})), &log);
  EXPECT_TRUE(log.Wait({State::kFailed, State::kActive}));
  EXPECT_TRUE(WriteDisk(*loop, *disk, 0, Pattern(512, 1)).ok());
  first.Restore();
  EXPECT_TRUE(log.Wait({State::kActive, State::kStandby}));
  EXPECT_EQ(Content(*loop, *disk, 0, 512), Pattern(512, 1));
  Close(&disk);
}

TEST_P(Multipath, RefusesPortalsThatShowDifferentLuns) {
  TgtServer other(2);
  other.AddLun({});
  IscsiTarget target = server.Target(server.AddLun({}));
  target.portals.push_back(other.portal());
  EXPECT_EQ(Refusal(target).error(), ESTALE);
}

// The other portal leads to another LUN only after the opening.
TEST_P(Multipath, NeverMovesToAnotherLun) {
  PathLog log;
  TgtServer other(2);
  other.AddLun({});
  std::shared_ptr<Disk> disk = Open(TwoPortals(server.AddLun({})), &log);
  EXPECT_TRUE(WriteDisk(*loop, *disk, 0, Pattern(512, 1)).ok());
  second.Lead(other.port());
  EXPECT_TRUE(log.Wait({State::kActive, State::kRefused}));
  first.Cut();
  EXPECT_TRUE(MayPass(WriteDisk(*loop, *disk, 0, Pattern(512, 2))));
  first.Restore();
  EXPECT_TRUE(Persist([&] { return WriteDisk(*loop, *disk, 0, Pattern(512, 3)); }).ok());
  EXPECT_EQ(Bytes(512, 0), [&] {
    Bytes file = FileContent(other.BackingFile(1));
    file.resize(512);
    return file;
  }());
  Close(&disk);
}

}  // namespace
}  // namespace varve
