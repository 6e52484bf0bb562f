// Goal: over frozen layers a volume answers as a byte array would, and what is frozen never changes, however requests race with
//   snapshots, reverts, absorbed layers, relocated clusters and content that moves away before it is overwritten.
// Method: a control plane of a few lines that also keeps layers, requests in racing batches as in volume_test, byte arrays for the
//   head and for every snapshot, which are read through read-only volumes of their own. Replay one case: SEED=7.
#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "io/fault_disk.h"
#include "test/volume_fixture.h"
#include "volume/cluster_copy.h"
#include "volume/lock_op.h"
#include "volume/relocate_op.h"

namespace varve {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint32_t kSub = kTestClusterBytes / kSubBlocksPerCluster;
using Bytes = std::vector<std::byte>;

uint64_t Seed() {
  const char* text = std::getenv("SEED");
  return text ? std::strtoull(text, nullptr, 10) : std::random_device{}();
}

// Runs `start` with a callback and waits for it.
template <typename Start>
void Await(Start start) {
  std::promise<void> done;
  start([&done] { done.set_value(); });
  done.get_future().wait();
}

class LayeredPlane : public ControlPlaneForTest {
 public:
  using ControlPlaneForTest::ControlPlaneForTest;
  ~LayeredPlane() override {
    snapshots.clear();
    Stop();
  }

  std::vector<LayerId> Chain() {
    std::lock_guard lock(mutex_);
    return chain_;
  }

  void Hold() {
    Await([this](auto held) { volume().Hold(held); });
  }
  // Everything appended so far was handed over.
  void Round() {
    Await([this](auto done) {
      pool().journal().AppendRecord(RecordKind::kBatch, {}, 1, [done](Status, uint64_t) { done(); });
    });
  }
  // Freezes the head. Returns the chain of the snapshot.
  std::vector<LayerId> Freeze() {
    Structure turn(this);
    Hold();
    Round();
    std::vector<LayerId> frozen = Chain();
    StackHeadOn(frozen, true);
    volume().Unhold();
    return frozen;
  }
  void GoBackTo(const std::vector<LayerId>& frozen) {
    Structure turn(this);
    Hold();
    Round();
    StackHeadOn(frozen, false);
    volume().Unhold();
  }

  // The layer below the head gives it what it can, under the lock of `count` slots.
  void Absorb(SlotIndex first, uint64_t count) {
    Structure turn(this);
    struct Lock : Completion {
      Lock() : Completion([](Completion* self, Status status) { static_cast<Lock*>(self)->end.set_value(status); }) {}
      LockRequest request;
      std::promise<Status> end;
    } lock;
    lock.request.first = first;
    lock.request.count = count;
    lock.request.loop = &loop(0);
    lock.request.done = &lock;
    loop(0).Post([&] { volume().Lock(&lock.request); });
    if (!lock.end.get_future().get().ok()) return;  // copy on write was first
    Round();
    std::vector<SlotPatch> patches;
    {
      std::lock_guard guard(mutex_);
      for (uint64_t i = 0; i < count; i++) Absorb(first + i, lock.request.states[i], lock.request.zeros[i], &patches);
    }
    Round();
    volume().Unlock(first, count, patches, Chain().size() == 2);
  }

