// AbsentDisk: stands for a disk that is known and cannot be had. Every operation fails with EIO.
//
// A map may point to it: what lies elsewhere is served, what lies there is an error, never other bytes.
// Thread: any loop's.
#pragma once

#include "io/disk.h"

namespace varve {

class AbsentDisk final : public Disk {
 public:
  explicit AbsentDisk(uint64_t size_bytes) : size_bytes_(size_bytes) {}

  void Read(EventLoop& loop, uint64_t, const iovec*, int, Completion* done) override { Fail(loop, done); }
  void Write(EventLoop& loop, uint64_t, const iovec*, int, Completion* done) override { Fail(loop, done); }
  void Sync(EventLoop& loop, Completion* done) override { Fail(loop, done); }
  void Discard(EventLoop& loop, uint64_t, uint64_t, Completion* done) override { Fail(loop, done); }
  void WriteZeroes(EventLoop& loop, uint64_t, uint64_t, Completion* done) override { Fail(loop, done); }
  void FindData(EventLoop& loop, DataSearch*, Completion* done) override { Fail(loop, done); }
  uint64_t size_bytes() const override { return size_bytes_; }

 private:
  static void Fail(EventLoop& loop, Completion* done) { loop.Complete(done, Status(EIO, "the disk is not there")); }

  const uint64_t size_bytes_;
};

}  // namespace varve
