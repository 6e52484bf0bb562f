// Goal: a fault that passes within the patience is not noticed above the disk; one that does not is told, for what it
//   concerns and as long as it lasts; and nothing is performed twice or answered twice.
// Method: a patient disk on a fault disk on a disk that counts what it performs. Times are a few milliseconds and decide only
//   how long a test runs: every step waits for a report or an answer.
#include "io/patient_disk.h"

#include <condition_variable>
#include <random>

#include "io/fault_disk.h"
#include "io/memory_disk.h"
#include "test/loop_fixture.h"

namespace varve {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kSizeBytes = 1 << 20;
// Longer than any test: what waits for its end hangs, and is found.
constexpr milliseconds kEndless{3'600'000};

// A memory disk that counts what it performs; as one behind a network it may lose its connection in a sync.
class CountingDisk final : public Disk {
 public:
  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override {
    memory_.Read(loop, offset, iov, count, done);
  }
  void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override {
    writes++;
    memory_.Write(loop, offset, iov, count, done);
  }
  void Sync(EventLoop& loop, Completion* done) override {
    if (sync_error != 0) return loop.Complete(done, Status(sync_error, "sync"));
    syncs++;
    memory_.Sync(loop, done);
  }
  void Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override {
    memory_.Discard(loop, offset, bytes, done);
  }
  void WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override {
    memory_.WriteZeroes(loop, offset, bytes, done);
  }
  uint64_t size_bytes() const override { return kSizeBytes; }
  bool keeps_unsynced() const override { return networked; }

  std::atomic<int> writes{0};
  std::atomic<int> syncs{0};
  std::atomic<int> sync_error{0};
  std::atomic<bool> networked{false};

 private:
  MemoryDisk memory_{kSizeBytes};
};

// What a disk reported, in order.
class Reports {
 public:
  void Add(const DiskCondition& condition) {
    std::lock_guard lock(mutex_);
    conditions_.push_back(condition);
    changed_.notify_all();
  }
  // Waits until `count` were made, and gives the last of them.
  DiskCondition Await(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return conditions_.size() >= count; });
    return conditions_[count - 1];
  }
  std::string States() {
    std::lock_guard lock(mutex_);
    std::string states;
    for (const DiskCondition& condition : conditions_) states += "osf"[static_cast<int>(condition.state)];
    return states;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<DiskCondition> conditions_;
};

// An operation under way.
class Pending {
 public:
  Pending(EventLoop& loop, const std::function<void(Completion*)>& submit)
      : done_([this](Status status) { result_.set_value(status); }) {
    RunOn(loop, [&] { submit(&done_); });
  }
  bool ended() { return future_.wait_for(milliseconds(0)) == std::future_status::ready; }
  Status Await() { return future_.get(); }

 private:
  std::promise<Status> result_;
  std::future<Status> future_ = result_.get_future();
  CallCompletion done_;
};

class PatientDiskTest : public testing::TestWithParam<LoopBackend> {
 protected:
  void Open(milliseconds patience, milliseconds calm = milliseconds(5)) {
    PatientPolicy policy;
    policy.patience = patience;
    policy.retry_min = milliseconds(1);
    policy.retry_max = milliseconds(4);
    policy.look = milliseconds(2);
    policy.silence_max = milliseconds(10);
    policy.calm = calm;
    disk = PatientDisk::Create(faulty, &*home, policy, [this](const DiskCondition& now) { reports.Add(now); });
  }
  void TearDown() override {
    faulty->Set({});
    disk.reset();
    // Home may still be about to wake the other loop, for an end that was seen already: it must not go before that.
    RunOn(*home, [] {});
  }

  std::unique_ptr<Pending> StartWrite(uint8_t value, uint64_t offset = 0) {
    auto write = std::make_shared<Bytes>(4096, value);
    sources.push_back(write);
    pieces.push_back(std::make_unique<iovec>(iovec{write->data(), write->size()}));
    iovec* piece = pieces.back().get();
    return std::make_unique<Pending>(
        *loop, [this, piece, offset](Completion* done) { disk->Write(*loop, offset, piece, 1, done); });
  }
  Status Write(uint8_t value) { return StartWrite(value)->Await(); }
  Status Read() { return ReadDisk(*loop, *disk, 0, &data); }
  uint8_t Below() { return Content(*loop, *below, 0, 1)[0]; }