  // A relocation under way.
  struct Relocating : Completion {
    Relocating() : Completion([](Completion* self, Status status) { static_cast<Relocating*>(self)->end.set_value(status); }) {}
    RelocateRequest request;
    std::promise<Status> end;
  };
  // Begins to give slots of the head new clusters, as many as it has of those and as there is space for.
  std::unique_ptr<Relocating> StartRelocation(SlotIndex first, uint64_t count, bool hold_writers) {
    auto relocating = std::make_unique<Relocating>();
    {
      std::lock_guard guard(mutex_);
      for (SlotIndex slot = first; slot < first + count; slot++) {
        const std::vector<SlotState>& clusters = layers_[chain_.front()].clusters[slot];
        if (clusters.empty() || free_.empty()) continue;
        Address to = Address::Of(0, *free_.begin());
        free_.erase(free_.begin());
        relocating->request.moves.push_back({slot, clusters.front().address(), to});
      }
    }
    if (relocating->request.moves.empty()) return nullptr;
    relocating->request.hold_writers = hold_writers;
    relocating->request.loop = &loop(0);
    relocating->request.done = relocating.get();
    loop(0).Post([this, request = &relocating->request] { volume().Relocate(request); });
    return relocating;
  }
  // Returns how many were moved.
  size_t EndRelocation(std::unique_ptr<Relocating> relocating) {
    if (!relocating) return 0;
    EXPECT_TRUE(relocating->end.get_future().get().ok());
    size_t moved = 0;
    std::lock_guard guard(mutex_);
    for (const Relocation& move : relocating->request.moves) {
      if (move.outcome == Relocation::Outcome::kMoved) moved++;
      else free_.insert(move.to.cluster());
    }
    relocated_ += moved;
    return moved;
  }

  // A read-only volume of a frozen chain.
  struct Snapshot : VolumeObserver {
    Snapshot(LayeredPlane* plane, std::vector<LayerId> chain, uint64_t size)
        : plane(plane), chain(std::move(chain)) {
      VolumeSpec spec;
      spec.size_bytes = size;
      volume = std::make_unique<Volume>(&plane->pool(), spec, &plane->budget(), this);
    }
    ~Snapshot() override {
      Await([this](auto closed) { volume->Close(closed); });
    }
    void OnRegionWanted(uint64_t region) override {
      plane->loop(1).Post([this, region] { plane->Install(*volume, region, chain, false); });
    }
    void OnCowWanted(SlotIndex, SlotMask, uint64_t) override { ADD_FAILURE(); }
    LayeredPlane* plane;
    std::vector<LayerId> chain;
    std::unique_ptr<Volume> volume;
  };
  std::vector<std::unique_ptr<Snapshot>> snapshots;
  void Add(std::unique_ptr<Snapshot> snapshot) {
    Structure turn(this);
    snapshots.push_back(std::move(snapshot));
  }
  void RemoveLast() {
    Structure turn(this);
    snapshots.pop_back();
  }
  size_t copies() const { return copies_; }
  size_t absorbed() const { return absorbed_; }
  size_t relocated() const { return relocated_; }

 private:
  // Changes of the chain, and of who owns what in it, are made one at a time.
  struct Structure {
    explicit Structure(LayeredPlane* plane) : plane(plane) {
      while (!plane->TakeTurn()) std::this_thread::yield();
    }
    ~Structure() { plane->turn_taken_ = false; }
    LayeredPlane* plane;
  };
  bool TakeTurn() { return !turn_taken_.exchange(true); }

  void StackHeadOn(const std::vector<LayerId>& frozen, bool inherit) {
    LayerId head;
    std::lock_guard moves(moves_mutex_);  // no answer resolved before is installed behind it
    {
      std::lock_guard lock(mutex_);
      chain_ = frozen;
      chain_.insert(chain_.begin(), head = ++last_layer_);
      if (!inherit) era_++;
    }
    volume().SwapHead(head, inherit);
  }

