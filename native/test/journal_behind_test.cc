// Goal: a disk that does not answer its sync stops nobody but those who have something new on it, and no promise of the journal is
//   weaker for it: records behind their data, flushes behind their changes, batches behind what was appended before them, one order per
//   slot, and nothing lost by a kill.
// Method: a loop without a clock; disks whose syncs the test holds back; seeded lives of three volumes on two data disks, where each record,
//   each answer and, after each step, what a killed process would leave is compared with a model. Replay one case: SEED=7.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "io/memory_disk.h"
#include "journal/journal.h"
#include "test/nbd_manual_loop.h"

namespace varve {
namespace {

constexpr uint64_t kRingBytes = 1024 * 1024;
constexpr unsigned kRingDisk = 0;
constexpr unsigned kVolumes = 3;
constexpr unsigned kSlots = 12;
constexpr unsigned kDataDisks = 2;  // numbers 1 and 2

// Only writes that the test counts, and syncs.
class SyncedDisk final : public Disk {
 public:
  uint64_t Write() { return ++written_; }
  bool IsSynced(uint64_t write) const { return write <= synced_; }
  bool holding() const { return holds_; }
  void HoldSyncs() { holds_ = true; }
  void LetGo() {
    holds_ = false;
    for (auto& sync : std::exchange(held_, {})) Answer(sync);
  }
  void FailNextSync() { fails_ = true; }

  void Sync(EventLoop& loop, Completion* done) override {
    const HeldSync sync{&loop, done, written_};
    if (holds_) held_.push_back(sync);
    else Answer(sync);
  }
  void Read(EventLoop&, uint64_t, const iovec*, int, Completion*) override { std::abort(); }
  void Write(EventLoop&, uint64_t, const iovec*, int, Completion*) override { std::abort(); }
  void Discard(EventLoop&, uint64_t, uint64_t, Completion*) override { std::abort(); }
  void WriteZeroes(EventLoop&, uint64_t, uint64_t, Completion*) override { std::abort(); }
  uint64_t size_bytes() const override { return 1 << 30; }

 private:
  struct HeldSync {
    EventLoop* loop;
    Completion* done;
    uint64_t through;
  };
  void Answer(const HeldSync& sync) {
    if (std::exchange(fails_, false)) return sync.loop->Complete(sync.done, Status(EIO, "sync"));
    synced_ = std::max(synced_, sync.through);
    sync.loop->Complete(sync.done, Status::Ok());
  }

  uint64_t written_ = 0;
  uint64_t synced_ = 0;
  bool holds_ = false;
  bool fails_ = false;
  std::vector<HeldSync> held_;
};

struct Flush : Completion {
  explicit Flush(ManualLoop* loop) : Completion(&OnDone) { wait.loop = loop, wait.done = this; }
  static void OnDone(Completion* self, Status status) {
    static_cast<Flush*>(self)->answers++;
    static_cast<Flush*>(self)->status = status;
  }
  FlushWait wait;
  unsigned volume = 0;
  std::vector<uint64_t> changes;                     // that it is about
  std::vector<std::pair<unsigned, uint64_t>> writes;  // disk, write
  Status status;
  int answers = 0;
  bool checked = false;
};

class JournalBehindTest : public ::testing::Test, public JournalObserver {
 protected:
  JournalBehindTest() {
    disks_.Add(kRingDisk, std::make_shared<MemoryDisk>(kRingBytes));
    for (unsigned disk = 1; disk <= kDataDisks; disk++) {
      data_[disk] = std::make_shared<SyncedDisk>();
      disks_.Add(disk, data_[disk]);
    }
    JournalSpec spec = {};
    spec.epoch = 3;
    spec.replicas = {{kRingDisk, 0}};
    spec.ring_bytes = kRingBytes;
    spec.sequence = 1;
    spec.window_ms = 1000;
    spec.pending_log_path = pending_path_;
    EXPECT_TRUE(journal_.Open(spec).ok());
  }
  ~JournalBehindTest() override { unlink(pending_path_.c_str()); }

  // ---- what the journal says

  void OnDurable(DurableRecord record) override {
    EXPECT_GT(record.head, head_);
    head_ = record.head;
    for (const Delta& delta : record.deltas) OnDurableDelta(delta);
    if (record.token != 0) OnDurableBatch(record.token);
    if (record.serial != 0) last_serial_ = record.serial;
  }
  void OnJournalFull() override { full_ = true; }
  void OnJournalFailed(Status) override { failures_++; }
  void OnReplicasLag(std::vector<LaggingReplica>) override { ADD_FAILURE() << "the ring's disk is well"; }
  void OnRoundEnd() override {}

