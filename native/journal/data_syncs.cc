#include "journal/data_syncs.h"

#include <utility>

namespace varve {

DataSyncs::DataSyncs(EventLoop* home, DiskTable* disks, std::function<void(Status)> late)
    : home_(home), disks_(disks), late_(std::move(late)) {}

void DataSyncs::Start(uint64_t round, std::function<void(Status)> done) {
  done_ = std::move(done);
  status_ = Status::Ok();
  Settle();
  for (unsigned disk : disks_->TakeDirty()) syncs_.try_emplace(disk, this, disk).first->second.again = true;
  for (auto& [disk, sync] : syncs_) {
    if (sync.again && sync.state == State::kIdle) Submit(&sync, round);
  }
  if (awaited_ == 0) return Finish();
  home_->SetTimer(&deadline_, kPatience);
}

void DataSyncs::Submit(DiskSync* sync, uint64_t round) {
  sync->state = State::kUnderWay;
  sync->round = round;
  sync->again = false;
  sync->awaited = true;
  if (sync->through == kClean) sync->through = round - 1;
  awaited_++;
  under_way_++;
  disks_->at(sync->disk)->Sync(*home_, sync);
}

void DataSyncs::DiskSync::OnIo(Completion* self, Status status) {
  DiskSync* sync = static_cast<DiskSync*>(self);
  sync->owner->OnAnswer(sync, status);
}

void DataSyncs::OnAnswer(DiskSync* sync, Status status) {
  sync->state = State::kAnswered;
  under_way_--;
  if (!std::exchange(sync->awaited, false)) return late_(status);
  if (!status.ok() && status_.ok()) status_ = status;
  if (--awaited_ == 0) Finish();
}

void DataSyncs::Settle() {
  behind_ = 0;
  for (auto& [disk, sync] : syncs_) {
    if (sync.state == State::kAnswered) {
      sync.state = State::kIdle;
      sync.through = sync.again ? sync.round : kClean;
    }
    if (sync.through != kClean) behind_++;
  }
}

void DataSyncs::Finish() {
  home_->CancelTimer(&deadline_);
  for (auto& [disk, sync] : syncs_) sync.awaited = false;
  awaited_ = 0;
  Settle();
  std::exchange(done_, nullptr)(status_);
}

bool DataSyncs::IsBehind(unsigned disk) const {
  auto found = syncs_.find(disk);
  return found != syncs_.end() && found->second.through != kClean;
}

bool DataSyncs::IsUnderWay(unsigned disk) const {
  auto found = syncs_.find(disk);
  return found != syncs_.end() && found->second.state == State::kUnderWay;
}

bool DataSyncs::Blocks(unsigned disk, uint64_t round) const {
  auto found = syncs_.find(disk);
  return found != syncs_.end() && found->second.through < round;
}

bool DataSyncs::Covers(const FlushWait& wait) const {
  for (const auto& [disk, sync] : syncs_) {
    if (sync.through >= wait.round) continue;
    if (wait.changed == nullptr || wait.changed->of(disk) > sync.through) return false;
  }
  return true;
}

}  // namespace varve
