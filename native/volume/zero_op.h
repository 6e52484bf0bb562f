// ZeroOp: TRIM, WRITE_ZEROES, WRITE_ZEROES that stays provisioned (NO_HOLE), and the giving of places alone (keeps_data).
//
//   offset      |first whole sub-block ........ last|      end
//   [head edge) [        masks are cleared          ) [tail edge)
//
// Whole sub-blocks change only masks; a slot left with nothing valid gives its cluster up. Where something would show from below,
// the head owns zeroes. Edges (not for TRIM) are written as zeroes where they hold data, by a write of their own, and read as zero
// already where they do not. Long ranges go in bounded steps, so that other requests of the loop get their turn.
#pragma once

#include <vector>

#include "volume/flush_op.h"
#include "volume/page_table.h"
#include "volume/volume_op.h"

namespace varve {

class ZeroOp : public VolumeOp {
 private:
  enum class Outcome { kDone, kYield, kParked, kNoSpace };
  // Part of one sub-block at either end of the range.
  struct Edge : Completion {
    explicit Edge(ZeroOp* op) : Completion(&OnZeroed), op(op) {}
    static void OnZeroed(Completion* self, Status status);
    ZeroOp* op;
    uint64_t at = 0;
    uint64_t length = 0;
    bool planned = false;
    bool writes = false;  // it holds data, so zeroes are written
    BlockRequest write;
  };
  void Advance() override;
  void Recycle() override;
  void Begin();
  Outcome PlanAll();
  Outcome PlanEdge(Edge* edge);
  Outcome ClearMasks();
  Outcome ClearSlot(Region* region, SlotIndex slot, SlotMask bits);
  Outcome Provision(Region* region, SlotIndex slot, const SlotView& view, SlotMask bits);
  bool ParkedBehindOthers(SlotIndex slot);
  bool ReserveEntry();
  void SubmitEdges();
  void MaybeDone();

  bool begun_ = false;
  bool parked_ = false;
  uint64_t cursor_ = 0;  // next byte whose mask is to be cleared
  uint64_t end_ = 0;
  size_t in_flight_ = 0;
  Edge head_{this};
  Edge tail_{this};
  DurabilityWait durability_{this, [](VolumeOp* op, Status status) { static_cast<ZeroOp*>(op)->Finish(status); }};
};

}  // namespace varve
