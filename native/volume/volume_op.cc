#include "volume/volume_op.h"

#include "base/boot_clock.h"
#include "volume/volume.h"

namespace varve {

void VolumeOp::Start(Volume* volume, BlockRequest* request) {
  volume_ = volume;
  request_ = request;
  status_ = Status::Ok();
  arrived_ns_ = loop().arrivals_since_ns;
  starting_ = true;
  Continue();
  starting_ = false;
}

void VolumeOp::Continue() {
  if (!admitted_) parity_ = volume_->pool().admissions().Enter(loop());
  admitted_ = true;
  Advance();
}

void VolumeOp::Withdraw() {
  if (admitted_) volume_->pool().admissions().Leave(loop(), parity_);
  admitted_ = false;
}

void VolumeOp::Resume() {
  loop().Post([this] { Continue(); });
}

void VolumeOp::ResumeWith(Status status) {
  loop().Post([this, status] {
    Note(status);
    Continue();
  });
}

bool VolumeOp::MayBeHeld() {
  Holder* holder = request_->holder;
  return holder != nullptr && !holder->recalls() && holder->LetWait();
}

Status VolumeOp::NoSpace() const {
  const bool recalled = request_->holder != nullptr && request_->holder->recalls();
  return recalled ? Status(ERESTART, "recalled") : Status(ENOSPC, "pool is full");
}

Status VolumeOp::DiskError(unsigned disk, Status status) {
  volume_->pool().ReportDiskError(disk, status);
  // A full file system below is the guest's "no space"; anything else is a broken disk.
  return status.error() == ENOSPC ? status : Status(EIO, status.what());
}

void VolumeOp::Finish(Status status) {
  if (starting_) {
    loop().Complete(&finish_, status);
  } else {
    Answer(status);
  }
}

void VolumeOp::FinishCompletion::OnFinish(Completion* self, Status status) {
  static_cast<FinishCompletion*>(self)->op->Answer(status);
}

void VolumeOp::Answer(Status status) {
  Withdraw();
  Volume* volume = volume_;
  Completion* done = request_->done;
  if (request_->guest_waits) volume->pool().latencies().Add(*request_, BootNanoseconds() - arrived_ns_);
  const bool comes_again = status.error() == ERESTART;
  if (!status.ok() && !comes_again) volume->mutable_stats().errors.fetch_add(1, std::memory_order_relaxed);
  Recycle();
  done->Run(status);
  volume->OnOpEnd();
}

}  // namespace varve
