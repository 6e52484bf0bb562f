// Goal: records fall where the ring was written before, each stretch of it filled once and for all, and no record is ever filled over.
// Method: a journal on a loop without a clock, and a disk in memory that remembers which blocks were written, and takes for holes what the test
//   says. Replay one case: SEED=7.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "io/memory_disk.h"
#include "journal/journal.h"
#include "test/nbd_manual_loop.h"

namespace varve {
namespace {

constexpr uint64_t kRingOffset = 65536;
constexpr uint64_t kRingBytes = 1 << 20;
constexpr uint64_t kStretches = kRingBytes / RingGround::kStretchBytes;

class HollowDisk final : public Disk {
 public:
  explicit HollowDisk(bool lies) : lies_(lies) {}

  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override {
    below_.Read(loop, offset, iov, count, done);
  }
  void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override {
    writes++;
    ForEachPiece(offset, iov, count, [this](uint64_t at, const std::byte* data, uint64_t bytes) {
      const bool is_record = std::any_of(data, data + bytes, [](std::byte byte) { return byte != std::byte{0}; });
      for (uint64_t end = at + bytes; at < end; at += kJournalBlockBytes) {
        const bool fresh = written_.insert(at).second;
        if (is_record && fresh) into_holes++;
        if (!is_record) filled++;
      }
    });
    below_.Write(loop, offset, iov, count, done);
  }
  void Sync(EventLoop& loop, Completion* done) override { below_.Sync(loop, done); }
  void Discard(EventLoop&, uint64_t, uint64_t, Completion*) override { std::abort(); }
  void WriteZeroes(EventLoop&, uint64_t, uint64_t, Completion*) override { std::abort(); }
  uint64_t size_bytes() const override { return below_.size_bytes(); }

  void FindData(EventLoop& loop, DataSearch* search, Completion* done) override {
    searches++;
    search->runs.clear();
    const auto first = written_.lower_bound(search->offset);
    const auto last = written_.lower_bound(search->offset + search->bytes);
    for (auto at = first; at != last && !lies_; ++at) search->runs.push_back({*at, kJournalBlockBytes});
    if (holds) held = done;
    else loop.Complete(done, Status::Ok());
  }

  int writes = 0;
  uint64_t into_holes = 0;  // blocks of records
  uint64_t filled = 0;      // blocks
  uint64_t searches = 0;
  bool holds = false;
  Completion* held = nullptr;

 private:
  const bool lies_;  // everything is a hole
  MemoryDisk below_{kRingOffset + kRingBytes};
  std::set<uint64_t> written_;  // offsets of blocks
};

class Pool final : public JournalObserver {
 public:
  explicit Pool(bool disk_lies) : disk(std::make_shared<HollowDisk>(disk_lies)) {
    disks_.Add(0, disk);
    Open(0);
  }

  // Another life of the journal: it goes on behind the last record.
  void Open(uint64_t tail) {
    JournalSpec spec = {};
    spec.epoch = 1;
    spec.replicas = {{0, kRingOffset}};
    spec.ring_bytes = kRingBytes;
    spec.head = heads.empty() ? 0 : heads.back();
    spec.tail = tail;
    spec.sequence = heads.size() + 1;
    spec.window_ms = 1000;
    journal_.emplace(&loop, &disks_, this);
    ASSERT_TRUE(journal_->Open(spec).ok());
  }
  void Close() {
    bool closed = false;
    journal_->Close([&closed] { closed = true; });
    loop.RunAll();
    ASSERT_TRUE(closed);
  }
  Journal& journal() { return *journal_; }

  // One record that takes so many blocks.
  void AppendRecord(uint64_t blocks) {
    std::vector<uint8_t> payload(blocks * kJournalBlockBytes - kRecordHeaderBytes, 0xAB);
    journal_->AppendRecord(RecordKind::kBatch, std::move(payload), 1, [](Status, uint64_t) {});
    loop.RunAll();
  }

  void OnDurable(DurableRecord record) override { heads.push_back(record.head); }
  void OnJournalFull() override { full++; }
  void OnJournalFailed(Status) override { failures++; }
  void OnReplicasLag(std::vector<LaggingReplica>) override {}
  void OnRoundEnd() override {}

  // Blocks of records [tail, head) that are not as they were written.
  uint64_t Damaged(uint64_t tail) {
    uint64_t damaged = 0;
    std::vector<std::byte> block(kJournalBlockBytes);
    iovec iov{block.data(), block.size()};
    for (uint64_t at = tail; at < heads.back(); at += kJournalBlockBytes) {
      Ignored read;
      disk->Read(loop, kRingOffset + at % kRingBytes, &iov, 1, &read);
      loop.RunAll();
      // Whether it is a header or the middle of a payload, its last byte is the payload's.
      if (block.back() != std::byte{0xAB}) damaged++;
    }
    return damaged;
  }

  struct Ignored : Completion {
    Ignored() : Completion([](Completion*, Status) {}) {}
  };

  ManualLoop loop;
  std::shared_ptr<HollowDisk> disk;
  std::vector<uint64_t> heads;  // of each durable record
  int full = 0;
  int failures = 0;

 private:
  DiskTable disks_;
  std::optional<Journal> journal_;
};

TEST(RingGround, EachStretchIsFilledOnceAndRecordsFallWhereItWasWritten) {
  Pool pool(false);
  const uint64_t records = 3 * kRingBytes / kJournalBlockBytes;
  for (uint64_t i = 0; i < records; i++) {
    pool.AppendRecord(1);
    pool.journal().Trim(pool.heads.back());
  }
  ASSERT_EQ(pool.heads.size(), records);
  EXPECT_LE(pool.disk->into_holes, kStretches + 1) << "of three times round the ring only the first record of each stretch";
  EXPECT_LE(pool.disk->filled, kRingBytes / kJournalBlockBytes);
  EXPECT_LE(pool.disk->searches, kStretches + 1) << "once round nothing is looked at any more";
}

TEST(RingGround, NoRecordIsFilledOverWhateverTheDiskTakesForAHole) {
  const char* text = std::getenv("SEED");
  const uint64_t seed = text ? std::strtoull(text, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  Pool pool(true);
  uint64_t tail = 0;
  for (int i = 0; i < 300; i++) {
    pool.AppendRecord(1 + random() % 20);
    ASSERT_EQ(pool.Damaged(tail), 0u) << "after record " << i;
    // Most of the time the ring is nearly full.
    if (pool.full == 0 && random() % 8 != 0) continue;
    const size_t kept = random() % std::min<size_t>(pool.heads.size(), 3);
    tail = std::max(tail, pool.heads[pool.heads.size() - 1 - kept]);
    pool.full = 0;
    pool.journal().Trim(tail);
    pool.loop.RunAll();
    if (random() % 2 == 0) continue;
    pool.Close();
    pool.Open(tail);  // nothing is known of the ring any more
  }
  EXPECT_GT(pool.disk->filled, 0u);
  EXPECT_EQ(pool.failures, 0);
}

TEST(RingGround, AJournalThatWasStoppedFillsNothing) {
  Pool pool(true);
  pool.disk->holds = true;
  pool.AppendRecord(1);
  ASSERT_NE(pool.disk->held, nullptr) << "the stretch is being looked at";
  pool.journal().Stop(Status(EIO, "fenced"));
  pool.loop.RunAll();
  pool.disk->held->Run(Status::Ok());
  pool.loop.RunAll();
  EXPECT_EQ(pool.disk->writes, 1) << "the record's";
  EXPECT_EQ(pool.failures, 1);
}

}  // namespace
}  // namespace varve
