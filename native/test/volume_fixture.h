// A pool in the data plane with a control plane of a few lines behind it, for tests of volumes.
//
// The control plane keeps the map as the journal tells it, grants clusters from one disk, frees what was released when it is
// safe, and fails the test when a cluster gets two owners.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "io/memory_disk.h"
#include "volume/pool.h"
#include "volume/volume.h"

namespace varve {

inline constexpr unsigned kTestClusterBytes = 16384;
inline constexpr uint64_t kTestJournalOffset = 65536;

struct PoolOptionsForTest {
  uint64_t clusters = 4096;
  uint64_t journal_bytes = 1 << 20;
  uint64_t map_bytes_max = uint64_t{1} << 30;
  LoopBackend backend = LoopBackend::kAuto;
  unsigned window_ms = 1000;
  bool patient = false;  // lets writers wait for released clusters instead of saying that there are none
  Shortage shortage = Shortage::kRefuse;  // what is said when there are none, unless patient
  uint64_t spare_clusters = 0;  // of the disk, for AddSpace()
  std::shared_ptr<Disk> disk;  // a memory disk unless given
  std::shared_ptr<Disk> ring_disk;  // the same unless given
};

class ControlPlaneForTest : public PoolObserver, public VolumeObserver {
 public:
  explicit ControlPlaneForTest(PoolOptionsForTest options) : options_(std::move(options)) {
    std::string error;
    for (unsigned i = 0; i < 2; i++) {
      loops_.push_back(CreateEventLoop(options_.backend, &error));
      if (loops_.back() == nullptr) throw std::runtime_error(error);
      loops_.back()->ordinal = i;
      loops_.back()->Start(("test-" + std::to_string(i)).c_str());
    }
    first_cluster_ = (kTestJournalOffset + options_.journal_bytes) / kTestClusterBytes;
    if (!options_.disk) {
      const uint64_t clusters = first_cluster_ + options_.clusters + options_.spare_clusters;
      options_.disk = std::make_shared<MemoryDisk>(clusters * kTestClusterBytes);
    }
    budget_.bytes_max = options_.map_bytes_max;
    pool_ = std::make_unique<Pool>(std::vector<EventLoop*>{&loop(0), &loop(1)}, &loop(0), kTestClusterBytes, this);
    pool_->AddDisk(0, options_.disk);
    JournalSpec spec = {};
    spec.epoch = 1;
    if (options_.ring_disk) pool_->AddDisk(1, options_.ring_disk);
    spec.replicas = {{options_.ring_disk ? 1u : 0u, kTestJournalOffset}};
    spec.ring_bytes = options_.journal_bytes;
    spec.sequence = 1;
    spec.window_ms = options_.window_ms;
    EXPECT_TRUE(pool_->Open(spec).ok());
    for (uint64_t c = 0; c < options_.clusters; c++) free_.insert(first_cluster_ + c);
    Grant();
  }

  ~ControlPlaneForTest() override { Stop(); }

  Volume& OpenVolume(uint64_t size_bytes, bool empty, bool copy_on_write = false) {
    VolumeSpec spec;
    spec.layer = chain_.front();
    spec.size_bytes = size_bytes;
    spec.empty = empty;
    spec.copy_on_write = copy_on_write;
    volume_ = std::make_unique<Volume>(pool_.get(), spec, &budget_, this);
    return *volume_;
  }
  void CloseVolume() {
    if (!volume_) return;
    std::promise<void> closed;
    volume_->Close([&closed] { closed.set_value(); });
    closed.get_future().wait();
    volume_.reset();
  }

  EventLoop& loop(unsigned i) { return *loops_[i]; }
  Pool& pool() { return *pool_; }
  Volume& volume() { return *volume_; }
  Disk& disk() { return *options_.disk; }
  MapBudget& budget() { return budget_; }

  // So many of the spare clusters may be used from now on.
  void AddSpace(uint64_t clusters) {
    {
      std::lock_guard lock(mutex_);
      for (; clusters > 0; clusters--) free_.insert(first_cluster_ + options_.clusters++);
    }
    Grant();
  }
  // Times that a writer was held while no other was.
  unsigned times_held() const { return times_held_.load(); }