  RunningLoop home{GetParam()};
  RunningLoop loop{GetParam()};
  std::shared_ptr<CountingDisk> below = std::make_shared<CountingDisk>();
  std::shared_ptr<FaultDisk> faulty = std::make_shared<FaultDisk>(below);
  Reports reports;
  std::shared_ptr<PatientDisk> disk;
  Bytes data = Bytes(4096);
  std::vector<std::shared_ptr<Bytes>> sources;
  std::vector<std::unique_ptr<iovec>> pieces;
};

const int kPassing[] = {ENOTCONN, ETIMEDOUT,    ECONNRESET,  ECONNREFUSED, EHOSTUNREACH, ENETUNREACH,
                        EPIPE,    ESTALE,       EIO,         EROFS,        ENOSPC,       EACCES, EAGAIN};

TEST_P(PatientDiskTest, EveryErrorThatPassesIsWaitedOut) {
  Open(kEndless);
  for (DiskOp op : {DiskOp::kRead, DiskOp::kWrite, DiskOp::kZero}) {
    for (int error : kPassing) {
      faulty->Set({{.op = op, .error = error, .times = 3}});
      Status status = op == DiskOp::kRead    ? Read()
                      : op == DiskOp::kWrite ? Write(static_cast<uint8_t>(error))
                                              : ZeroDisk(*loop, *disk, 4096, 4096);
      EXPECT_TRUE(status.ok()) << error;
    }
  }
  EXPECT_EQ(below->writes, static_cast<int>(std::size(kPassing)));
  EXPECT_EQ(Below(), EAGAIN);
  // Each was one suspension, and ended in its own.
  std::string expected;
  for (size_t i = 0; i < 3 * std::size(kPassing); i++) expected += "so";
  EXPECT_EQ(reports.States(), expected);
}

TEST_P(PatientDiskTest, WhatCannotPassIsToldAtOnce) {
  Open(kEndless);
  faulty->Set({{.op = DiskOp::kWrite, .error = EINVAL}});
  EXPECT_EQ(Write(1).error(), EINVAL);
  // A discard that was refused did no harm; one that found no disk is waited out.
  faulty->Set({{.op = DiskOp::kDiscard, .error = EIO}});
  EXPECT_EQ(DiscardDisk(*loop, *disk, 0, 4096).error(), EIO);
  EXPECT_EQ(reports.States(), "");
  faulty->Set({{.op = DiskOp::kDiscard, .error = ENOTCONN, .times = 2}});
  EXPECT_TRUE(DiscardDisk(*loop, *disk, 0, 4096).ok());
  EXPECT_EQ(reports.States(), "so");
}

TEST_P(PatientDiskTest, HeldUntilItPasses) {
  Open(kEndless);
  faulty->Set({{.op = DiskOp::kWrite, .error = ENOSPC}});
  auto write = StartWrite(1);
  DiskCondition condition = reports.Await(1);
  EXPECT_EQ(condition.state, DiskState::kSuspended);
  EXPECT_EQ(condition.error, ENOSPC);
  EXPECT_GT(condition.patience_left, milliseconds(0));
  // What works goes on meanwhile.
  EXPECT_TRUE(Read().ok());
  EXPECT_TRUE(SyncDisk(*loop, *disk).ok());
  EXPECT_FALSE(write->ended());
  EXPECT_EQ(disk->condition().held, 1u);
  faulty->Set({});
  EXPECT_TRUE(write->Await().ok());
  EXPECT_EQ(reports.Await(2).state, DiskState::kOnline);
  EXPECT_EQ(below->writes, 1);
}

TEST_P(PatientDiskTest, PatienceOverIsToldToWhatFailsAndToNothingElse) {
  // Long enough for a busy machine to look before the disk is believed again.
  Open(milliseconds(20), milliseconds(2000));
  faulty->Set({{.op = DiskOp::kWrite, .error = EROFS}});
  EXPECT_EQ(Write(1).error(), EROFS);
  EXPECT_EQ(reports.States(), "sf");
  // Not held a second time.
  EXPECT_EQ(Write(1).error(), EROFS);
  EXPECT_TRUE(Read().ok());
  faulty->Set({});
  EXPECT_EQ(reports.Await(3).state, DiskState::kOnline);
  EXPECT_TRUE(Write(2).ok());
  EXPECT_EQ(Below(), 2);
  EXPECT_EQ(below->writes, 1);
}

