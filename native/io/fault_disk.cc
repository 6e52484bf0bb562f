#include "io/fault_disk.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "io/disk_faults.h"

namespace varve {

// No disk leaves less than a sector as half old, half new.
constexpr uint64_t kSectorBytes = 512;

// One operation on its way through the disk.
struct FaultyOperation : Completion {
  FaultyOperation(FaultDisk* in, EventLoop* on, FaultOp kind, Completion* outer)
      : Completion(OnEnd), disk(in), loop(on), op(kind), done(outer) {}

  static void OnEnd(Completion* self, Status status) {
    auto* operation = static_cast<FaultyOperation*>(self);
    operation->disk->End(operation, status);
  }

  // Ends when its time has come; the operation outlives it.
  struct Delay : Timer {
    explicit Delay(FaultyOperation* owner) : Timer(OnDue), operation(owner) {}
    static void OnDue(Timer* self) {
      FaultyOperation* operation = static_cast<Delay*>(self)->operation;
      operation->disk->AfterDelay(operation);
    }
    FaultyOperation* operation;
  };

  void KeepHalf();
  void FlipBit();
  bool Is(FaultKind kind) const { return fault && fault->kind == kind; }
  bool Transfers() const { return op == FaultOp::kRead || op == FaultOp::kWrite; }

  FaultDisk* disk;
  EventLoop* loop;
  FaultOp op;
  Completion* done;
  uint64_t offset = 0;
  uint64_t bytes = 0;       // of Discard and WriteZeroes
  std::vector<iovec> iov{};  // of Read and Write
  std::optional<FaultRule> fault{};
  Delay delay{this};
};

void FaultyOperation::KeepHalf() {
  uint64_t total = 0;
  for (const iovec& piece : iov) total += piece.iov_len;
  uint64_t left = total / 2 / kSectorBytes * kSectorBytes;
  for (iovec& piece : iov) {
    piece.iov_len = std::min<uint64_t>(piece.iov_len, left);
    left -= piece.iov_len;
  }
}

void FaultyOperation::FlipBit() {
  for (const iovec& piece : iov) {
    if (piece.iov_len == 0) continue;
    static_cast<std::byte*>(piece.iov_base)[piece.iov_len / 2] ^= std::byte{0x10};
    return;
  }
}

void FaultDisk::Set(std::vector<FaultRule> rules) {
  rules_.Set(std::move(rules));
  std::vector<FaultyOperation*> released;
  {
    std::lock_guard lock(mutex_);
    released.swap(held_);
  }
  for (FaultyOperation* operation : released) {
    operation->loop->Post([this, operation] { Forward(operation); });
  }
}

void FaultDisk::Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  auto* read = new FaultyOperation(this, &loop, FaultOp::kRead, done);
  read->offset = offset;
  read->iov.assign(iov, iov + count);
  Begin(read);
}

void FaultDisk::Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  auto* write = new FaultyOperation(this, &loop, FaultOp::kWrite, done);
  write->offset = offset;
  write->iov.assign(iov, iov + count);
  Begin(write);
}

void FaultDisk::Sync(EventLoop& loop, Completion* done) {
  Begin(new FaultyOperation(this, &loop, FaultOp::kSync, done));
}

void FaultDisk::Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  auto* discard = new FaultyOperation(this, &loop, FaultOp::kDiscard, done);
  discard->offset = offset;
  discard->bytes = bytes;
  Begin(discard);
}

void FaultDisk::WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  auto* zero = new FaultyOperation(this, &loop, FaultOp::kZero, done);
  zero->offset = offset;
  zero->bytes = bytes;
  Begin(zero);
}

void FaultDisk::Begin(FaultyOperation* operation) {
  if (RefusesWrites(operation->op)) return operation->loop->Complete(operation, Status(EIO, "earlier sync failed"));
  operation->fault = rules_.Meet(operation->op);
  bool delayed = operation->fault && operation->fault->delay.count() > 0;
  if (delayed) operation->loop->SetTimer(&operation->delay, operation->fault->delay);
  else AfterDelay(operation);
}

void FaultDisk::AfterDelay(FaultyOperation* operation) {
  if (operation->Is(FaultKind::kHang)) return Hold(operation);
  if (operation->Is(FaultKind::kLie) && operation->op == FaultOp::kSync) return operation->loop->Complete(operation, Status::Ok());
  if (operation->Is(FaultKind::kShort)) operation->KeepHalf();
  bool fails = operation->Is(FaultKind::kError) ||
               (operation->Is(FaultKind::kShort) && !operation->Transfers());
  if (fails) operation->loop->Complete(operation, Status(operation->fault->error, "injected fault"));
  else Forward(operation);
}

void FaultDisk::Hold(FaultyOperation* operation) {
  std::lock_guard lock(mutex_);
  held_.push_back(operation);
}

void FaultDisk::Forward(FaultyOperation* operation) {
  EventLoop& loop = *operation->loop;
  int count = static_cast<int>(operation->iov.size());
  switch (operation->op) {
    case FaultOp::kRead: return below_->Read(loop, operation->offset, operation->iov.data(), count, operation);
    case FaultOp::kWrite: return below_->Write(loop, operation->offset, operation->iov.data(), count, operation);
    case FaultOp::kSync: return below_->Sync(loop, operation);
    case FaultOp::kDiscard: return below_->Discard(loop, operation->offset, operation->bytes, operation);
    case FaultOp::kZero: return below_->WriteZeroes(loop, operation->offset, operation->bytes, operation);
    case FaultOp::kAny: break;  // a rule's, never an operation's
  }
}

void FaultDisk::End(FaultyOperation* operation, Status status) {
  if (status.ok() && operation->Is(FaultKind::kShort)) status = Status(operation->fault->error, "injected fault");
  if (operation->op == FaultOp::kRead && operation->Is(FaultKind::kFlip)) operation->FlipBit();
  if (operation->op == FaultOp::kSync) {
    if (!status.ok() && !IsRetryable(DiskOp::kSync, status.error(), keeps_unsynced())) sync_failed_ = true;
    else if (status.ok() && sync_failed_) status = Status(EIO, "sync");
  }
  Completion* done = operation->done;
  delete operation;
  done->Run(status);
}

bool FaultDisk::RefusesWrites(FaultOp op) const {
  return sync_failed_ && op != FaultOp::kRead && op != FaultOp::kDiscard;
}

}  // namespace varve
