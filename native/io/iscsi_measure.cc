#include "io/iscsi_measure.h"

#include "io/iscsi_core.h"

namespace varve {

void IscsiMeasure::Run() {
  answer_.fill(0);
  piece_ = {answer_.data(), answer_.size()};
  Send(scsi::ReadCapacity16(static_cast<uint8_t>(answer_.size())), libiscsi::kFromTarget, &piece_, 1, answer_.size());
}

void IscsiMeasure::Answered(const ScsiOutcome& outcome) {
  if (outcome.verdict != ScsiVerdict::kDone) return Finish(outcome.status);
  scsi::CapacityFacts capacity = scsi::ParseCapacity(answer_);
  if (capacity.block_bytes != core().block_bytes()) return Finish(Status(EIO, "the LUN's blocks have another size"));
  *bytes_ = capacity.blocks * capacity.block_bytes;
  core().Measured(capacity.blocks);
  Finish(Status::Ok());
}

}  // namespace varve