TEST_P(PatientDiskTest, DiskThatCannotBeReachedRefusesUntilAProbeIsAnswered) {
  Open(milliseconds(20));
  faulty->Set({{.error = EHOSTUNREACH}});
  EXPECT_EQ(Write(1).error(), EHOSTUNREACH);
  EXPECT_EQ(Read().error(), EIO);
  EXPECT_EQ(Write(1).error(), EIO);
  EXPECT_EQ(reports.States(), "sf");
  EXPECT_EQ(disk->condition().error, EHOSTUNREACH);
  faulty->Set({});
  EXPECT_EQ(reports.Await(3).state, DiskState::kOnline);
  EXPECT_TRUE(Write(3).ok());
  EXPECT_EQ(Below(), 3);
}

TEST_P(PatientDiskTest, SilenceIsShownAndEnds) {
  Open(kEndless);
  faulty->Set({{.op = DiskOp::kWrite, .kind = FaultKind::kHang}});
  auto write = StartWrite(1);
  DiskCondition condition = reports.Await(1);
  EXPECT_EQ(condition.state, DiskState::kSuspended);
  EXPECT_EQ(condition.error, ETIMEDOUT);
  EXPECT_FALSE(write->ended());
  faulty->Set({});
  EXPECT_TRUE(write->Await().ok());
  EXPECT_EQ(reports.Await(2).state, DiskState::kOnline);
  EXPECT_EQ(below->writes, 1);
}

TEST_P(PatientDiskTest, SilentDiskRefusesAfterItsPatienceWhatComesNew) {
  Open(milliseconds(20));
  faulty->Set({{.kind = FaultKind::kHang}});
  auto write = StartWrite(1);
  EXPECT_EQ(reports.Await(2).state, DiskState::kFailed);
  EXPECT_EQ(Read().error(), EIO);
  EXPECT_FALSE(write->ended());
  faulty->Set({});
  EXPECT_TRUE(write->Await().ok());
  EXPECT_EQ(reports.Await(3).state, DiskState::kOnline);
  EXPECT_TRUE(Read().ok());
}

TEST_P(PatientDiskTest, FailedSyncIsFinal) {
  Open(kEndless);
  for (int error : {EIO, ENOSPC, ENOTCONN}) {
    faulty = std::make_shared<FaultDisk>(below);
    Open(kEndless);
    faulty->Set({{.op = DiskOp::kSync, .error = error, .times = 1}});
    EXPECT_EQ(SyncDisk(*loop, *disk).error(), error);
    EXPECT_EQ(SyncDisk(*loop, *disk).error(), EIO);
    // Writes do not wait for what cannot come.
    EXPECT_EQ(Write(1).error(), EIO);
    EXPECT_TRUE(Read().ok());
    EXPECT_EQ(disk->condition().state, DiskState::kFailed);
  }
  EXPECT_EQ(below->syncs, 0);
  EXPECT_EQ(reports.States(), "fff");
}

TEST_P(PatientDiskTest, FailedSyncEndsThePatienceOfWritesHeld) {
  Open(kEndless);
  faulty->Set({{.op = DiskOp::kWrite, .error = EIO}, {.op = DiskOp::kSync, .error = EIO}});
  auto write = StartWrite(1);
  reports.Await(1);
  EXPECT_EQ(SyncDisk(*loop, *disk).error(), EIO);
  EXPECT_EQ(write->Await().error(), EIO);
}

TEST_P(PatientDiskTest, SyncThatFoundNoConnectionOutlivesThePatienceOfADiskThatKeepsItsData) {
  Open(milliseconds(10));
  below->networked = true;
  below->sync_error = ENOTCONN;
  Pending sync(*loop, [this](Completion* done) { disk->Sync(*loop, done); });
  EXPECT_EQ(reports.Await(2).state, DiskState::kFailed);
  EXPECT_FALSE(sync.ended());
  below->sync_error = 0;
  EXPECT_TRUE(sync.Await().ok());
  EXPECT_EQ(below->syncs, 1);
  EXPECT_EQ(reports.Await(3).state, DiskState::kOnline);
}