  // Under the mutex; the slot is locked.
  void Absorb(SlotIndex slot, SlotState own, SlotMask zero, std::vector<SlotPatch>* patches) {
    LayerForTest& layer = layers_[chain_[1]];
    std::vector<SlotState>& theirs = layer.clusters[slot];
    // What the head claims is not seen through it any more.
    const SlotMask seen = static_cast<SlotMask>(~(own.mask() | zero));
    if (theirs.empty() && layer.zeros[slot] == 0) return;
    patches->push_back({slot, own, zero});
    std::erase_if(theirs, [&](SlotState state) {
      if ((state.mask() & seen) != 0) return false;
      // By the record that is written next.
      Release(state.address(), sequence_ + 1);
      return true;
    });
    for (SlotState& state : theirs) state = SlotState::Of(state.address(), state.mask() & seen);
    layer.zeros[slot] &= seen;
    if (!own.address().none() || theirs.size() != 1) return;
    const SlotState moved = theirs.front();
    // Over nothing zeroes need not be owned.
    const SlotMask zeroes = chain_.size() == 2 ? SlotMask{0} : static_cast<SlotMask>(zero | layer.zeros[slot]);
    theirs.clear();
    layer.zeros[slot] = 0;
    layers_[chain_.front()].clusters[slot] = {moved};
    layers_[chain_.front()].zeros[slot] = zeroes;
    owners_[moved.address().bits] = {chain_.front(), slot};
    patches->back() = {slot, moved, zeroes};
    absorbed_++;
  }

  void OnCowWanted(SlotIndex slot, SlotMask zero, uint64_t era) override {
    loop(1).Post([this, slot, zero, era] { Copy(slot, zero, era); });
  }
  void Copy(SlotIndex slot, SlotMask zero, uint64_t era) {
    if (!TakeTurn()) return OnCowWanted(slot, zero, era);
    std::vector<CopyRun> runs;
    Address from, to;
    {
      std::lock_guard lock(mutex_);
      if (era != era_) {
        turn_taken_ = false;
        return;
      }
      const SplitSources sources = Resolve(chain_, 1, slot);
      for (unsigned sub = 0; sub < kSubBlocksPerCluster; sub++) {
        if (!sources[sub].none() && (zero >> sub & 1) == 0) from = sources[sub];
      }
      EXPECT_FALSE(from.none());
      EXPECT_FALSE(free_.empty());
      to = Address::Of(0, *free_.begin());
      free_.erase(free_.begin());
    }
    auto offset = [](Address address) { return address.cluster() * kTestClusterBytes; };
    runs.push_back({0, offset(from), 0, offset(to), kTestClusterBytes});
    ClusterCopy::Start(&pool(), &pool(), &loop(1), std::move(runs), [this, slot, zero, era, from, to](Status status) {
      EXPECT_TRUE(status.ok());
      const std::vector<SlotMove> moves = {{slot, from, to}};
      {
        std::lock_guard guard(moves_mutex_);
        pending_moves_[from.bits] = to;
        volume().Repoint(moves);
        for (auto& snapshot : snapshots) snapshot->volume->Repoint(moves);
      }
      // Nobody reads the old place on behalf of a snapshot any more: then the record, then the writer.
      pool().AfterAdmitted([=, this] {
        pool().journal().AppendRecord(RecordKind::kBatch, {}, 1, [=, this](Status, uint64_t) { Swap(slot, zero, from, to); });
      });
    });
  }
  void Swap(SlotIndex slot, SlotMask zero, Address from, Address to) {
    SlotPatch patch;
    {
      std::lock_guard guard(moves_mutex_);
      std::lock_guard lock(mutex_);
      pending_moves_.erase(from.bits);
      SlotMask visible = 0;
      const SplitSources sources = Resolve(chain_, 1, slot);
      for (unsigned sub = 0; sub < kSubBlocksPerCluster; sub++) visible |= sources[sub] == from ? 1u << sub : 0;
      const Owner owner = owners_.at(from.bits);
      for (SlotState& state : layers_[owner.first].clusters[slot]) {
        if (state.address() == from) state = SlotState::Of(to, state.mask());
      }
      owners_[to.bits] = owner;
      owners_[from.bits] = {chain_.front(), slot};
      patch = {slot, SlotState::Of(from, visible & static_cast<SlotMask>(~zero)), zero};
      layers_[chain_.front()].clusters[slot] = {patch.state};
      layers_[chain_.front()].zeros[slot] = zero;
      copies_++;
    }
    volume().Unlock(slot, 1, {patch}, false);
    turn_taken_ = false;
  }

