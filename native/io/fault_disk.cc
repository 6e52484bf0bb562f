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
  FaultyOperation(FaultDisk* in, EventLoop* on, const DiskRequest& what, Completion* outer)
      : Completion(OnEnd), disk(in), loop(on), request(what), done(outer) {}

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

  FaultDisk* disk;
  EventLoop* loop;
  DiskRequest request;
  Completion* done;
  std::vector<iovec> half{};  // of a transfer that stops short
  std::optional<FaultRule> fault{};
  Delay delay{this};
};

void FaultyOperation::KeepHalf() {
  half.assign(request.iov, request.iov + request.count);
  uint64_t left = request.length() / 2 / kSectorBytes * kSectorBytes;
  for (iovec& piece : half) {
    piece.iov_len = std::min<uint64_t>(piece.iov_len, left);
    left -= piece.iov_len;
  }
  request.iov = half.data();
}

void FaultyOperation::FlipBit() {
  for (int i = 0; i < request.count; ++i) {
    const iovec& piece = request.iov[i];
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

void FaultDisk::Begin(EventLoop& loop, const DiskRequest& request, Completion* done) {
  auto* operation = new FaultyOperation(this, &loop, request, done);
  if (RefusesWrites(request.op)) return loop.Complete(operation, Status(EIO, "earlier sync failed"));
  operation->fault = rules_.Meet(request.op);
  bool delayed = operation->fault && operation->fault->delay.count() > 0;
  if (delayed) loop.SetTimer(&operation->delay, operation->fault->delay);
  else AfterDelay(operation);
}

void FaultDisk::AfterDelay(FaultyOperation* operation) {
  const bool transfers = operation->request.count > 0;
  if (operation->Is(FaultKind::kHang)) return Hold(operation);
  if (operation->Is(FaultKind::kLie) && operation->request.op == DiskOp::kSync) {
    return operation->loop->Complete(operation, Status::Ok());
  }
  if (operation->Is(FaultKind::kShort) && transfers) operation->KeepHalf();
  bool fails = operation->Is(FaultKind::kError) || (operation->Is(FaultKind::kShort) && !transfers);
  if (fails) operation->loop->Complete(operation, Status(operation->fault->error, "injected fault"));
  else Forward(operation);
}

void FaultDisk::Hold(FaultyOperation* operation) {
  std::lock_guard lock(mutex_);
  held_.push_back(operation);
}

void FaultDisk::Forward(FaultyOperation* operation) { operation->request.Submit(*below_, *operation->loop, operation); }

void FaultDisk::End(FaultyOperation* operation, Status status) {
  if (status.ok() && operation->Is(FaultKind::kShort)) status = Status(operation->fault->error, "injected fault");
  if (operation->request.op == DiskOp::kRead && operation->Is(FaultKind::kFlip)) operation->FlipBit();
  if (operation->request.op == DiskOp::kSync) {
    if (!status.ok() && !IsRetryable(DiskOp::kSync, status.error(), keeps_unsynced())) sync_failed_ = true;
    else if (status.ok() && sync_failed_) status = Status(EIO, "sync");
  }
  Completion* done = operation->done;
  delete operation;
  done->Run(status);
}

bool FaultDisk::RefusesWrites(DiskOp op) const {
  return sync_failed_ && op != DiskOp::kRead && op != DiskOp::kDiscard;
}

}  // namespace varve