  void OnDurableDelta(const Delta& delta) {
    const Address address = SlotState{delta.state}.address();
    if (!address.none()) {
      EXPECT_TRUE(data_[address.disk()]->IsSynced(write_of_[address.bits])) << "rule 1: data first";
    }
    // Appended changes of the slot, oldest first; one that a later one had replaced in place is passed over.
    std::deque<Change>& waiting = appended_[{delta.layer, delta.slot}];
    const auto same = [&](const Change& change) { return change.delta.state == delta.state; };
    const auto found = std::find_if(waiting.begin(), waiting.end(), same);
    ASSERT_NE(found, waiting.end()) << "a change is durable once, in the order of its slot";
    for (auto each = waiting.begin(); each <= found; ++each) durable_changes_[each->number] = true;
    waiting.erase(waiting.begin(), found + 1);
    durable_[{delta.layer, delta.slot}] = delta.state;
  }
  void OnDurableBatch(uint64_t token) {
    EXPECT_EQ(token, ++batches_durable_) << "batches in their order";
    for (uint64_t change = 0; change < changes_before_[token]; change++) {
      EXPECT_TRUE(durable_changes_[change]) << "a batch lies behind what was appended before it";
    }
  }

  // ---- what volumes do

  void Write(unsigned volume, uint64_t slot, unsigned disk) {
    const Address address = Address::Of(disk, ++clusters_);
    write_of_[address.bits] = NoteWrite(volume, disk);
    Append(volume, slot, SlotState::Of(address, kFullMask));
    rounds_[volume].Note(disk, round_[volume]);
  }
  void Overwrite(unsigned volume, uint64_t slot) {
    const Address address = SlotState{current_[{volume + 1, slot}]}.address();
    if (!address.none()) NoteWrite(volume, address.disk());
  }
  // A part of it: the cluster stays.
  void TrimPart(unsigned volume, uint64_t slot) {
    const SlotState state{current_[{volume + 1, slot}]};
    if (state.address().none() || (state.mask() & (state.mask() - 1)) == 0) return;
    Append(volume, slot, SlotState::Of(state.address(), state.mask() & (state.mask() - 1)));
    rounds_[volume].Note(state.address().disk(), round_[volume]);
  }
  void Trim(unsigned volume, uint64_t slot) {
    if (current_[{volume + 1, slot}] != 0) Append(volume, slot, SlotState{});
  }
  uint64_t NoteWrite(unsigned volume, unsigned disk) {
    const uint64_t write = data_[disk]->Write();
    journal_.NoteWrite(disk);
    round_[volume] = journal_.Stamp();
    rounds_[volume].Note(disk, round_[volume]);
    written_[volume].push_back({disk, write});
    return write;
  }
  void Append(unsigned volume, uint64_t slot, SlotState state) {
    ASSERT_TRUE(journal_.Reserve(1));
    const LayerId layer = volume + 1;
    const Delta delta = Delta::Of(layer, slot, state, 0, SlotState{current_[{layer, slot}]}.address());
    journal_.Append(delta);
    round_[volume] = journal_.Stamp();
    current_[{layer, slot}] = state.bits;
    appended_[{layer, slot}].push_back({durable_changes_.size(), delta});
    changed_[volume].push_back(durable_changes_.size());
    durable_changes_.push_back(false);
  }
  Flush* StartFlush(unsigned volume) {
    Flush* flush = &flushes_.emplace_back(&loop_);
    flush->wait.round = round_[volume];
    flush->wait.changed = &rounds_[volume];
    flush->volume = volume;
    flush->changes = changed_[volume];
    flush->writes = written_[volume];
    if (journal_.RoundEnded(flush->wait.round)) flush->Run(Status::Ok());
    else journal_.WaitForRound(&flush->wait);
    return flush;
  }
  void AppendBatch() {
    const uint64_t token = changes_before_.size();
    changes_before_.push_back(durable_changes_.size());
    journal_.AppendRecord(RecordKind::kBatch, {1, 2, 3}, token, [this](Status status, uint64_t) { batch_errors_.push_back(status.error()); });
  }

  // ---- what is compared

