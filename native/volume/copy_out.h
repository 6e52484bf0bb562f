// CopyOut: writes a range of a volume to a disk outside of its pool, or compares the two.
//
//   copy      data is written; what reads as zero is zeroed too, or left alone on a disk that is zero there already
//   compare   both are read; the first difference is EILSEQ
//
// The range must not change meanwhile: a snapshot's does not. Nothing is synced here. The first error ends it.
// Thread: `loop`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "io/disk.h"
#include "volume/block_target.h"

namespace varve {

enum class CopyOutMode { kCopyData, kCopyAll, kCompare };

struct CopyOutSpec {
  std::shared_ptr<BlockTarget> source;
  std::shared_ptr<Disk> disk;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  CopyOutMode mode = CopyOutMode::kCopyAll;
};

class CopyOut {
 public:
  // Deletes itself after `done`, which runs once on the loop, never inside this call. Any thread.
  static void Start(EventLoop* loop, CopyOutSpec spec, std::function<void(Status)> done);
  ~CopyOut();

 private:
  struct Lane;

  CopyOut(EventLoop* loop, CopyOutSpec spec, std::function<void(Status)> done);
  void Begin();
  // The next piece; 0 when there is none, or an error has ended it.
  uint64_t TakePiece(uint64_t* offset);
  void LaneEnded(Status status);

  EventLoop* const loop_;
  const CopyOutSpec spec_;
  std::function<void(Status)> done_;
  uint64_t next_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  size_t running_ = 0;
  Status status_;
};

}  // namespace varve
