// StatusOp: BLOCK_STATUS. Reads the map only. What is inherited is data like the volume's own; a slot whose cluster is owned but
// not valid is "zero", not "hole".
#pragma once

#include "volume/page_table.h"
#include "volume/volume_op.h"

namespace varve {

class StatusOp : public VolumeOp {
 private:
  void Advance() override;
  void Recycle() override { ObjectPool<StatusOp>::Give(this); }
  bool Walk();
  void AddSlot(const SlotView& view, uint64_t within, uint64_t length);
  void Add(uint64_t length, uint32_t flags);
};

}  // namespace varve
