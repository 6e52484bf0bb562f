// Goal: records are durable in one order behind the data they point to, every wait ends once, and nothing waits
//   for a journal that failed or is closed.
// Method: a loop without a clock (nbd_manual_loop.h) and a memory disk, so that every step is the test's; the ring is
//   read back byte by byte and compared with what the observer was told. Replay one case: SEED=7.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>

#include "io/fault_disk.h"
#include "io/memory_disk.h"
#include "journal/journal.h"
#include "test/nbd_manual_loop.h"

namespace varve {
namespace {

constexpr uint64_t kRingOffset = 65536;
constexpr uint64_t kRingBytes = 256 * 1024;
constexpr uint64_t kOtherRingOffset = 131072;
constexpr unsigned kWindowMs = 1000;

struct Waiter : Completion {
  explicit Waiter(uint64_t stamp, ManualLoop* loop) : Completion(&OnDone) { wait = {.round = stamp, .loop = loop, .done = this}; }
  static void OnDone(Completion* self, Status status) {
    static_cast<Waiter*>(self)->ends++;
    static_cast<Waiter*>(self)->status = status;
  }
  FlushWait wait;
  Status status;
  int ends = 0;
};

// As a kernel may behave: one sync fails, the pages it was about are dropped, and the next sync succeeds.
class ForgetfulDisk final : public Disk {
 public:
  explicit ForgetfulDisk(uint64_t size_bytes) : below_(size_bytes) {}
  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override {
    below_.Read(loop, offset, iov, count, done);
  }
  void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override {
    writes++;
    below_.Write(loop, offset, iov, count, done);
  }
  void Sync(EventLoop& loop, Completion* done) override {
    if (syncs++ == 0) loop.Complete(done, Status(EIO, "sync"));
    else below_.Sync(loop, done);
  }
  void Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override {
    below_.Discard(loop, offset, bytes, done);
  }
  void WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override {
    below_.WriteZeroes(loop, offset, bytes, done);
  }
  uint64_t size_bytes() const override { return below_.size_bytes(); }

  int writes = 0;
  int syncs = 0;

 private:
  MemoryDisk below_;
};

class JournalTest : public ::testing::Test, public JournalObserver {
 protected:
  JournalTest() : disk_(std::make_shared<FaultDisk>(std::make_shared<MemoryDisk>(kRingOffset + kRingBytes))) {
    disks_.Add(0, disk_);
    JournalSpec spec = {};
    spec.epoch = 3;
    spec.replicas = {{0, kRingOffset}};
    spec.ring_bytes = kRingBytes;
    spec.head = spec.tail = 7 * kJournalBlockBytes;
    spec.sequence = 11;
    spec.window_ms = kWindowMs;
    spec.pending_log_path = pending_path_;
    EXPECT_TRUE(journal_.Open(spec).ok());
  }
  ~JournalTest() override { unlink(pending_path_.c_str()); }

  void OnDurable(DurableRecord record) override { durable_.push_back(std::move(record)); }
  void OnJournalFull() override { full_++; }
  void OnReplicasLag(std::vector<LaggingReplica> lagging) override {
    for (const LaggingReplica& replica : lagging) lags_.push_back({replica.disk, replica.failure.error()});
  }
  void OnJournalFailed(Status) override { failures_++; }
  void OnRoundEnd() override { rounds_++; }

  void AppendDelta(uint64_t slot) {
    ASSERT_TRUE(journal_.Reserve(1));
    journal_.Append({7, slot, slot << 16 | 1, 0});
  }
  void AppendBatch(size_t bytes, uint64_t token) {
    journal_.AppendRecord(RecordKind::kBatch, std::vector<uint8_t>(bytes, static_cast<uint8_t>(token)), token,
                          [this, token](Status status, uint64_t) { ended_.push_back({token, status.error()}); });
  }
  std::vector<uint8_t> RingBytes(uint64_t position, uint64_t bytes) { return RingBytesOn(*disk_, kRingOffset, position, bytes); }
  std::vector<uint8_t> RingBytesOn(Disk& disk, uint64_t ring_offset, uint64_t position, uint64_t bytes) {
    std::vector<uint8_t> out(bytes);
    for (uint64_t at = 0; at < bytes; at += kJournalBlockBytes) {
      iovec iov = {out.data() + at, kJournalBlockBytes};
      Waiter read(0, &loop_);
      disk.Read(loop_, ring_offset + (position + at) % kRingBytes, &iov, 1, &read);
      loop_.RunAll();
    }
    return out;
  }
  // A disk that has no replica yet, with its number; its ring is to begin elsewhere.
  std::shared_ptr<FaultDisk> AddDisk(unsigned number) {
    auto disk = std::make_shared<FaultDisk>(std::make_shared<MemoryDisk>(kOtherRingOffset + kRingBytes));
    disks_.Add(number, disk);
    return disk;
  }
  void BeginReplica(unsigned number) {
    journal_.BeginReplica({number, kOtherRingOffset}, [this](Status status) { replica_errors_.push_back(status.error()); });
  }
  bool Close() {
    journal_.Close([this] { closed_ = true; });
    loop_.RunAll();
    return closed_;
  }

