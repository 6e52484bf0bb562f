#include "io/iscsi_core.h"

#include <algorithm>
#include <utility>

namespace varve {

namespace {

// What the copies of unsynced writes may take, per disk: more than a second of a fast link, which is how often a pool syncs.
constexpr uint64_t kCopiesBytesMax = 64 << 20;
// One command's data, when the target names no limit: larger ones gain nothing and make others wait.
constexpr uint64_t kTransferBytesMax = 1 << 20;
// One command's range: a target that writes the zeroes out must be done well within a time limit.
constexpr uint64_t kWriteSameBytesMax = 64 << 20;
constexpr uint64_t kUnmapBlocksMax = 1 << 22;

uint64_t Limited(uint64_t ours, uint64_t theirs) { return theirs == 0 ? ours : std::min(ours, theirs); }

uint64_t TransferBytes(const IscsiLun& lun) {
  uint64_t block = lun.capacity.block_bytes;
  return Limited(kTransferBytesMax, lun.limits.transfer_blocks_max * block);
}

}  // namespace

IscsiCore::IscsiCore(EventLoop& home, const libiscsi::Functions& library, Options options, IscsiLink::Opened opened)
    : home_(home),
      options_(std::move(options)),
      lun_(opened.lun),
      transfer_bytes_max_(TransferBytes(lun_)),
      can_unmap_(lun_.thin() && lun_.provisioning.unmap),
      unmap_blocks_max_(static_cast<uint32_t>(Limited(kUnmapBlocksMax, lun_.limits.unmap_blocks_max))),
      write_same_blocks_max_(static_cast<uint32_t>(
          Limited(kWriteSameBytesMax / lun_.capacity.block_bytes, lun_.limits.write_same_blocks_max))),
      link_(home, library, options_.target, std::move(opened), this),
      unsynced_(kCopiesBytesMax) {}

void IscsiCore::Close() {
  link_.Close();
  restore_ = nullptr;
}

void IscsiCore::PathsChanged(const std::vector<IscsiPath>& paths) {
  if (options_.on_paths) options_.on_paths(paths);
}

// ---- the way of an operation

void IscsiCore::Submit(IscsiOperation* operation) {
  if (Status status = Refusal(*operation); !status.ok()) {
    operation->Report(status);
    delete operation;
  } else if (operation->changes() && keeps_copies() && unsynced_.full() && link_.state() != IscsiLink::State::kDown) {
    crowded_.push_back(operation);
    if (!syncing_) StartSync();
  } else {
    Lock(operation);
  }
}

Status IscsiCore::Refusal(const IscsiOperation& operation) const {
  if (!operation.changes()) return Status::Ok();
  if (options_.read_only) return Status(EROFS, "the iSCSI disk was opened for reading");
  if (sync_failed_) return Status(EIO, "write after a failed sync");
  return Status::Ok();
}

void IscsiCore::Lock(IscsiOperation* operation) {
  if (!operation->changes() || locks_.Acquire(&operation->lock())) Ready(operation);
}

void IscsiCore::Ready(IscsiOperation* operation) {
  switch (link_.state()) {
    case IscsiLink::State::kUp:
      ++running_;
      return operation->Run();
    case IscsiLink::State::kDown:
      return End(operation, link_.why());
    default:
      held_.push_back(operation);
  }
}

void IscsiCore::Finished(IscsiOperation* operation, Status status) {
  --running_;
  if (operation == &cache_sync_) refused_ = !status.ok();
  End(operation, status);
  TellDrained();
}

void IscsiCore::End(IscsiOperation* operation, Status status) {
  operation->Report(status);
  if (operation == &cache_sync_) return;
  if (operation->changes()) {
    // Posted, or a long queue for one block would unwind on the stack.
    locks_.Release(&operation->lock(), [this](RangeLocks::Lock* next) {
      auto* waiting = static_cast<IscsiOperation::BlockLock*>(next)->operation;
      home_.Post([self = shared_from_this(), waiting] { self->Ready(waiting); });
    });
  }
  delete operation;
}

void IscsiCore::Interrupted(IscsiOperation* operation, const ScsiOutcome& outcome) {
  if (outcome.verdict == ScsiVerdict::kReset) link_.Renew();
  if (outcome.verdict == ScsiVerdict::kLost && operation->changes()) link_.NoteUncertainWrite();
  --running_;
  // The target is there, but only ever busy: that is for the user to be patient about.
  if (outcome.verdict == ScsiVerdict::kBusy) End(operation, outcome.status);
  else Hold(operation);
  TellDrained();
}

// One that waited for a busy target learns of the loss of its session only when the link may be up again.
void IscsiCore::Hold(IscsiOperation* operation) {
  bool up_again = link_.state() == IscsiLink::State::kUp && session()->logged_in();
  if (up_again) Ready(operation);
  else held_.push_back(operation);
}

void IscsiCore::TellDrained() {
  if (running_ == 0) link_.Drained();
}

void IscsiCore::LinkUp() {
  restore_ = nullptr;
  for (IscsiOperation* operation : std::exchange(held_, {})) Ready(operation);
}

void IscsiCore::LinkDown(Status why) {
  for (IscsiOperation* operation : std::exchange(held_, {})) End(operation, why);
  for (IscsiOperation* operation : std::exchange(crowded_, {})) {
    operation->Report(why);
    delete operation;
  }
}

void IscsiCore::Restore(std::shared_ptr<IscsiSession> session, std::function<void(Status)> done) {
  IscsiRestore::Shape shape{block_bytes(), transfer_bytes_max_, answer_limit()};
  restore_ = std::make_unique<IscsiRestore>(home_, shape, unsynced_, std::move(session), std::move(done));
  restore_->Start();
}

// ---- what the LUN holds

bool IscsiCore::zeroes_unmap() const {
  return lun_.thin() && lun_.capacity.unmapped_zero && lun_.provisioning.write_same_unmap;
}

void IscsiCore::Wrote(uint64_t offset, const iovec* iov, int count) {
  if (keeps_copies()) unsynced_.Keep(offset, iov, count);
}

void IscsiCore::Zeroed(uint64_t block, uint64_t blocks) {
  if (keeps_copies()) unsynced_.KeepZeroes(block * block_bytes(), blocks * block_bytes());
}

void IscsiCore::Discarded(uint64_t block, uint64_t blocks) {
  unsynced_.Forget(block * block_bytes(), blocks * block_bytes());
}

// ---- sync

void IscsiCore::Sync(EventLoop& origin, Completion* done) {
  sync_waiting_.push_back({&origin, done});
  if (!syncing_) StartSync();
}

bool IscsiCore::NothingToSync() const { return unsynced_.empty() && !(keeps_copies() && cache_unknown_); }

void IscsiCore::StartSync() {
  if (sync_failed_) return AnswerSyncs(std::exchange(sync_waiting_, {}), Status(EIO, "sync after a failed sync"));
  if (NothingToSync()) return AnswerSyncs(std::exchange(sync_waiting_, {}), Status::Ok());
  sync_in_flight_ = std::exchange(sync_waiting_, {});
  syncing_ = true;
  refused_ = false;
  sync_mark_ = unsynced_.Mark();
  Ready(&cache_sync_);
}

void IscsiCore::CacheSync::Run() { Send(scsi::SynchronizeCache(), libiscsi::kNoTransfer, nullptr, 0, 0); }

void IscsiCore::CacheSync::Answered(const ScsiOutcome& outcome) {
  Finish(outcome.verdict == ScsiVerdict::kDone ? Status::Ok() : outcome.status);
}

void IscsiCore::SyncEnded(Status status) {
  syncing_ = false;
  if (status.ok()) {
    unsynced_.Synced(sync_mark_);
    cache_unknown_ = false;
  }
  if (refused_) sync_failed_ = true;
  AnswerSyncs(std::exchange(sync_in_flight_, {}), status);
  if (!sync_waiting_.empty()) StartSync();
  AdmitCrowded();
}

void IscsiCore::AnswerSyncs(std::vector<SyncWaiter> waiters, Status status) {
  for (const SyncWaiter& waiter : waiters) {
    if (waiter.origin->OnLoopThread()) waiter.origin->Complete(waiter.done, status);
    else waiter.origin->Post([done = waiter.done, status] { done->Run(status); });
  }
}

void IscsiCore::AdmitCrowded() {
  for (IscsiOperation* operation : std::exchange(crowded_, {})) Submit(operation);
}

}  // namespace varve