  // Clusters owned by slots, as far as the journal has told.
  size_t OwnedClusters() {
    std::lock_guard lock(mutex_);
    return owners_.size();
  }
  size_t FreeClusters() {
    std::lock_guard lock(mutex_);
    return free_.size();
  }
  uint64_t journal_head() {
    std::lock_guard lock(mutex_);
    return head_;
  }
  // What records up to this one released was said to be safe.
  uint64_t safe_sequence() {
    std::lock_guard lock(mutex_);
    return safe_sequence_;
  }
  // Regions are answered only while this is true.
  void AnswerRegions(bool answer) {
    std::vector<uint64_t> wanted;
    {
      std::lock_guard lock(mutex_);
      answer_ = answer;
      if (answer) wanted.swap(wanted_);
    }
    for (uint64_t region : wanted) InstallNow(region);
  }
  size_t RegionsAsked() {
    std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  void OnDurable(DurableRecord record) override {
    std::lock_guard lock(mutex_);
    head_ = record.head;
    sequence_ = record.sequence;
    for (const Delta& delta : record.deltas) {
      SlotState state{delta.state};
      LayerForTest& layer = layers_[delta.layer];
      layer.zeros[delta.slot] = static_cast<SlotMask>(delta.released_and_zero);
      layer.clusters[delta.slot].clear();
      EXPECT_EQ(state.mask() & layer.zeros[delta.slot], 0) << "valid and zero at once";
      if (!state.address().none()) {
        layer.clusters[delta.slot].push_back(state);
        Own(state.address(), {delta.layer, delta.slot});
      }
      if (!delta.released().none()) Release(delta.released(), record.sequence);
    }
    // A test's pool never needs its past: the tail follows the head.
    pool_->journal().Trim(record.head);
  }
  void OnSafe(uint64_t sequence) override {
    bool exhausted;
    {
      std::lock_guard lock(mutex_);
      safe_sequence_ = sequence;
      std::erase_if(releases_, [&](const auto& release) {
        if (release.first > sequence) return false;
        free_.insert(release.second);
        return true;
      });
      exhausted = std::exchange(exhausted_, false);
    }
    if (exhausted) Grant();
  }
  void OnGrantLow(unsigned, uint64_t) override {
    // Not on the caller's stack: it may hold the volume's mutex.
    loop(0).Post([this] { Grant(); });
  }
  void Grant() {
    std::vector<ClusterRun> runs;
    {
      std::lock_guard lock(mutex_);
      while (!free_.empty() && runs.size() < 64) {
        runs.push_back({0, *free_.begin(), 1});
        free_.erase(free_.begin());
      }
      if (runs.empty()) exhausted_ = true;
    }
    if (runs.empty()) {
      if (!options_.patient) pool_->grants(0).SetExhausted(options_.shortage);
      return;
    }
    pool_->grants(0).Add(runs);
  }
  void OnWriterHeld() override { times_held_++; }
  void OnJournalFull() override {}
  void OnReplicasLag(std::vector<LaggingReplica>) override {}
  void OnDiskError(unsigned, Status) override {}
  void OnFailed(Status) override {}
  void OnRegionWanted(uint64_t region) override {
    {
      std::lock_guard lock(mutex_);
      asked_++;
      if (!answer_) {
        wanted_.push_back(region);
        return;
      }
    }
    loop(1).Post([this, region] { InstallNow(region); });
  }
  void OnCowWanted(SlotIndex, SlotMask, uint64_t) override { ADD_FAILURE() << "nobody asked for copy on write"; }
  void InstallNow(uint64_t region) { Install(*volume_, region, chain_, true); }

 protected:
  // Nothing is called any more. A fixture that derives from this one does it first, while what is called is still whole.
  void Stop() {
    if (loops_.empty()) return;
    CloseVolume();
    std::promise<void> closed;
    pool_->Close([this, &closed] { loop(0).Post([&closed] { closed.set_value(); }); });
    closed.get_future().wait();
    for (auto& loop : loops_) loop->Stop();
    pool_.reset();
    loops_.clear();
  }

  struct LayerForTest {
    std::map<SlotIndex, std::vector<SlotState>> clusters;  // with disjoint masks
    std::map<SlotIndex, SlotMask> zeros;
  };
  using Owner = std::pair<LayerId, SlotIndex>;

  // Both under the mutex.
  void Own(Address address, Owner owner) {
    auto [known, fresh] = owners_.try_emplace(address.bits, owner);
    EXPECT_EQ(known->second, owner) << "cluster " << address.cluster() << " has two owners";
  }
  void Release(Address address, uint64_t sequence) {
    EXPECT_EQ(owners_.erase(address.bits), 1u) << "released a cluster nobody owned";
    releases_.push_back({sequence, address.cluster()});
  }

  // Where the sub-blocks of a slot are in that chain of layers; under the mutex.
  SplitSources Resolve(const std::vector<LayerId>& chain, size_t from, SlotIndex slot) {
    SplitSources sources;
    SlotMask decided = 0;
    for (size_t i = from; i < chain.size(); i++) {
      LayerForTest& layer = layers_[chain[i]];
      SlotMask here = layer.zeros[slot];
      for (SlotState state : layer.clusters[slot]) {
        here |= state.mask();
        for (unsigned sub = 0; sub < kSubBlocksPerCluster; sub++) {
          if ((state.mask() & ~decided) >> sub & 1) sources[sub] = state.address();
        }
      }
      decided |= here;
    }
    return sources;
  }

  // Tells the volume of a region of the chain, whose first layer it owns or (a snapshot) does not.
  void Install(Volume& volume, uint64_t region, const std::vector<LayerId>& chain, bool owns_head) {
    std::vector<uint64_t> own(kSlotsPerRegion, 0);
    std::vector<uint16_t> zeros(kSlotsPerRegion, 0);
    RegionAnswer answer;
    answer.empty_through = region;
    // No move comes between resolving and installing, nor is one forgotten that the layers do not say yet.
    std::lock_guard moves(moves_mutex_);
    {
      std::lock_guard lock(mutex_);
      answer.sequence = sequence_;
      for (uint32_t i = 0; i < kSlotsPerRegion; i++) {
        const SlotIndex slot = region * kSlotsPerRegion + i;
        if (owns_head) {
          LayerForTest& head = layers_[chain.front()];
          EXPECT_LE(head.clusters[slot].size(), 1u);
          own[i] = head.clusters[slot].empty() ? 0 : head.clusters[slot].front().bits;
          zeros[i] = head.zeros[slot];
        }
        if (owns_head && chain.size() == 1) continue;
        SplitSources sources = Resolve(chain, owns_head ? 1 : 0, slot);
        for (Address& source : sources) {
          auto move = pending_moves_.find(source.bits);
          if (move != pending_moves_.end()) source = move->second;
        }
        answer.splits.push_back({i, sources});
      }
    }
    answer.own = own.data();
    answer.zeros = zeros.data();
    volume.Install(region, answer);
  }
  PoolOptionsForTest options_;
  std::vector<std::unique_ptr<EventLoop>> loops_;
  MapBudget budget_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<Volume> volume_;
  uint64_t first_cluster_ = 0;

  std::mutex moves_mutex_;  // before mutex_
  std::map<uint64_t, Address> pending_moves_;

  std::mutex mutex_;
  std::vector<LayerId> chain_{7};  // of the volume, head first
  std::map<LayerId, LayerForTest> layers_;
  std::map<uint64_t, Owner> owners_;  // by address
  std::set<uint64_t> free_;
  std::vector<std::pair<uint64_t, uint64_t>> releases_;
  std::vector<uint64_t> wanted_;
  uint64_t head_ = 0;
  uint64_t sequence_ = 0;
  uint64_t safe_sequence_ = 0;
  std::atomic<unsigned> times_held_{0};
  size_t asked_ = 0;
  bool answer_ = true;
  bool exhausted_ = false;
};

// A request of a test and its end.
struct TestRequest : Completion {
  TestRequest(BlockOp op, uint64_t offset, uint64_t length, uint8_t fill = 0)
      : Completion(&OnDone), data(op == BlockOp::kRead || op == BlockOp::kWrite ? length : 0, std::byte{fill}) {
    request.op = op;
    request.offset = offset;
    request.length = length;
  }
  static void OnDone(Completion* self, Status status) {
    TestRequest* done = static_cast<TestRequest*>(self);
    done->ends++;
    done->promise.set_value(status);
  }
  void Submit(Volume& volume, EventLoop& loop) {
    request.data = data.data();
    request.loop = &loop;
    request.done = this;
    loop.Post([this, &volume] { volume.Submit(&request); });
  }
  Status Wait() { return promise.get_future().get(); }
  // ETIMEDOUT when it has not ended within `limit`; Wait() no more.
  Status WaitFor(std::chrono::seconds limit) {
    std::future<Status> end = promise.get_future();
    return end.wait_for(limit) == std::future_status::ready ? end.get() : Status(ETIMEDOUT, "request");
  }
  // Submits and waits.
  Status Run(Volume& volume, EventLoop& loop) {
    Submit(volume, loop);
    return Wait();
  }

  std::vector<std::byte> data;
  BlockRequest request;
  std::promise<Status> promise;
  unsigned ends = 0;
};

}  // namespace varve
