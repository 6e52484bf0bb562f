// BlockTarget: what an NBD session needs of the thing it serves.
//
// Volume (volume.h) is the real one; native/test has one on memory for the protocol's own tests.
//
// Contract:
//   - Submit() may be called on any loop's thread; request.done runs exactly
//     once on the loop named in the request, never inside Submit().
//   - Requests in flight together have no order. A write that has completed is seen by
//     every read submitted later on any loop.
//   - The caller has checked flags, read-only and bounds: offset + length <= size_bytes().
//   - What finds no free space is refused with ENOSPC, or held until there is some if its `holder` has it so. A held request that is
//     recalled ends with ERESTART and may be submitted again as it is; what it was to change is changed in part or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/status.h"
#include "io/completion.h"
#include "io/event_loop.h"

namespace varve {

enum class BlockOp : uint8_t {
  kRead,         // fills `data` where extents say data; the rest of `data` is left as it was
  kWrite,        // takes `length` bytes from `data`
  kFlush,        // everything completed before, on any loop, is durable
  kTrim,         // whole sub-blocks inside the range read as zero and give their space back
  kWriteZeroes,  // the range reads as zero
  kCache,        // prefetch hint
  kBlockStatus,  // fills `extents`
};

// A run in one state. NBD's base:allocation bits: 1 = hole, 2 = reads as zero.
struct Extent {
  uint64_t length;
  uint32_t flags;
};
inline constexpr uint32_t kExtentHole = 1;
inline constexpr uint32_t kExtentZero = 2;

// Whoever can wait for space. The request's loop.
class Holder {
 public:
  // Whether it wants the request back rather than have it wait.
  virtual bool recalls() const = 0;
  // Lets the request wait, if it has the means: false refuses it. Asked each time that it finds nothing, under locks of the target.
  virtual bool LetWait() = 0;

 protected:
  ~Holder() = default;
};

struct BlockRequest {
  BlockOp op = BlockOp::kRead;
  bool fua = false;      // kWrite, kTrim, kWriteZeroes: durable before done
  bool no_hole = false;  // kWriteZeroes: stays provisioned
  bool keeps_data = false;  // with no_hole: what holds data keeps it, so that only places are given
  bool internal = false;  // part of another request: not counted
  bool guest_waits = false;  // its time is told of (latencies.h)
  Holder* holder = nullptr;  // none: it is never held for want of space
  uint64_t offset = 0;
  uint64_t length = 0;
  std::byte* data = nullptr;  // length bytes, lent until done
  // kRead: runs that cover [offset, offset+length) in order; a run with kExtentZero was not
  // written into `data`. kBlockStatus: runs from `offset` on, neighbours merged, at least one; they may cover less
  // than asked (never more) and stop after extents_max.
  std::vector<Extent> extents;
  uint32_t extents_max = 1u << 16;
  EventLoop* loop = nullptr;
  Completion* done = nullptr;
};

class BlockTarget {
 public:
  virtual ~BlockTarget() = default;
  virtual void Submit(BlockRequest* request) = 0;
  // Some holder recalls its requests: those that are held end soon. Any thread.
  virtual void RecallHeld() {}
  virtual uint64_t size_bytes() const = 0;
  virtual uint32_t preferred_block_bytes() const = 0;
};

}  // namespace varve
