// DiskRequest: one operation on a disk as a value, so that it can be submitted later, or once more.
#pragma once

#include "io/disk.h"

namespace varve {

enum class DiskOp : uint8_t { kRead, kWrite, kSync, kDiscard, kZero };

struct DiskRequest {
  DiskOp op = DiskOp::kSync;
  uint64_t offset = 0;
  uint64_t bytes = 0;           // of a discard or a zeroing
  const iovec* iov = nullptr;   // of a transfer; lent until it has ended
  int count = 0;

  uint64_t length() const {
    uint64_t transferred = bytes;
    for (int i = 0; i < count; ++i) transferred += iov[i].iov_len;
    return transferred;
  }

  void Submit(Disk& disk, EventLoop& loop, Completion* done) const {
    switch (op) {
      case DiskOp::kRead: return disk.Read(loop, offset, iov, count, done);
      case DiskOp::kWrite: return disk.Write(loop, offset, iov, count, done);
      case DiskOp::kSync: return disk.Sync(loop, done);
      case DiskOp::kDiscard: return disk.Discard(loop, offset, bytes, done);
      case DiskOp::kZero: return disk.WriteZeroes(loop, offset, bytes, done);
    }
  }
};

}  // namespace varve