TEST_P(PatientDiskTest, SyncThatSuchADiskRefusesIsFinal) {
  Open(kEndless);
  below->networked = true;
  below->sync_error = EIO;
  EXPECT_EQ(SyncDisk(*loop, *disk).error(), EIO);
  EXPECT_EQ(disk->condition().state, DiskState::kFailed);
}

TEST_P(PatientDiskTest, SurrenderEndsAllThatIsHeld) {
  Open(kEndless);
  below->networked = true;
  below->sync_error = ECONNREFUSED;
  faulty->Set({{.op = DiskOp::kWrite, .error = ECONNREFUSED}});
  auto write = StartWrite(1);
  Pending sync(*loop, [this](Completion* done) { disk->Sync(*loop, done); });
  reports.Await(1);
  disk->Surrender();
  EXPECT_EQ(write->Await().error(), ECONNREFUSED);
  EXPECT_EQ(sync.Await().error(), ECONNREFUSED);
  EXPECT_FALSE(SyncDisk(*loop, *disk).ok());
}

TEST_P(PatientDiskTest, WithoutPatienceEverythingIsPassedOn) {
  Open(milliseconds(0));
  faulty->Set({{.error = EIO, .times = 2}});
  EXPECT_EQ(Write(1).error(), EIO);
  EXPECT_EQ(Read().error(), EIO);
  EXPECT_TRUE(Write(1).ok());
  EXPECT_EQ(reports.States(), "");
}

TEST_P(PatientDiskTest, PatienceMayChangeWhileItLasts) {
  Open(kEndless);
  faulty->Set({{.op = DiskOp::kWrite, .error = ENOSPC}});
  auto write = StartWrite(1);
  reports.Await(1);
  disk->SetPatience(milliseconds(1));
  EXPECT_EQ(write->Await().error(), ENOSPC);
}

// Writers on two loops, each to blocks of its own and one after the other, while faults come and go: each write is answered once,
// ok, performed once, and the last one of each block is what lies there.
TEST_P(PatientDiskTest, NothingIsLostOrDoneTwiceWhileFaultsComeAndGo) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Open(kEndless);
  constexpr int kWriters = 8;
  constexpr int kWritesEach = 300;
  struct Writer {
    EventLoop* on;
    uint64_t offset;
    int written = 0;
    Bytes source = Bytes(4096);
    iovec piece{};
    std::unique_ptr<CallCompletion> done;
  };
  std::vector<Writer> writers(kWriters);
  std::atomic<int> running{kWriters};
  std::promise<void> end;
  for (int i = 0; i < kWriters; i++) {
    Writer& writer = writers[i];
    writer.on = i % 2 ? &*loop : &*home;
    writer.offset = 4096u * i;
    writer.piece = {writer.source.data(), writer.source.size()};
    auto submit = [this, &writer] {
      std::fill(writer.source.begin(), writer.source.end(), static_cast<uint8_t>(writer.written + 1));
      disk->Write(*writer.on, writer.offset, &writer.piece, 1, writer.done.get());
    };
    writer.done = std::make_unique<CallCompletion>([&, submit](Status status) {
      EXPECT_TRUE(status.ok());
      if (++writer.written < kWritesEach) return submit();
      if (--running == 0) end.set_value();
    });
    writer.on->Post(submit);
  }
  std::mt19937 random(seed);
  while (running > 0) {
    const int error = kPassing[random() % std::size(kPassing)];
    faulty->Set({{.op = DiskOp::kWrite, .error = error, .after = random() % 20, .times = 1 + random() % 30}});
    RunOn(*loop, [] {});
    if (random() % 4 == 0) RunOn(*home, [] {});
  }
  end.get_future().wait();
  RunOn(*loop, [] {});
  RunOn(*home, [] {});
  for (Writer& writer : writers) {
    EXPECT_EQ(writer.done->runs, kWritesEach);
    EXPECT_EQ(Content(*loop, *below, writer.offset, 1)[0], static_cast<uint8_t>(kWritesEach));
  }
  EXPECT_EQ(below->writes, kWriters * kWritesEach);
}

INSTANTIATE_TEST_SUITE_P(Loops, PatientDiskTest, testing::Values(LoopBackend::kUring, LoopBackend::kEpoll),
                         [](const auto& info) {
                           return info.param == LoopBackend::kUring ? "uring" : "epoll";
                         });

}  // namespace
}  // namespace varve
