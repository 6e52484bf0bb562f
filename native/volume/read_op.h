// ReadOp: READ. One look-up under the mutex, then one disk read for each run that lies together on a disk.
#pragma once

#include <vector>

#include "volume/page_table.h"
#include "volume/volume_op.h"

namespace varve {

class ReadOp : public VolumeOp {
 private:
  struct Segment : Completion {
    Segment(ReadOp* op, unsigned disk, uint64_t offset, iovec iov)
        : Completion(&OnRead), op(op), disk(disk), offset(offset), iov(iov) {}
    static void OnRead(Completion* self, Status status);
    ReadOp* op;
    unsigned disk;
    uint64_t offset;
    iovec iov;
  };

  void Advance() override;
  void Recycle() override;
  bool Plan();
  void PlanSlot(const SlotView& view, uint64_t at, uint64_t length);
  void AddZeroes(uint64_t length);
  void AddData(Address address, uint64_t within, uint64_t at, uint64_t length);
  void OnSegmentEnd(const Segment& segment, Status status);

  std::vector<Segment> segments_;
  size_t in_flight_ = 0;
};

}  // namespace varve
