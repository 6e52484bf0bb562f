// RecordingDisk: a memory disk that can be cut from its power at any moment of its past.
//
// Tests run a program on recording disks, then ask each for a disk with the state that a
// power cut at one global moment may have left (rules: write_log.h), and
// open the program again on those.
// Thread: any loop's; Cut() and RecordCount() any.
#pragma once

#include "io/disk.h"
#include "io/memory_disk.h"
#include "io/write_log.h"

namespace varve {

class RecordingDisk final : public Disk {
 public:
  explicit RecordingDisk(uint64_t size_bytes) : now_(size_bytes) {}

  // The present moment, one order for all recording disks of the process. Each begin and each
  // end of a write, discard, zeroing or sync is a moment of its own.
  static uint64_t RecordCount() { return WriteLog::Now(); }

  // What a power cut leaves.
  struct Left {
    std::shared_ptr<Disk> disk;
    uint64_t digest;  // of its bytes (sparse_bytes.h)
  };
  // A memory disk as a power cut at moment `cut` may have left this one; the same each time.
  Left Cut(uint64_t cut, WriteLog::Choice choice);

  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Sync(EventLoop& loop, Completion* done) override;
  void Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  void WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  uint64_t size_bytes() const override { return now_.size_bytes(); }

 private:
  MemoryDisk now_;
  WriteLog log_;
};

}  // namespace varve