  std::atomic<bool> turn_taken_{false};
  LayerId last_layer_ = 7;
  uint64_t era_ = 0;
  size_t copies_ = 0;
  size_t absorbed_ = 0;
  size_t relocated_ = 0;
};

class LayersTest : public ::testing::TestWithParam<LoopBackend> {
 protected:
  LayersTest() : random_(seed_) {
    PoolOptionsForTest options;
    options.backend = GetParam();
    plane_ = std::make_unique<LayeredPlane>(options);
  }
  ~LayersTest() override { plane_->snapshots.clear(); }

  static Bytes ReadAll(Volume& volume, EventLoop& loop) {
    TestRequest read(BlockOp::kRead, 0, volume.size_bytes());
    EXPECT_TRUE(read.Run(volume, loop).ok());
    // What reads as zero is said so, and not written.
    size_t at = 0;
    for (const Extent& extent : read.request.extents) {
      if (extent.flags & kExtentZero) std::fill_n(read.data.begin() + at, extent.length, std::byte{0});
      at += extent.length;
    }
    return std::move(read.data);
  }
  // Requests that share clusters and sub-blocks, never bytes.
  std::vector<std::unique_ptr<TestRequest>> Batch(uint64_t size) {
    std::vector<std::unique_ptr<TestRequest>> batch;
    uint64_t at = random_() % (64 * 1024);
    while (batch.size() < 16 && at < size) {
      const uint64_t unit = random_() % 3 == 0 ? 512 : random_() % 2 ? kSub : 1;
      const uint64_t length = std::min((1 + random_() % 40) * unit, size - at);
      const uint64_t pick = random_() % 10;
      const BlockOp op = pick < 7 ? BlockOp::kWrite : pick < 9 ? BlockOp::kWriteZeroes : BlockOp::kTrim;
      auto request = std::make_unique<TestRequest>(op, at, length, static_cast<uint8_t>(random_()));
      request->request.no_hole = random_() % 4 == 0;
      request->request.fua = random_() % 8 == 0;
      batch.push_back(std::move(request));
      at += length + (random_() % 3 == 0 ? random_() % 60000 : 0);
    }
    std::shuffle(batch.begin(), batch.end(), random_);
    return batch;
  }
  static void ApplyTo(Bytes* model, const TestRequest& request) {
    const BlockRequest& r = request.request;
    if (r.op == BlockOp::kWrite) std::copy(request.data.begin(), request.data.end(), model->begin() + r.offset);
    if (r.op == BlockOp::kWriteZeroes) std::fill_n(model->begin() + r.offset, r.length, std::byte{0});
    if (r.op != BlockOp::kTrim) return;
    const bool to_end = r.offset + r.length == model->size();
    const uint64_t first = (r.offset + kSub - 1) / kSub * kSub;
    const uint64_t last = to_end ? model->size() : (r.offset + r.length) / kSub * kSub;
    if (last > first) std::fill(model->begin() + first, model->begin() + last, std::byte{0});
  }

  void RacingTree(bool copies);