  void CheckFlushes() {
    for (Flush& flush : flushes_) {
      if (flush.answers == 0 || flush.checked) continue;
      flush.checked = true;
      EXPECT_EQ(flush.answers, 1);
      EXPECT_TRUE(flush.status.ok());
      for (uint64_t change : flush.changes) EXPECT_TRUE(durable_changes_[change]) << "a flush lies behind its volume's changes";
      for (auto [disk, write] : flush.writes) EXPECT_TRUE(data_[disk]->IsSynced(write)) << "and behind its data";
    }
  }
  // As readPendingLog of src/pool/format/pending-log.ts does.
  void CheckWhatAKillLeaves() {
    std::ifstream file(pending_path_, std::ios::binary);
    std::vector<char> bytes(4096 + 4096 * 40);  // no life here makes more changes
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    const auto u64 = [&](size_t at) { uint64_t value; std::memcpy(&value, bytes.data() + at, 8); return value; };
    const uint64_t floor = std::max(u64(48), last_serial_);
    auto shown = durable_;
    for (uint64_t serial = floor + 1; serial < 4096; serial++) {
      const size_t entry = 4096 + serial * 40;
      if (u64(entry) != serial) continue;
      const Slot slot{u64(entry + 8), u64(entry + 16)};
      shown[slot] = u64(entry + 24);
      EXPECT_FALSE(appended_[slot].empty()) << "what is durable already is not done again";
    }
    for (const auto& [slot, state] : current_) {
      EXPECT_EQ(shown[slot], state) << "a killed process loses slot " << slot.second << " of layer " << slot.first;
    }
  }
  void RunAll() {
    loop_.RunAll();
    if (std::exchange(full_, false)) {
      journal_.Trim(head_);
      loop_.RunAll();
    }
    CheckFlushes();
    CheckWhatAKillLeaves();
  }
  void LetGo() {
    for (auto& [disk, data] : data_) data->LetGo();
    RunAll();
  }
  bool Close() {
    journal_.Close([this] { closed_ = true; });
    loop_.RunAll();
    return closed_;
  }

  struct Change {
    uint64_t number;
    Delta delta;
  };
  using Slot = std::pair<LayerId, SlotIndex>;

