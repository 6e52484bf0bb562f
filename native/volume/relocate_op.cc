#include "volume/relocate_op.h"

#include <utility>

#include "volume/volume.h"

namespace varve {

void RelocateOp::Advance() {
  if (volume().pool().failed()) Note(Status(EIO, "pool has failed"));
  switch (step_) {
    case Step::kWatch: return WatchAll();
    case Step::kCopy: return CopyAll();
    case Step::kFlip: return FlipAll();
  }
}

void RelocateOp::WatchAll() {
  bool parked = false;
  if (status().ok()) {
    std::lock_guard lock(volume().mutex());
    parked = !Watch();
  }
  if (parked) return Withdraw();
  if (watched_.empty()) return Finish(status());
  step_ = Step::kCopy;
  // Not itself among those to be waited for.
  Withdraw();
  volume().pool().AfterAdmitted([this] { Resume(); });
}

void RelocateOp::CopyAll() {
  std::vector<CopyRun> runs;
  bool parked = false;
  if (status().ok()) {
    std::lock_guard lock(volume().mutex());
    parked = !PlanCopies(&runs);
  }
  Withdraw();
  if (parked) return;
  step_ = Step::kFlip;
  ClusterCopy::Start(&volume().pool(), &volume().pool(), &loop(), runs, [this](Status copied) { ResumeWith(copied); });
}

void RelocateOp::FlipAll() {
  std::vector<VolumeOp*> resumed;
  {
    std::lock_guard lock(volume().mutex());
    if (status().ok() && !Flip()) return Withdraw();
    EndWatches(&resumed);
  }
  for (VolumeOp* op : resumed) op->Resume();
  Finish(status());
}

// Null when nothing is there.
bool RelocateOp::FindRegion(Region** region) {
  const uint64_t index = volume().RegionOf(wanted().moves.front().slot);
  return volume().Find(index, region, this) != PageTable::Presence::kUnknown;
}

bool RelocateOp::Watch() {
  Region* region = nullptr;
  if (!FindRegion(&region)) return false;
  for (Relocation& move : wanted().moves) {
    if (region == nullptr || PageTable::View(*region, move.slot).own.address() != move.from) continue;
    move.outcome = Relocation::Outcome::kBusy;
    if (volume().watches().Begin(move.slot, wanted().hold_writers)) watched_.push_back(&move);
  }
  return true;
}

// What is valid.
bool RelocateOp::PlanCopies(std::vector<CopyRun>* runs) {
  Region* region = nullptr;
  if (!FindRegion(&region)) return false;
  const unsigned shift = volume().cluster_shift();
  const uint64_t sub = volume().sub_block_bytes();
  for (const Relocation* move : watched_) {
    const SlotMask valid = region == nullptr ? 0 : PageTable::View(*region, move->slot).own.mask();
    for (unsigned i = 0; i < kSubBlocksPerCluster; i++) {
      if ((valid >> i & 1) == 0) continue;
      runs->push_back({move->from.disk(), (move->from.cluster() << shift) + i * sub, move->to.disk(),
                       (move->to.cluster() << shift) + i * sub, sub});
    }
  }
  return true;
}

bool RelocateOp::Flip() {
  Region* region = nullptr;
  if (!FindRegion(&region) || !volume().MayChange(this)) return false;
  for (; flipped_ < watched_.size(); flipped_++) {
    if (region == nullptr) watched_[flipped_]->outcome = Relocation::Outcome::kGone;
    else if (!FlipOne(region, watched_[flipped_])) return false;
  }
  return true;
}

bool RelocateOp::FlipOne(Region* region, Relocation* move) {
  const SlotView view = PageTable::View(*region, move->slot);
  if (view.own.address() != move->from) {
    move->outcome = Relocation::Outcome::kGone;
    return true;
  }
  if (volume().watches().WasWritten(move->slot) || volume().claims().FindLock(move->slot) != nullptr) return true;
  if (!volume().pool().journal().Reserve(1)) {
    volume().pool().WaitForRoom([this] { Resume(); });
    return false;
  }
  volume().ChangeSlot(region, move->slot, SlotState::Of(move->to, view.own.mask()), view.zero, move->from);
  move->outcome = Relocation::Outcome::kMoved;
  return true;
}

void RelocateOp::EndWatches(std::vector<VolumeOp*>* resumed) {
  for (const Relocation* move : watched_) volume().watches().End(move->slot, resumed);
}

void RelocateOp::Recycle() {
  step_ = Step::kWatch;
  flipped_ = 0;
  watched_.clear();
  ObjectPool<RelocateOp>::Give(this);
}

}  // namespace varve
