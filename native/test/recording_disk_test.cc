// Goal: a cut leaves exactly the states that a power cut may leave.
// Method: small histories with known cuts; then random histories on two disks, where every
//   sector after every cut must hold a value that the model allows. Replay: SEED=7.
#include "io/recording_disk.h"

#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "test/loop_fixture.h"

namespace varve {
namespace {

constexpr uint64_t kSizeBytes = 4 << 20;
constexpr size_t kSector = 512;

class RecordingDiskTest : public testing::Test {
 protected:
  void Write(uint64_t sector, uint8_t value, size_t sectors = 1) {
    EXPECT_TRUE(WriteDisk(*loop, disk, sector * kSector, Bytes(sectors * kSector, value)).ok());
  }
  // First byte of a sector after a cut.
  uint8_t After(uint64_t cut, uint64_t seed, uint64_t sector) {
    return Content(*loop, *disk.Cut(cut, seed).disk, sector * kSector, 1)[0];
  }

  RunningLoop loop{LoopBackend::kAuto};
  RecordingDisk disk{kSizeBytes};
};

TEST_F(RecordingDiskTest, NothingBeforeTheFirstWrite) {
  uint64_t start = RecordingDisk::RecordCount();
  Write(0, 1);
  EXPECT_EQ(After(start, 0, 0), 0);
  EXPECT_EQ(After(start + 1, 0, 0), 1);
  EXPECT_EQ(After(start + 1, 1, 0), 0);
}

TEST_F(RecordingDiskTest, SyncedWritesAreInEveryState) {
  Write(3, 7);
  EXPECT_TRUE(SyncDisk(*loop, disk).ok());
  uint64_t synced = RecordingDisk::RecordCount();
  Write(3, 8);
  std::set<uint8_t> seen;
  for (uint64_t seed = 0; seed < 64; ++seed) {
    EXPECT_EQ(After(synced, seed, 3), 7);
    seen.insert(After(RecordingDisk::RecordCount(), seed, 3));
  }
  EXPECT_EQ(seen, (std::set<uint8_t>{7, 8}));
}

TEST_F(RecordingDiskTest, SyncCountsFromItsEnd) {
  Write(0, 5);
  uint64_t before = RecordingDisk::RecordCount();
  EXPECT_TRUE(SyncDisk(*loop, disk).ok());
  EXPECT_EQ(RecordingDisk::RecordCount(), before + 2);
  EXPECT_EQ(After(before + 1, 1, 0), 0);
  EXPECT_EQ(After(before + 2, 1, 0), 5);
}

TEST_F(RecordingDiskTest, WriteInFlightWhenTheSyncWasSubmittedIsLoose) {
  Bytes data(kSector, 9);
  iovec piece{data.data(), data.size()};
  std::promise<void> end;
  CallCompletion written([](Status) {});
  CallCompletion synced([&](Status) { end.set_value(); });
  loop->Post([&] {
    disk.Write(*loop, 0, &piece, 1, &written);
    disk.Sync(*loop, &synced);
  });
  end.get_future().wait();
  EXPECT_EQ(After(RecordingDisk::RecordCount(), 1, 0), 0);
  EXPECT_EQ(After(RecordingDisk::RecordCount(), 0, 0), 9);
}

TEST_F(RecordingDiskTest, LooseWritesAreReorderedAndTornAtSectors) {
  Write(0, 1, 8);
  Write(0, 2, 8);
  bool torn = false, reordered = false;
  for (uint64_t seed = 2; seed < 200; ++seed) {
    Bytes content = Content(*loop, *disk.Cut(RecordingDisk::RecordCount(), seed).disk, 0, 8 * kSector);
    for (size_t sector = 0; sector < 8; ++sector) {
      Bytes one(content.begin() + static_cast<ptrdiff_t>(sector * kSector),
                content.begin() + static_cast<ptrdiff_t>((sector + 1) * kSector));
      EXPECT_EQ(one, Bytes(kSector, one[0]));
    }
    torn |= content.front() != content.back();
    reordered |= content == Bytes(8 * kSector, 1);
  }
  EXPECT_TRUE(torn);
  EXPECT_TRUE(reordered);
}

TEST_F(RecordingDiskTest, ZeroesAndDiscardsAreLooseToo) {
  Write(0, 6, 64);
  EXPECT_TRUE(SyncDisk(*loop, disk).ok());
  EXPECT_TRUE(ZeroDisk(*loop, disk, 0, kSector).ok());
  EXPECT_TRUE(DiscardDisk(*loop, disk, kSector, kSector).ok());
  uint64_t now = RecordingDisk::RecordCount();
  EXPECT_EQ(After(now, 0, 0), 0);
  EXPECT_EQ(After(now, 1, 0), 6);
  EXPECT_EQ(After(now, 1, 1), 6);
  EXPECT_EQ(After(now, 0, 2), 6);
}

TEST_F(RecordingDiskTest, SameSeedSameState) {
  for (uint8_t i = 1; i < 20; ++i) Write(i, i, 3);
  uint64_t now = RecordingDisk::RecordCount();
  for (uint64_t seed : {0, 1, 2, 3, 99}) {
    EXPECT_EQ(Content(*loop, *disk.Cut(now, seed).disk, 0, 64 * kSector),
              Content(*loop, *disk.Cut(now, seed).disk, 0, 64 * kSector));
  }
}

TEST_F(RecordingDiskTest, EqualStatesHaveEqualDigestsAndOthersDoNot) {
  for (uint8_t i = 1; i < 8; ++i) Write(40 * i, i, 3);
  Write(200, 0, 3);  // zeroes, where nothing is
  uint64_t now = RecordingDisk::RecordCount();
  std::map<uint64_t, Bytes> contents;
  std::set<Bytes> distinct;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    RecordingDisk::Left left = disk.Cut(now, seed);
    Bytes content = Content(*loop, *left.disk, 0, 400 * kSector);
    distinct.insert(content);
    EXPECT_EQ(contents.try_emplace(left.digest, content).first->second, content);
  }
  EXPECT_EQ(contents.size(), distinct.size());
  EXPECT_GT(distinct.size(), 50u);
}

// Writes to sectors of their own, in order: which are there tells which way was taken.
TEST_F(RecordingDiskTest, LooseWritesArePrefixesSinglesAndAllButOneToo) {
  constexpr size_t kWrites = 16;
  for (uint8_t i = 0; i < kWrites; ++i) Write(i, i + 1);
  std::string all(kWrites, '1'), none(kWrites, '0');
  std::set<std::string> seen;
  for (uint64_t seed = 2; seed < 1000; ++seed) {
    Bytes content = Content(*loop, *disk.Cut(RecordingDisk::RecordCount(), seed).disk, 0, kWrites * kSector);
    std::string there;
    for (size_t i = 0; i < kWrites; ++i) there += content[i * kSector] == i + 1 ? '1' : '0';
    seen.insert(there);
  }
  for (size_t i = 1; i < kWrites; ++i) {
    std::string first = none, one = none, but_one = all;
    first.replace(0, i, i, '1');
    one[i] = '1';
    but_one[i] = '0';
    EXPECT_TRUE(seen.contains(first)) << first;
    EXPECT_TRUE(seen.contains(one)) << one;
    EXPECT_TRUE(seen.contains(but_one)) << but_one;
  }
}

// Writes below and behind the end of the head in turn.
TEST_F(RecordingDiskTest, TheHeadIsChosenByItself) {
  constexpr size_t kWrites = 12;
  constexpr uint64_t kHeadSectors = 64;
  for (uint8_t i = 0; i < kWrites; ++i) Write(i % 2 * kHeadSectors + i, i + 1);
  std::map<uint64_t, std::set<Bytes>> rests_by_head;
  std::set<Bytes> heads;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    WriteLog::Choice choice(seed);
    choice.head_bytes = kHeadSectors * kSector;
    choice.head_seed = seed % 8;
    auto left = disk.Cut(RecordingDisk::RecordCount(), choice).disk;
    Bytes head = Content(*loop, *left, 0, kHeadSectors * kSector);
    heads.insert(head);
    rests_by_head[choice.head_seed].insert(Content(*loop, *left, kHeadSectors * kSector, kHeadSectors * kSector));
    if (choice.head_seed == 0) {
      EXPECT_EQ(head[10 * kSector], 11);
    }
    if (choice.head_seed == 1) {
      EXPECT_EQ(head, Bytes(kHeadSectors * kSector, 0));
    }
  }
  EXPECT_LE(heads.size(), 8u);
  EXPECT_GT(heads.size(), 3u);
  for (const auto& [head, rests] : rests_by_head) EXPECT_GT(rests.size(), 10u) << head;
}