  const std::string pending_path_ = ::testing::TempDir() + "varve-journal-behind-" + std::to_string(getpid());
  ManualLoop loop_;
  std::map<unsigned, std::shared_ptr<SyncedDisk>> data_;
  DiskTable disks_;
  Journal journal_{&loop_, &disks_, this};
  std::array<DiskRounds, kVolumes> rounds_;
  std::array<uint64_t, kVolumes> round_{};
  std::array<std::vector<uint64_t>, kVolumes> changed_;
  std::array<std::vector<std::pair<unsigned, uint64_t>>, kVolumes> written_;
  std::deque<Flush> flushes_;
  std::map<uint64_t, uint64_t> write_of_;  // the first write, by address
  std::map<Slot, uint64_t> current_;
  std::map<Slot, uint64_t> durable_;
  std::map<Slot, std::deque<Change>> appended_;  // not yet durable
  std::vector<bool> durable_changes_;
  std::vector<uint64_t> changes_before_{0};  // of each batch, by token
  std::vector<int> batch_errors_;
  uint64_t batches_durable_ = 0;
  uint64_t clusters_ = 0;
  uint64_t head_ = 0;
  uint64_t last_serial_ = 0;
  bool full_ = false;
  bool closed_ = false;
  int failures_ = 0;
};

TEST_F(JournalBehindTest, OthersGoOnWhileADiskDoesNotAnswer) {
  data_[1]->HoldSyncs();
  Write(0, 1, 1);
  Write(1, 1, 2);
  Flush* held = StartFlush(0);
  Flush* other = StartFlush(1);
  RunAll();
  EXPECT_EQ(other->answers, 0) << "a healthy disk is waited for";
  loop_.Advance(DataSyncs::kPatience);
  EXPECT_EQ(other->answers, 1);
  // From now on nobody waits for it at all.
  for (int i = 0; i < 5; i++) {
    Write(1, 2, 2);
    Flush* next = StartFlush(1);
    RunAll();
    EXPECT_EQ(next->answers, 1);
  }
  EXPECT_EQ(held->answers, 0);
  LetGo();
  EXPECT_EQ(held->answers, 1);
  EXPECT_TRUE(Close());
}

TEST_F(JournalBehindTest, LaterChangesOfAHeldSlotStayBehindIt) {
  data_[1]->HoldSyncs();
  Write(0, 1, 1);
  journal_.RequestRound();
  RunAll();
  loop_.Advance(DataSyncs::kPatience);
  Write(0, 1, 2);  // the same slot on another disk
  Write(0, 2, 2);
  journal_.RequestRound();
  RunAll();
  EXPECT_FALSE(durable_.contains({1, 1}));
  EXPECT_TRUE(durable_.contains({1, 2}));
  LetGo();
  const uint64_t newest = current_[{1, 1}];
  EXPECT_EQ((durable_[{1, 1}]), newest);
  EXPECT_TRUE(Close());
}

TEST_F(JournalBehindTest, BatchesWaitAndKeepTheirPlace) {
  data_[1]->HoldSyncs();
  Write(0, 1, 1);
  AppendBatch();
  AppendBatch();
  Write(1, 1, 2);
  Flush* other = StartFlush(1);
  RunAll();
  loop_.Advance(DataSyncs::kPatience);
  EXPECT_EQ(other->answers, 1);
  EXPECT_EQ(batches_durable_, 0u);
  LetGo();
  EXPECT_EQ(batches_durable_, 2u);
  EXPECT_TRUE(Close());
}

TEST_F(JournalBehindTest, ADiskThatIsAlwaysSlowStillLetsItsFlushesEnd) {
  Flush* flush = nullptr;
  for (int round = 0; round < 6; round++) {
    data_[1]->HoldSyncs();
    Write(0, 1 + round, 1);
    if (round == 0) flush = StartFlush(0);
    journal_.RequestRound();
    RunAll();
    loop_.Advance(DataSyncs::kPatience + std::chrono::milliseconds(1));
    Write(0, 7, 1);  // never clean when its sync ends
    journal_.RequestRound();
    RunAll();
    data_[1]->LetGo();
    data_[1]->HoldSyncs();
    RunAll();
  }
  EXPECT_EQ(flush->answers, 1);
  LetGo();
  EXPECT_TRUE(Close());
}

TEST_F(JournalBehindTest, ALateFailedSyncIsFinal) {
  data_[1]->HoldSyncs();
  Write(0, 1, 1);
  Flush* flush = StartFlush(0);
  AppendBatch();
  RunAll();
  loop_.Advance(DataSyncs::kPatience);
  EXPECT_EQ(failures_, 0);
  data_[1]->FailNextSync();
  data_[1]->LetGo();
  loop_.RunAll();
  EXPECT_EQ(failures_, 1);
  EXPECT_EQ(flush->status.error(), EIO);
  EXPECT_EQ(batch_errors_, std::vector<int>{EIO});
  EXPECT_FALSE(durable_.contains({1, 1}));
  EXPECT_TRUE(Close());
}

TEST_F(JournalBehindTest, ClosingWaitsForWhatIsBehind) {
  data_[1]->HoldSyncs();
  Write(0, 1, 1);
  journal_.RequestRound();
  RunAll();
  loop_.Advance(DataSyncs::kPatience);
  EXPECT_FALSE(Close());
  LetGo();
  EXPECT_TRUE(closed_);
  EXPECT_TRUE(durable_.contains({1, 1}));
  EXPECT_EQ(loop_.armed_timers(), 0u);
}

TEST_F(JournalBehindTest, ADiskLeavesTheTableOnlyWhenNothingOfItIsInHand) {
  data_[1]->HoldSyncs();
  Write(0, 1, 1);
  journal_.RequestRound();
  RunAll();
  loop_.Advance(DataSyncs::kPatience);
  bool removed = false;
  journal_.RemoveDisk(1, [&] { removed = true; });
  Write(1, 1, 2);
  Flush* other = StartFlush(1);
  RunAll();
  EXPECT_EQ(other->answers, 1);
  EXPECT_FALSE(removed);
  LetGo();
  EXPECT_TRUE(removed);
  EXPECT_TRUE(Close());
}

TEST_F(JournalBehindTest, SeededLivesKeepEveryPromise) {
  const char* text = std::getenv("SEED");
  const uint64_t seed = text ? std::strtoull(text, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int step = 0; step < 1500 && !HasFailure(); step++) {
    const unsigned volume = random() % kVolumes;
    const uint64_t slot = 1 + random() % kSlots;
    const unsigned disk = 1 + random() % kDataDisks;
    switch (random() % 16) {
      case 0: data_[disk]->HoldSyncs(); break;
      case 1: data_[disk]->LetGo(); break;
      case 2: StartFlush(volume); break;
      case 3: AppendBatch(); break;
      case 4: Trim(volume, slot); break;
      case 5: TrimPart(volume, slot); break;
      case 6: Overwrite(volume, slot); break;
      case 7: journal_.RequestRound(); break;
      case 8: loop_.Advance(std::chrono::milliseconds(random() % 1500)); break;
      case 9:
      case 10: RunAll(); break;
      // The third volume has one disk only.
      default: Write(volume, slot, volume == 2 ? 2 : disk);
    }
    CheckFlushes();
    CheckWhatAKillLeaves();
  }
  LetGo();
  for (int i = 0; i < 3; i++) loop_.Advance(std::chrono::milliseconds(2000));
  EXPECT_TRUE(Close());
  CheckFlushes();
  for (const Flush& flush : flushes_) EXPECT_EQ(flush.answers, 1);
  EXPECT_TRUE(std::all_of(durable_changes_.begin(), durable_changes_.end(), [](bool durable) { return durable; }));
  for (const auto& [slot, state] : current_) EXPECT_EQ(durable_[slot], state);
  EXPECT_EQ(batches_durable_ + 1, changes_before_.size());
}

}  // namespace
}  // namespace varve
