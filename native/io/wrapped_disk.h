// WrappedDisk: a disk around another one, with one way in for whatever transfers or changes data.
//
//   Read, Write, Sync, Discard, WriteZeroes ─▶ Begin() of the derived class ─▶ the disk below, sooner or later
//   all else (where data lies, how large the disk is) ─▶ the disk below, at once
//
// Elsewhere: what becomes of an operation: leased_disk.h, patient_disk.h, fault_disk.h, gated_disk.h.
// Thread: any loop's.
#pragma once

#include <memory>
#include <utility>

#include "io/disk_request.h"

namespace varve {

class WrappedDisk : public Disk {
 public:
  explicit WrappedDisk(std::shared_ptr<Disk> below) : below_(std::move(below)) {}
  const std::shared_ptr<Disk>& below() const { return below_; }

  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override {
    Begin(loop, {.op = DiskOp::kRead, .offset = offset, .iov = iov, .count = count}, done);
  }
  void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) final {
    Begin(loop, {.op = DiskOp::kWrite, .offset = offset, .iov = iov, .count = count}, done);
  }
  void Sync(EventLoop& loop, Completion* done) final { Begin(loop, {.op = DiskOp::kSync}, done); }
  void Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) final {
    Begin(loop, {.op = DiskOp::kDiscard, .offset = offset, .bytes = bytes}, done);
  }
  void WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) final {
    Begin(loop, {.op = DiskOp::kZero, .offset = offset, .bytes = bytes}, done);
  }
  void FindData(EventLoop& loop, DataSearch* search, Completion* done) final { below_->FindData(loop, search, done); }
  void WriteBack(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) final {
    below_->WriteBack(loop, offset, bytes, done);
  }
  uint64_t size_bytes() const final { return below_->size_bytes(); }
  void Measure(EventLoop& loop, uint64_t* bytes, Completion* done) final { below_->Measure(loop, bytes, done); }
  bool keeps_unsynced() const final { return below_->keeps_unsynced(); }

 protected:
  virtual void Begin(EventLoop& loop, const DiskRequest& request, Completion* done) = 0;

  const std::shared_ptr<Disk> below_;
};

}  // namespace varve