TEST_F(RecordingDiskTest, CutDiskLivesItsOwnLife) {
  Write(0, 1);
  EXPECT_TRUE(SyncDisk(*loop, disk).ok());
  uint64_t now = RecordingDisk::RecordCount();
  std::shared_ptr<Disk> cut = disk.Cut(now, 1).disk;
  EXPECT_TRUE(WriteDisk(*loop, *cut, 0, Bytes(kSector, 2)).ok());
  Write(0, 3);
  EXPECT_EQ(Content(*loop, *cut, 0, 1)[0], 2);
  EXPECT_EQ(After(now, 1, 0), 1);
  EXPECT_EQ(Content(*loop, disk, 0, 1)[0], 3);
}

// A history of stamped sectors with a sync now and then, on two disks in turn. Fewer steps than
// a byte has values, so that each stamp is one of its kind.
class History {
 public:
  static constexpr uint64_t kSectors = 40;

  History(EventLoop& loop, unsigned seed) : loop_(loop), random_(seed) {
    for (int step = 0; step < 250; ++step) Step();
  }

  // Every sector holds the last synced stamp or one written later, up to the cut.
  void CheckCut(uint64_t cut, uint64_t seed) {
    for (size_t d = 0; d < 2; ++d) {
      Bytes content = Content(loop_, *disks_[d].Cut(cut, seed).disk, 0, kSectors * kSector);
      for (uint64_t s = 0; s < kSectors; ++s) {
        uint8_t stamp = content[s * kSector];
        EXPECT_TRUE(Allowed(d, s, cut, seed).contains(stamp))
            << "disk " << d << " sector " << s << " cut " << cut << " seed " << seed << " shows " << +stamp;
      }
    }
  }

