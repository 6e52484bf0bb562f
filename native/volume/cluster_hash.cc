#include "volume/cluster_hash.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace varve {

void ClusterHashing::Start(Pool* pool, EventLoop* loop, std::vector<ClusterToHash> clusters,
                           std::function<void(const std::vector<ClusterToHash>&)> done) {
  auto* hashing = new ClusterHashing(pool, loop, std::move(clusters), std::move(done));
  loop->Post([hashing] { hashing->Begin(); });
}

void ClusterHashing::Begin() {
  effort_ = CopyEffort::Of(pool_->gentle_copies());
  running_ = effort_.lanes + 1;  // one for this call
  for (size_t i = 0; i < effort_.lanes; i++) lanes_.push_back(std::make_unique<Lane>(this));
  for (size_t i = 0; i < effort_.lanes; i++) lanes_[i]->NextCluster();
  LaneEnded();
}

void ClusterHashing::Lane::NextCluster() {
  disk = nullptr;
  while (disk == nullptr) {
    if (!TakeCluster()) return hashing->LaneEnded();
    disk = hashing->pool_->HoldDisk(cluster->address.disk());
    if (disk == nullptr) cluster->error = ENODEV;
  }
  NextRun();
}

bool ClusterHashing::Lane::TakeCluster() {
  if (hashing->next_ == hashing->clusters_.size()) return false;
  cluster = &hashing->clusters_[hashing->next_++];
  sub = 0;
  XXH64_reset(&state, 0);
  return true;
}

// Neighbouring sub-blocks are read together, as many as a piece holds.
void ClusterHashing::Lane::NextRun() {
  auto is_in = [this](unsigned i) { return i < kSubBlocksPerCluster && (cluster->mask >> i & 1) != 0; };
  while (sub < kSubBlocksPerCluster && !is_in(sub)) sub++;
  if (sub == kSubBlocksPerCluster) {
    cluster->hash = XXH64_digest(&state);
    return NextCluster();
  }
  const unsigned shift = hashing->pool_->cluster_shift();
  const uint64_t sub_bytes = (uint64_t{1} << shift) / kSubBlocksPerCluster;
  const uint64_t subs_max = std::max<uint64_t>(1, hashing->effort_.piece_bytes / sub_bytes);
  const unsigned first = sub;
  while (is_in(sub) && sub - first < subs_max) sub++;
  buffer.resize((sub - first) * sub_bytes);
  iov = {buffer.data(), buffer.size()};
  const uint64_t offset = (cluster->address.cluster() << shift) + first * sub_bytes;
  disk->Read(*hashing->loop_, offset, &iov, 1, this);
}

void ClusterHashing::Lane::OnRead(Completion* self, Status status) {
  Lane* lane = static_cast<Lane*>(self);
  if (!status.ok()) {
    lane->hashing->pool_->ReportDiskError(lane->cluster->address.disk(), status);
    lane->cluster->error = status.error();
    return lane->NextCluster();
  }
  XXH64_update(&lane->state, lane->buffer.data(), lane->buffer.size());
  lane->NextRun();
}

void ClusterHashing::LaneEnded() {
  if (--running_ != 0) return;
  std::unique_ptr<ClusterHashing> self(this);
  done_(clusters_);
}

}  // namespace varve