  const uint64_t seed_ = Seed();
  std::mt19937_64 random_;
  std::unique_ptr<LayeredPlane> plane_;
};

INSTANTIATE_TEST_SUITE_P(Backends, LayersTest, ::testing::Values(LoopBackend::kAuto, LoopBackend::kEpoll),
                         [](const auto& info) { return info.param == LoopBackend::kEpoll ? "epoll" : "auto"; });

void LayersTest::RacingTree(bool copies) {
  SCOPED_TRACE("SEED=" + std::to_string(seed_));
  const uint64_t size = kMiB;
  Volume& volume = plane_->OpenVolume(size, true, copies);
  Bytes model(size);
  std::vector<Bytes> images;
  for (int round = 0; round < 120; round++) {
    const Bytes before = model;
    auto batch = Batch(size);
    for (auto& request : batch) ApplyTo(&model, *request);
    std::unique_ptr<LayeredPlane::Relocating> relocating;
    if (random_() % 2) relocating = plane_->StartRelocation(random_() % 60, 1 + random_() % 8, random_() % 2);
    const size_t cut = random_() % (batch.size() + 1);
    for (size_t i = 0; i < cut; i++) batch[i]->Submit(volume, plane_->loop(random_() % 2));
    if (random_() % 3 == 0 && images.size() < 12) {
      // A snapshot among racing requests: each is in it, or not, or (not answered yet) in part.
      std::vector<LayerId> frozen = plane_->Freeze();
      plane_->Add(std::make_unique<LayeredPlane::Snapshot>(plane_.get(), frozen, size));
      images.push_back(ReadAll(*plane_->snapshots.back()->volume, plane_->loop(0)));
      for (size_t i = 0; i < size; i++) {
        ASSERT_TRUE(images.back()[i] == before[i] || images.back()[i] == model[i]) << "byte " << i << " of a snapshot";
      }
    }
    for (size_t i = cut; i < batch.size(); i++) batch[i]->Submit(volume, plane_->loop(random_() % 2));
    const bool shows_last = !images.empty() && plane_->snapshots.back()->chain.front() == plane_->Chain()[1];
    if (random_() % 4 == 0 && shows_last) {
      // Its snapshot is deleted: what it held alone goes to the head, while requests race.
      plane_->RemoveLast();
      images.pop_back();
      plane_->Absorb(random_() % 32, 32);
    }
    for (auto& request : batch) ASSERT_TRUE(request->Wait().ok());
    plane_->EndRelocation(std::move(relocating));
    if (random_() % 12 == 0 && !images.empty()) {
      const size_t to = random_() % images.size();
      plane_->GoBackTo(plane_->snapshots[to]->chain);
      model = images[to];
    }
    ASSERT_TRUE(ReadAll(volume, plane_->loop(round % 2)) == model) << "round " << round;
    if (images.empty()) continue;
    const size_t any = random_() % images.size();
    ASSERT_TRUE(ReadAll(*plane_->snapshots[any]->volume, plane_->loop(1)) == images[any]) << "a frozen layer changed";
  }
  for (size_t i = 0; i < images.size(); i++) {
    ASSERT_TRUE(ReadAll(*plane_->snapshots[i]->volume, plane_->loop(0)) == images[i]) << "a frozen layer changed";
  }
  EXPECT_GT(plane_->relocated(), 0u);
  if (copies) {
    EXPECT_GT(plane_->copies(), 0u);
  }
}

TEST_P(LayersTest, RedirectedWritesOverFrozenLayersAnswerAsAByteArrayWould) { RacingTree(false); }
TEST_P(LayersTest, CopiedAwayContentOfFrozenLayersNeverChanges) { RacingTree(true); }

TEST_P(LayersTest, WriteAfterASnapshotTakesOneClusterAndCopiesNothing) {
  Volume& volume = plane_->OpenVolume(kMiB, true);
  TestRequest fill(BlockOp::kWrite, 0, kMiB, 0x11);
  ASSERT_TRUE(fill.Run(volume, plane_->loop(0)).ok());
  plane_->Freeze();
  const size_t owned = plane_->OwnedClusters();
  TestRequest write(BlockOp::kWrite, 5 * kSub, kSub, 0x22);
  write.request.fua = true;
  ASSERT_TRUE(write.Run(volume, plane_->loop(0)).ok());
  EXPECT_EQ(plane_->OwnedClusters(), owned + 1);
  EXPECT_EQ(plane_->copies(), 0u);
  Bytes expected(kMiB, std::byte{0x11});
  std::fill_n(expected.begin() + 5 * kSub, kSub, std::byte{0x22});
  EXPECT_TRUE(ReadAll(volume, plane_->loop(1)) == expected);
}

TEST_P(LayersTest, AbsorbedClustersAreOverwrittenInPlaceAndTrimmedForGood) {
  Volume& volume = plane_->OpenVolume(kMiB, true);
  TestRequest fill(BlockOp::kWrite, 0, kMiB, 0x11);
  ASSERT_TRUE(fill.Run(volume, plane_->loop(0)).ok());
  plane_->Freeze();
  plane_->Absorb(0, kMiB / kTestClusterBytes);
  EXPECT_EQ(plane_->absorbed(), kMiB / kTestClusterBytes);
  const size_t owned = plane_->OwnedClusters();
  TestRequest write(BlockOp::kWrite, 0, kMiB / 2, 0x22);
  write.request.fua = true;
  ASSERT_TRUE(write.Run(volume, plane_->loop(0)).ok());
  EXPECT_EQ(plane_->OwnedClusters(), owned);
  TestRequest trim(BlockOp::kTrim, kMiB / 2, kMiB / 2);
  trim.request.fua = true;
  ASSERT_TRUE(trim.Run(volume, plane_->loop(1)).ok());
  EXPECT_EQ(plane_->OwnedClusters(), owned / 2);
  Bytes expected(kMiB);
  std::fill_n(expected.begin(), kMiB / 2, std::byte{0x22});
  EXPECT_TRUE(ReadAll(volume, plane_->loop(1)) == expected);
}

TEST_P(LayersTest, TrimmedSubBlocksStayZeroWhenTheLastLayerBelowIsAbsorbed) {
  Volume& volume = plane_->OpenVolume(kMiB, true);
  TestRequest fill(BlockOp::kWrite, 0, kMiB, 0x11);
  ASSERT_TRUE(fill.Run(volume, plane_->loop(0)).ok());
  plane_->Freeze();
  TestRequest trim(BlockOp::kTrim, kSub, kSub);
  ASSERT_TRUE(trim.Run(volume, plane_->loop(0)).ok());
  plane_->Absorb(0, kMiB / kTestClusterBytes);
  Bytes expected(kMiB, std::byte{0x11});
  std::fill_n(expected.begin() + kSub, kSub, std::byte{0});
  EXPECT_TRUE(ReadAll(volume, plane_->loop(1)) == expected);
}

TEST_P(LayersTest, TrimOverWhatAnAbsorbedLayerHidStaysZeroWhenTheMapIsLoadedAgain) {
  Volume& volume = plane_->OpenVolume(kMiB, true);
  TestRequest base(BlockOp::kWrite, 0, kMiB, 0x11);
  ASSERT_TRUE(base.Run(volume, plane_->loop(0)).ok());
  plane_->Freeze();
  TestRequest other(BlockOp::kWrite, 0, kSub, 0x22);
  ASSERT_TRUE(other.Run(volume, plane_->loop(0)).ok());
  TestRequest hides(BlockOp::kTrim, kSub, kSub);
  ASSERT_TRUE(hides.Run(volume, plane_->loop(0)).ok());
  plane_->Freeze();
  plane_->Absorb(0, kMiB / kTestClusterBytes);
  EXPECT_EQ(plane_->absorbed(), 1u);
  TestRequest write(BlockOp::kWrite, kSub, kSub, 0x33);
  ASSERT_TRUE(write.Run(volume, plane_->loop(0)).ok());
  TestRequest trim(BlockOp::kTrim, kSub, kSub);
  trim.request.fua = true;
  ASSERT_TRUE(trim.Run(volume, plane_->loop(0)).ok());
  plane_->CloseVolume();
  Bytes expected(kMiB, std::byte{0x11});
  std::fill_n(expected.begin(), kSub, std::byte{0x22});
  std::fill_n(expected.begin() + kSub, kSub, std::byte{0});
  EXPECT_TRUE(ReadAll(plane_->OpenVolume(kMiB, false), plane_->loop(1)) == expected);
}

TEST_P(LayersTest, TrimOverAFrozenLayerReadsAsZeroAndKeepsItsContent) {
  Volume& volume = plane_->OpenVolume(kMiB, true);
  TestRequest fill(BlockOp::kWrite, 0, kMiB, 0x11);
  ASSERT_TRUE(fill.Run(volume, plane_->loop(0)).ok());
  std::vector<LayerId> frozen = plane_->Freeze();
  const size_t owned = plane_->OwnedClusters();
  TestRequest trim(BlockOp::kTrim, kSub, kMiB - 2 * kSub);
  trim.request.fua = true;
  ASSERT_TRUE(trim.Run(volume, plane_->loop(0)).ok());
  EXPECT_EQ(plane_->OwnedClusters(), owned) << "zeroes over a parent use no space";
  Bytes expected(kMiB);
  std::fill_n(expected.begin(), kSub, std::byte{0x11});
  std::fill_n(expected.end() - kSub, kSub, std::byte{0x11});
  EXPECT_TRUE(ReadAll(volume, plane_->loop(1)) == expected);
  LayeredPlane::Snapshot snapshot(plane_.get(), frozen, kMiB);
  EXPECT_TRUE(ReadAll(*snapshot.volume, plane_->loop(0)) == Bytes(kMiB, std::byte{0x11}));
}

TEST_P(LayersTest, RelocatedSlotsKeepTheirContentAndGiveTheirOldClustersBack) {
  Volume& volume = plane_->OpenVolume(kMiB, true);
  TestRequest fill(BlockOp::kWrite, 0, kMiB / 2, 0x11);
  fill.request.fua = true;
  ASSERT_TRUE(fill.Run(volume, plane_->loop(0)).ok());
  const size_t owned = plane_->OwnedClusters();
  EXPECT_EQ(plane_->EndRelocation(plane_->StartRelocation(0, 64, false)), owned);
  plane_->Round();
  EXPECT_EQ(plane_->OwnedClusters(), owned);
  Bytes expected(kMiB);
  std::fill_n(expected.begin(), kMiB / 2, std::byte{0x11});
  EXPECT_TRUE(ReadAll(volume, plane_->loop(1)) == expected);
  plane_->CloseVolume();
  EXPECT_TRUE(ReadAll(plane_->OpenVolume(kMiB, false), plane_->loop(1)) == expected);
}

TEST_P(LayersTest, HeldVolumeReadsAndFlushesButDoesNotWrite) {
  Volume& volume = plane_->OpenVolume(kMiB, true);
  plane_->Hold();
  TestRequest write(BlockOp::kWrite, 0, kSub, 1);
  TestRequest trim(BlockOp::kTrim, 0, kMiB);
  write.Submit(volume, plane_->loop(0));
  trim.Submit(volume, plane_->loop(1));
  TestRequest flush(BlockOp::kFlush, 0, 0);
  ASSERT_TRUE(flush.Run(volume, plane_->loop(1)).ok());
  EXPECT_TRUE(ReadAll(volume, plane_->loop(0)) == Bytes(kMiB));
  EXPECT_EQ(write.ends + trim.ends, 0u);
  volume.Unhold();
  EXPECT_TRUE(write.Wait().ok());
  EXPECT_TRUE(trim.Wait().ok());
}

TEST_P(LayersTest, ReadOnlyVolumeRefusesWrites) {
  LayeredPlane::Snapshot snapshot(plane_.get(), {7}, kMiB);
  TestRequest write(BlockOp::kWrite, 0, kSub, 1);
  EXPECT_EQ(write.Run(*snapshot.volume, plane_->loop(0)).error(), EPERM);
  TestRequest trim(BlockOp::kTrim, 0, kMiB);
  EXPECT_EQ(trim.Run(*snapshot.volume, plane_->loop(0)).error(), EPERM);
}

}  // namespace
}  // namespace varve