 private:
  struct Stamp {
    uint64_t begun;
    uint64_t sector;
    uint8_t value;
  };

  void Step() {
    size_t d = random_() % 2;
    if (random_() % 12 == 0) {
      EXPECT_TRUE(SyncDisk(loop_, disks_[d]).ok());
      synced_[d].push_back(RecordingDisk::RecordCount());
      return;
    }
    uint64_t sector = random_() % (kSectors - 4), count = 1 + random_() % 4;
    uint8_t value = ++last_value_;
    uint64_t begun = RecordingDisk::RecordCount() + 1;
    EXPECT_TRUE(WriteDisk(loop_, disks_[d], sector * kSector, Bytes(count * kSector, value)).ok());
    for (uint64_t i = 0; i < count; ++i) stamps_[d].push_back({begun, sector + i, value});
  }

  std::set<uint8_t> Allowed(size_t d, uint64_t sector, uint64_t cut, uint64_t seed) const {
    uint64_t synced = 0;
    for (uint64_t moment : synced_[d]) {
      if (moment <= cut) synced = moment;
    }
    uint8_t certain = 0;
    std::vector<uint8_t> loose;
    for (const Stamp& stamp : stamps_[d]) {
      if (stamp.sector != sector || stamp.begun > cut) continue;
      if (stamp.begun < synced) certain = stamp.value;
      else loose.push_back(stamp.value);
    }
    if (seed == 0) return {loose.empty() ? certain : loose.back()};
    if (seed == 1) return {certain};
    std::set<uint8_t> allowed(loose.begin(), loose.end());
    allowed.insert(certain);
    return allowed;
  }

  EventLoop& loop_;
  std::mt19937 random_;
  RecordingDisk disks_[2] = {RecordingDisk(kSizeBytes), RecordingDisk(kSizeBytes)};
  std::vector<Stamp> stamps_[2];
  std::vector<uint64_t> synced_[2];
  uint8_t last_value_ = 0;
};

TEST_F(RecordingDiskTest, RandomHistoriesCutToAllowedStates) {
  const char* fixed = getenv("SEED");
  unsigned seed = fixed ? static_cast<unsigned>(atoi(fixed)) : std::random_device{}();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  uint64_t start = RecordingDisk::RecordCount();
  History history(*loop, seed);
  for (uint64_t cut = start; cut <= RecordingDisk::RecordCount(); ++cut) {
    for (uint64_t s : {uint64_t{0}, uint64_t{1}, 2 + cut}) history.CheckCut(cut, s);
  }
}

}  // namespace
}  // namespace varve