  std::string PendingMagic() const {
    char magic[8] = {};
    std::ifstream(pending_path_, std::ios::binary).read(magic, sizeof(magic));
    return std::string(magic, sizeof(magic));
  }

  const std::string pending_path_ = ::testing::TempDir() + "varve-journal-" + std::to_string(getpid());
  ManualLoop loop_;
  std::shared_ptr<FaultDisk> disk_;
  DiskTable disks_;
  Journal journal_{&loop_, &disks_, this};
  std::vector<DurableRecord> durable_;
  std::vector<std::pair<uint64_t, int>> ended_;  // batch → errno
  std::vector<int> replica_errors_;  // of each BeginReplica that has ended
  std::vector<std::pair<unsigned, int>> lags_;  // disk and errno, of each report
  int full_ = 0;
  int failures_ = 0;
  int rounds_ = 0;
  bool closed_ = false;
};

TEST_F(JournalTest, RingHoldsWhatTheObserverWasToldInTheOrderOfAppending) {
  const char* text = std::getenv("SEED");
  const uint64_t seed = text ? std::strtoull(text, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::vector<uint64_t> appended;  // slot of a delta, or token of a batch with the top bit
  uint64_t position = 7 * kJournalBlockBytes;
  size_t told = 0;
  size_t compared = 0;
  for (uint64_t step = 1; step < 400; step++) {
    const bool is_batch = random() % 4 == 0;
    for (uint64_t n = is_batch ? 0 : 1 + random() % 3000; n > 0; n--) {
      appended.push_back(appended.size() + 1);
      AppendDelta(appended.back());
    }
    if (is_batch) {
      appended.push_back(uint64_t{1} << 63 | step);
      AppendBatch(1 + random() % 60000, step);
    }
    if (random() % 3 != 0) continue;
    journal_.RequestRound();
    // The tail follows what was told: a full ring has to go on when it moves.
    do {
      loop_.RunAll();
      for (; told < durable_.size(); told++) {
        const DurableRecord& record = durable_[told];
        const std::vector<uint8_t> bytes = RingBytes(position, record.head - position);
        uint64_t header[6];
        std::memcpy(header, bytes.data(), sizeof(header));
        ASSERT_EQ(header[3], 3u) << "epoch";
        ASSERT_EQ(header[4], record.sequence);
        ASSERT_EQ(record.sequence, 11 + told);
        ASSERT_EQ(header[5], position);
        if (record.token != 0) {
          ASSERT_EQ(appended[compared++], uint64_t{1} << 63 | record.token);
        }
        for (size_t i = 0; i < record.deltas.size(); i++) {
          ASSERT_EQ(appended[compared++], record.deltas[i].slot);
          ASSERT_EQ(std::memcmp(bytes.data() + 72 + i * sizeof(Delta), &record.deltas[i], sizeof(Delta)), 0);
        }
        position = record.head;
      }
      journal_.Trim(position);
      loop_.RunAll();
    } while (told < durable_.size());
  }
  EXPECT_GT(full_, 0) << "the ring was full at times";
  Close();
  // What was left may be more than the ring takes at once.
  for (size_t before = 0; !closed_ && before < durable_.size();) {
    before = durable_.size();
    journal_.Trim(durable_.back().head);
    loop_.RunAll();
  }
  EXPECT_TRUE(closed_);
}

TEST_F(JournalTest, WindowMakesChangesDurableWithoutAFlush) {
  AppendDelta(1);
  loop_.RunAll();
  loop_.Advance(std::chrono::milliseconds(kWindowMs - 1));
  EXPECT_TRUE(durable_.empty());
  loop_.Advance(std::chrono::milliseconds(1));
  ASSERT_EQ(durable_.size(), 1u);
  EXPECT_EQ(loop_.armed_timers(), 0u) << "nothing is pending";
  AppendDelta(2);
  loop_.RunAll();
  loop_.Advance(std::chrono::milliseconds(kWindowMs));
  EXPECT_EQ(durable_.size(), 2u);
}

TEST_F(JournalTest, ChangeDuringARoundIsCoveredByTheNext) {
  AppendDelta(1);
  disk_->Set({{.op = DiskOp::kSync, .kind = FaultKind::kHang, .times = 1}});
  Waiter first(journal_.Stamp(), &loop_);
  journal_.WaitForRound(&first.wait);
  loop_.RunAll();
  EXPECT_EQ(first.ends, 0);
  AppendDelta(2);
  Waiter second(journal_.Stamp(), &loop_);
  EXPECT_EQ(second.wait.round, first.wait.round + 1);
  journal_.WaitForRound(&second.wait);
  loop_.RunAll();
  disk_->Set({});
  loop_.RunAll();
  EXPECT_EQ(first.ends, 1);
  EXPECT_EQ(second.ends, 1);
  ASSERT_EQ(durable_.size(), 2u) << "one record for each round";
  EXPECT_EQ(durable_[0].deltas.size(), 1u);
  EXPECT_TRUE(journal_.RoundEnded(second.wait.round));
}

TEST_F(JournalTest, FlushIsAnsweredBehindTheSyncOfItsRecord) {
  AppendDelta(1);
  journal_.NoteWrite(0);
  disk_->Set({{.op = DiskOp::kSync, .kind = FaultKind::kHang, .after = 1}});  // the data's sync passes
  Waiter flush(journal_.Stamp(), &loop_);
  journal_.WaitForRound(&flush.wait);
  loop_.RunAll();
  EXPECT_NE(RingBytes(7 * kJournalBlockBytes, kJournalBlockBytes), std::vector<uint8_t>(kJournalBlockBytes));
  EXPECT_EQ(flush.ends, 0);
  EXPECT_TRUE(durable_.empty()) << "nobody is told of a record that a power cut may take back";
  disk_->Set({});
  loop_.RunAll();
  EXPECT_EQ(flush.ends, 1);
  EXPECT_TRUE(flush.status.ok());
  EXPECT_EQ(durable_.size(), 1u);
}

TEST_F(JournalTest, FailedSyncIsNotTriedAgain) {
  auto forgetful = std::make_shared<ForgetfulDisk>(kRingOffset + kRingBytes);
  disks_.Add(0, forgetful);
  AppendDelta(1);
  journal_.NoteWrite(0);
  Waiter flush(journal_.Stamp(), &loop_);
  journal_.WaitForRound(&flush.wait);
  loop_.RunAll();
  EXPECT_EQ(flush.status.error(), EIO);
  Waiter again(journal_.Stamp(), &loop_);
  journal_.WaitForRound(&again.wait);
  loop_.RunAll();
  EXPECT_EQ(again.status.error(), EIO);
  EXPECT_EQ(forgetful->syncs, 1);
  EXPECT_EQ(forgetful->writes, 0) << "no record of data that may be gone";
  EXPECT_TRUE(Close());
}

TEST_F(JournalTest, NothingWaitsForAFailedJournal) {
  AppendBatch(100, 1);
  AppendDelta(1);
  disk_->Set({{.op = DiskOp::kWrite, .times = 1}});
  Waiter flush(journal_.Stamp(), &loop_);
  journal_.WaitForRound(&flush.wait);
  loop_.RunAll();
  EXPECT_EQ(flush.status.error(), EIO);
  EXPECT_EQ(failures_, 1);
  EXPECT_TRUE(durable_.empty());
  ASSERT_EQ(ended_, (std::vector<std::pair<uint64_t, int>>{{1, EIO}}));

  const int rounds = rounds_;
  AppendBatch(100, 2);
  Waiter later(journal_.Stamp(), &loop_);
  journal_.WaitForRound(&later.wait);
  loop_.RunAll();
  EXPECT_EQ(later.status.error(), EIO);
  EXPECT_EQ(later.ends, 1);
  ASSERT_EQ(ended_.size(), 2u) << "a batch appended after the failure ends too";
  EXPECT_EQ(ended_[1], std::make_pair(uint64_t{2}, EIO));
  EXPECT_GT(rounds_, rounds) << "who waits for room in the pending log is woken";
  EXPECT_EQ(failures_, 1);
  EXPECT_TRUE(Close());
}

TEST_F(JournalTest, FailedSyncLeavesNoChangesToALaterLife) {
  AppendDelta(1);
  EXPECT_EQ(PendingMagic(), "VARVEPND");
  disk_->Set({{.op = DiskOp::kSync, .times = 1}});
  journal_.NoteWrite(0);
  journal_.RequestRound();
  loop_.RunAll();
  EXPECT_EQ(failures_, 1);
  EXPECT_NE(PendingMagic(), "VARVEPND");
}

TEST_F(JournalTest, StoppedBetweenRoundsItWritesNothing) {
  AppendDelta(1);
  journal_.Stop(Status(ESTALE, "control plane"));
  AppendBatch(100, 1);
  Waiter flush(journal_.Stamp(), &loop_);
  journal_.WaitForRound(&flush.wait);
  loop_.RunAll();
  loop_.Advance(std::chrono::milliseconds(2 * kWindowMs));
  EXPECT_EQ(flush.status.error(), EIO);
  EXPECT_EQ(failures_, 1);
  EXPECT_TRUE(durable_.empty());
  EXPECT_EQ(RingBytes(7 * kJournalBlockBytes, kJournalBlockBytes), std::vector<uint8_t>(kJournalBlockBytes));
  EXPECT_NE(PendingMagic(), "VARVEPND");
  EXPECT_TRUE(Close());
}

TEST_F(JournalTest, StoppedDuringItsSyncItWritesNoRecordAndClosesBehindIt) {
  AppendDelta(1);
  journal_.NoteWrite(0);
  disk_->Set({{.op = DiskOp::kSync, .kind = FaultKind::kHang, .times = 1}});
  Waiter flush(journal_.Stamp(), &loop_);
  journal_.WaitForRound(&flush.wait);
  loop_.RunAll();
  journal_.Stop(Status(ESTALE, "control plane"));
  journal_.Stop(Status(ESTALE, "control plane"));
  EXPECT_FALSE(Close()) << "the sync is still under way";
  EXPECT_TRUE(journal_.failed());
  disk_->Set({});
  loop_.RunAll();
  EXPECT_TRUE(closed_);
  EXPECT_EQ(flush.status.error(), EIO);
  EXPECT_EQ(failures_, 1);
  EXPECT_EQ(RingBytes(7 * kJournalBlockBytes, kJournalBlockBytes), std::vector<uint8_t>(kJournalBlockBytes));
}

TEST_F(JournalTest, StoppedWithAFullRingItEnds) {
  for (uint64_t token = 1; token <= 6; token++) AppendBatch(60000, token);
  loop_.RunAll();
  journal_.Stop(Status(ESTALE, "control plane"));
  loop_.RunAll();
  ASSERT_EQ(ended_.size(), 6u);
  EXPECT_EQ(ended_.back().second, ESTALE);
  journal_.Trim(durable_[0].head);
  loop_.RunAll();
  EXPECT_EQ(durable_.size(), 4u);
  EXPECT_TRUE(Close());
}

TEST_F(JournalTest, NoTimerOutlivesAJournalThatFailed) {
  AppendDelta(1);
  disk_->Set({{.op = DiskOp::kWrite, .times = 1}});
  journal_.RequestRound();
  loop_.RunAll();
  journal_.NoteWrite(0);  // a write that was under way ends
  loop_.RunAll();
  EXPECT_TRUE(Close());
  EXPECT_EQ(loop_.armed_timers(), 0u);
}

TEST_F(JournalTest, FullRingWaitsForItsTailAndClosesBehindIt) {
  for (uint64_t token = 1; token <= 6; token++) AppendBatch(60000, token);
  loop_.RunAll();
  EXPECT_EQ(full_, 1);
  EXPECT_EQ(durable_.size(), 4u);
  EXPECT_FALSE(Close());
  journal_.Trim(durable_[0].head);
  loop_.RunAll();
  EXPECT_EQ(durable_.size(), 5u);
  EXPECT_EQ(full_, 2) << "it is said again when the tail did not move far enough";
  journal_.Trim(durable_[1].head);
  loop_.RunAll();
  EXPECT_EQ(durable_.size(), 6u);
  EXPECT_TRUE(closed_);
}

TEST_F(JournalTest, ReplicaBegunInMidLifeHoldsTheLivePartAndWhatFollows) {
  std::shared_ptr<FaultDisk> other = AddDisk(1);
  // Over the end of the ring, whose tail has moved.
  for (uint64_t token = 1; token <= 6; token++) {
    AppendBatch(60000, token);
    loop_.RunAll();
    if (token == 4) journal_.Trim(durable_[2].head);
    loop_.RunAll();
  }
  BeginReplica(1);
  AppendBatch(5000, 7);
  loop_.RunAll();
  EXPECT_EQ(replica_errors_, std::vector<int>{0});
  ASSERT_EQ(durable_.size(), 7u);
  const uint64_t tail = durable_[2].head;
  const uint64_t live = durable_.back().head - tail;
  EXPECT_TRUE(RingBytes(tail, live) == RingBytesOn(*other, kOtherRingOffset, tail, live));

  journal_.EndReplica(0, [] {});
  const uint64_t last = durable_[6].head;
  const std::vector<uint8_t> before = RingBytes(last, kJournalBlockBytes);
  AppendBatch(5000, 8);
  loop_.RunAll();
  EXPECT_TRUE(RingBytes(last, kJournalBlockBytes) == before) << "an ended replica is not written";
  EXPECT_EQ(RingBytesOn(*other, kOtherRingOffset, last, kJournalBlockBytes)[kRecordHeaderBytes], 8);
  EXPECT_TRUE(Close());
}

TEST_F(JournalTest, ReplicaIsBegunOnlyBehindItsSync) {
  std::shared_ptr<FaultDisk> other = AddDisk(1);
  AppendBatch(5000, 1);
  loop_.RunAll();
  other->Set({{.op = DiskOp::kSync, .kind = FaultKind::kHang, .times = 1}});
  BeginReplica(1);
  AppendBatch(5000, 2);
  loop_.RunAll();
  EXPECT_TRUE(replica_errors_.empty()) << "a power cut may still take the copy away";
  EXPECT_EQ(durable_.size(), 1u) << "the next round waits for it";
  other->Set({});
  loop_.RunAll();
  EXPECT_EQ(replica_errors_, std::vector<int>{0});
  EXPECT_EQ(durable_.size(), 2u);
  EXPECT_TRUE(Close());
}

TEST_F(JournalTest, ReplicaThatCannotBeWrittenIsNoneAndTheJournalGoesOn) {
  for (DiskOp op : {DiskOp::kWrite, DiskOp::kSync}) {
    std::shared_ptr<FaultDisk> other = AddDisk(1);
    AppendBatch(5000, 1);
    loop_.RunAll();
    other->Set({{.op = op, .error = ENOSPC}});
    replica_errors_.clear();
    BeginReplica(1);
    AppendBatch(5000, 2);
    loop_.RunAll();
    EXPECT_EQ(replica_errors_, std::vector<int>{ENOSPC});
  }
  EXPECT_EQ(durable_.size(), 4u);
  EXPECT_EQ(failures_, 0);
  EXPECT_TRUE(Close());
}

// Two replicas, disk 0 and the one that is returned, with a record on both.
class ReplicasTest : public JournalTest {
 protected:
  using Lags = std::vector<std::pair<unsigned, int>>;
  ReplicasTest() : other_(AddDisk(1)) {
    BeginReplica(1);
    AppendBatch(5000, 1);
    loop_.RunAll();
    EXPECT_EQ(replica_errors_, std::vector<int>{0});
    EXPECT_EQ(durable_.size(), 1u);
    replica_errors_.clear();
  }
  // Nothing that hangs outlives its loop.
  ~ReplicasTest() override {
    disk_->Set({});
    other_->Set({});
    loop_.RunAll();
  }
  void EndReplica(unsigned number) {
    journal_.EndReplica(number, [this] { replicas_idle_++; });
    loop_.RunAll();
  }
  // A flush that waits for the next record.
  void Flush(Waiter* flush) {
    AppendBatch(5000, ++token_);
    journal_.WaitForRound(&flush->wait);
    loop_.RunAll();
  }
  bool IsWhole(uint64_t from) {
    const uint64_t live = durable_.back().head - from;
    return RingBytes(from, live) == RingBytesOn(*other_, kOtherRingOffset, from, live);
  }

  std::shared_ptr<FaultDisk> other_;
  uint64_t token_ = 1;
  int replicas_idle_ = 0;
};

TEST_F(ReplicasTest, ReplicaThatDoesNotAnswerIsReportedAndTheRoundGoesOnWithoutIt) {
  for (DiskOp op : {DiskOp::kWrite, DiskOp::kSync}) {
    other_->Set({{.op = op, .kind = FaultKind::kHang}});
    Waiter flush(journal_.Stamp(), &loop_);
    Flush(&flush);
    loop_.Advance(kReplicaPatience - std::chrono::milliseconds(1));
    EXPECT_TRUE(lags_.empty()) << "it has its time";
    loop_.Advance(std::chrono::milliseconds(1));
    EXPECT_EQ(lags_, (Lags{{1, 0}}));
    loop_.Advance(kReplicaPatience);
    EXPECT_EQ(lags_.size(), 2u) << "whoever could do nothing about it is told again";
    EXPECT_EQ(flush.ends, 0) << "its label still says that it has every durable record";
    EndReplica(1);
    EXPECT_EQ(flush.ends, 1);
    EXPECT_TRUE(flush.status.ok());
    EXPECT_EQ(replicas_idle_, 0);

    BeginReplica(1);
    loop_.RunAll();
    EXPECT_EQ(replica_errors_, std::vector<int>{EBUSY}) << "what hangs may still fall on its ring";
    Waiter without(journal_.Stamp(), &loop_);
    Flush(&without);
    EXPECT_EQ(without.ends, 1);
    other_->Set({});
    loop_.RunAll();
    EXPECT_EQ(replicas_idle_, 1);
    BeginReplica(1);
    loop_.RunAll();
    EXPECT_EQ(replica_errors_, (std::vector<int>{EBUSY, 0}));
    EXPECT_TRUE(IsWhole(7 * kJournalBlockBytes)) << "late bytes of an earlier step did not get into a later one";
    lags_.clear();
    replica_errors_.clear();
    replicas_idle_ = 0;
  }
  EXPECT_EQ(failures_, 0);
  EXPECT_TRUE(Close());
  EXPECT_EQ(loop_.armed_timers(), 0u);
}

TEST_F(ReplicasTest, ReplicaThatFailsIsReportedAtOnce) {
  for (DiskOp op : {DiskOp::kWrite, DiskOp::kSync}) {
    auto third = AddDisk(2);
    BeginReplica(2);
    loop_.RunAll();
    third->Set({{.op = op}});
    Waiter flush(journal_.Stamp(), &loop_);
    Flush(&flush);
    ASSERT_FALSE(lags_.empty());
    EXPECT_EQ(lags_.back(), std::make_pair(2u, EIO));
    EXPECT_EQ(flush.ends, 0);
    EndReplica(2);
    EXPECT_TRUE(flush.status.ok());
    EXPECT_EQ(flush.ends, 1);
    EXPECT_EQ(replicas_idle_, 1) << "nothing is on its way there";
    lags_.clear();
    replicas_idle_ = 0;
  }
  EXPECT_EQ(failures_, 0);
  EXPECT_TRUE(Close());
}

TEST_F(ReplicasTest, SlowReplicaThatAnswersStays) {
  other_->Set({{.op = DiskOp::kWrite, .kind = FaultKind::kHang}});
  Waiter flush(journal_.Stamp(), &loop_);
  Flush(&flush);
  loop_.Advance(kReplicaPatience);
  EXPECT_EQ(lags_.size(), 1u);
  other_->Set({});
  loop_.RunAll();
  EXPECT_EQ(flush.ends, 1);
  EXPECT_TRUE(IsWhole(7 * kJournalBlockBytes));
  EXPECT_TRUE(Close());
}

TEST_F(ReplicasTest, NobodyIsLeftBehindAsLongAsNoReplicaHasTheRecord) {
  disk_->Set({{.op = DiskOp::kSync, .kind = FaultKind::kHang}});
  other_->Set({{.op = DiskOp::kWrite}});
  Waiter flush(journal_.Stamp(), &loop_);
  Flush(&flush);
  loop_.Advance(3 * kReplicaPatience);
  EXPECT_TRUE(lags_.empty());
  EXPECT_EQ(flush.ends, 0);
  disk_->Set({});
  loop_.RunAll();
  EXPECT_EQ(lags_, (Lags{{1, EIO}})) << "now one has it";
  EndReplica(1);
  EXPECT_TRUE(flush.status.ok());
  EXPECT_TRUE(Close());
}

TEST_F(ReplicasTest, RecordThatNoReplicaTakesEndsTheJournal) {
  for (const auto& disk : {disk_, other_}) disk->Set({{.op = DiskOp::kWrite}});
  Waiter flush(journal_.Stamp(), &loop_);
  Flush(&flush);
  EXPECT_EQ(flush.status.error(), EIO);
  EXPECT_EQ(failures_, 1);
  EXPECT_TRUE(lags_.empty());
  EXPECT_TRUE(Close());
}

TEST_F(ReplicasTest, StoppedWhileAReplicaLagsItEnds) {
  other_->Set({{.op = DiskOp::kWrite}});
  Waiter flush(journal_.Stamp(), &loop_);
  Flush(&flush);
  EXPECT_EQ(lags_.size(), 1u);
  journal_.Stop(Status(ESTALE, "control plane"));
  loop_.RunAll();
  EXPECT_EQ(flush.status.error(), EIO);
  EXPECT_EQ(failures_, 1);
  EXPECT_TRUE(Close());
}

TEST_F(ReplicasTest, ClosingWaitsForWhatIsOnItsWayToAnEndedReplica) {
  other_->Set({{.op = DiskOp::kWrite, .kind = FaultKind::kHang}});
  Waiter flush(journal_.Stamp(), &loop_);
  Flush(&flush);
  loop_.Advance(kReplicaPatience);
  EndReplica(1);
  EXPECT_TRUE(flush.status.ok());
  EXPECT_FALSE(Close()) << "it would fall on the ring of the next life";
  other_->Set({});
  loop_.RunAll();
  EXPECT_TRUE(closed_);
}

TEST_F(ReplicasTest, CopyThatIsNotAnsweredKeepsTheRoundsWaitingNoLonger) {
  EndReplica(1);
  for (DiskOp op : {DiskOp::kWrite, DiskOp::kSync}) {
    other_->Set({{.op = op, .kind = FaultKind::kHang}});
    BeginReplica(1);
    Waiter flush(journal_.Stamp(), &loop_);
    Flush(&flush);
    EXPECT_EQ(flush.ends, 0);
    loop_.Advance(kReplicaPatience);
    EXPECT_EQ(flush.ends, 1);
    EXPECT_EQ(replica_errors_, std::vector<int>{ETIMEDOUT});
    const int idle = replicas_idle_;
    EndReplica(1);
    EXPECT_EQ(replicas_idle_, idle) << "its write may still fall on the ring";
    other_->Set({});
    loop_.RunAll();
    EXPECT_EQ(replicas_idle_, idle + 1);
    replica_errors_.clear();
  }
  EXPECT_TRUE(Close());
  EXPECT_EQ(loop_.armed_timers(), 0u);
}

TEST_F(JournalTest, WorkBetweenRoundsKeepsRoundsAndClosingWaiting) {
  std::function<void()> resume;
  journal_.BetweenRounds([&](std::function<void()> go_on) { resume = std::move(go_on); });
  AppendDelta(1);
  Waiter flush(journal_.Stamp(), &loop_);
  journal_.WaitForRound(&flush.wait);
  EXPECT_FALSE(Close());
  EXPECT_TRUE(durable_.empty());
  resume();
  loop_.RunAll();
  EXPECT_TRUE(closed_);
  EXPECT_TRUE(flush.status.ok());
  EXPECT_EQ(durable_.size(), 1u);
}

TEST_F(JournalTest, StoppedDuringWorkBetweenRoundsItEndsBehindIt) {
  std::function<void()> resume;
  journal_.BetweenRounds([&](std::function<void()> go_on) { resume = std::move(go_on); });
  loop_.RunAll();
  AppendBatch(100, 1);
  journal_.Stop(Status(ESTALE, "control plane"));
  BeginReplica(0);
  loop_.RunAll();
  EXPECT_EQ(failures_, 0);
  resume();
  loop_.RunAll();
  EXPECT_EQ(failures_, 1);
  ASSERT_EQ(ended_, (std::vector<std::pair<uint64_t, int>>{{1, ESTALE}}));
  EXPECT_EQ(replica_errors_, std::vector<int>{EIO});
  EXPECT_TRUE(durable_.empty());
  EXPECT_TRUE(Close());
}

}  // namespace
}  // namespace varve
