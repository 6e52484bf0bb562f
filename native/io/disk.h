// Disk: the seam between varve and whatever stores bytes.
//
// Implementations: file and block device (file_disk.cc), memory
// (memory_disk.cc), recording (recording_disk.cc: keeps every write and sync so that
// tests can build the states a power cut may leave), fault injection around any of
// them (fault_disk.cc) and patience with the faults of any of them (patient_disk.cc; what wraps another is wrapped_disk.h). One contract suite runs on all (native/test/disk_contract_test.cc).
//
// Contract:
//   - Each operation completes exactly once, on `loop`'s thread, not inside the call.
//   - Offsets and lengths are bytes, inside [0, size_bytes()) or what Measure() found since; any alignment.
//   - What lies behind the present end is an error, never zeroes.
//   - A completed write is visible to every later read from any loop.
//   - After a Sync completes ok, every write completed before it was submitted survives power
//     loss. A Sync that failed is never followed by one that succeeds: from
//     then on Sync and Write fail with EIO until the disk is opened again
//     (the kernel may have dropped the pages; retrying would report success).
//   - Discard: contents undefined until rewritten, space given back when it can be.
//     WriteZeroes: reads as zero afterwards.
//   - FindData: what it leaves out reads as zero as long as nobody writes there.
//   - Operations on overlapping ranges in flight together have no order.
//   - ETIME: the operation was held up on its way and has not been begun, or a write not been carried on (event_loop.h): it may be submitted again.
// Thread: any loop's; an implementation locks what it shares.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/completion.h"
#include "io/event_loop.h"

namespace varve {

struct DataRun {
  uint64_t offset;
  uint64_t bytes;
};

// What to look through, and what was found there.
struct DataSearch {
  uint64_t offset = 0;
  uint64_t bytes = 0;  // less afterwards when it ended early, never 0: ask again from behind it
  std::vector<DataRun> runs;  // ascending, inside the range, not touching each other
};

class Disk {
 public:
  virtual ~Disk() = default;

  // iov: lent until `done` runs; the sum of its lengths is the transfer's length.
  virtual void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) = 0;
  virtual void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) = 0;
  virtual void Sync(EventLoop& loop, Completion* done) = 0;
  virtual void Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) = 0;
  virtual void WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) = 0;

  // Where there may be something other than zeroes: everywhere, for a disk that cannot tell.
  // search: lent until `done` runs.
  virtual void FindData(EventLoop& loop, DataSearch* search, Completion* done) {
    search->runs.assign(1, {search->offset, search->bytes});
    loop.Complete(done, Status::Ok());
  }

  // Sends what was written in the range on its way, so that the next Sync finds less to do. A hint: it makes nothing
  // durable, and ends ok always.
  virtual void WriteBack(EventLoop& loop, uint64_t /*offset*/, uint64_t /*bytes*/, Completion* done) {
    loop.Complete(done, Status::Ok());
  }

  virtual uint64_t size_bytes() const = 0;
  // Looks how large the disk is now: *bytes is set when `done` runs ok. A disk that has grown may be used up to there at
  // once; one that was cut off says so here, and fails what lies behind its end.
  virtual void Measure(EventLoop& loop, uint64_t* bytes, Completion* done) {
    *bytes = size_bytes();
    loop.Complete(done, Status::Ok());
  }
  // True of a disk behind a network that keeps copies of what was written and not synced yet: a sync that fails with
  // a connection error was not performed, nothing is lost by it, and it may be asked for again.
  virtual bool keeps_unsynced() const { return false; }
};

}  // namespace varve
