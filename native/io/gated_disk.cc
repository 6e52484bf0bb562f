#include "io/gated_disk.h"

#include <utility>

namespace varve {

struct GatedOperation : Completion {
  GatedOperation(GatedDisk* in, EventLoop* on, GatedOp kind, Completion* outer)
      : Completion(OnPerformed), disk(in), loop(static_cast<SimulatedLoop*>(on)), op(kind), done(outer) {}

  static void OnPerformed(Completion* self, Status status) {
    auto* operation = static_cast<GatedOperation*>(self);
    operation->performed = true;
    operation->status = status;
    operation->disk->gate_->Hold(operation);
  }

  void GoOn() {
    if (!performed) return Perform();
    Completion* outer = done;
    const Status end = status;
    delete this;
    outer->Run(end);
  }

  void Perform() {
    Disk& below = *disk->below_;
    const int count = static_cast<int>(iov.size());
    switch (op) {
      case GatedOp::kRead: return below.Read(*loop, offset, iov.data(), count, this);
      case GatedOp::kWrite: return below.Write(*loop, offset, iov.data(), count, this);
      case GatedOp::kSync: return below.Sync(*loop, this);
      case GatedOp::kDiscard: return below.Discard(*loop, offset, bytes, this);
      case GatedOp::kZero: return below.WriteZeroes(*loop, offset, bytes, this);
    }
  }

  GatedDisk* disk;
  SimulatedLoop* loop;
  GatedOp op;
  Completion* done;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::vector<iovec> iov{};
  bool performed = false;
  Status status{};
};

std::vector<Gate::Waiting> Gate::waiting() const {
  std::vector<Waiting> all;
  for (const auto& [id, operation] : held_) {
    all.push_back({id, operation->disk->name(), operation->op, operation->performed, operation->offset, operation->bytes});
  }
  return all;
}

void Gate::LetGo(uint64_t id) {
  GatedOperation* operation = held_.extract(id).mapped();
  operation->loop->Enter([operation] { operation->GoOn(); });
}

void Gate::Hold(GatedOperation* operation) { held_[++last_id_] = operation; }

GatedOperation* GatedDisk::Begin(EventLoop& loop, GatedOp op, uint64_t offset, Completion* done) {
  auto* operation = new GatedOperation(this, &loop, op, done);
  operation->offset = offset;
  gate_->Hold(operation);
  return operation;
}

void GatedDisk::Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  GatedOperation* read = Begin(loop, GatedOp::kRead, offset, done);
  read->iov.assign(iov, iov + count);
  for (const iovec& piece : read->iov) read->bytes += piece.iov_len;
}

void GatedDisk::Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  GatedOperation* write = Begin(loop, GatedOp::kWrite, offset, done);
  write->iov.assign(iov, iov + count);
  for (const iovec& piece : write->iov) write->bytes += piece.iov_len;
}

void GatedDisk::Sync(EventLoop& loop, Completion* done) { Begin(loop, GatedOp::kSync, 0, done); }

void GatedDisk::Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  Begin(loop, GatedOp::kDiscard, offset, done)->bytes = bytes;
}

void GatedDisk::WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  Begin(loop, GatedOp::kZero, offset, done)->bytes = bytes;
}

}  // namespace varve
