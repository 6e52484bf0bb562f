#include "volume/volume_op.h"

#include "volume/volume.h"

namespace varve {

void VolumeOp::Start(Volume* volume, BlockRequest* request) {
  volume_ = volume;
  request_ = request;
  status_ = Status::Ok();
  parity_ = volume->pool().admissions().Enter(loop());
  starting_ = true;
  Advance();
  starting_ = false;
}

void VolumeOp::Resume() {
  loop().Post([this] { Advance(); });
}

void VolumeOp::ResumeWith(Status status) {
  loop().Post([this, status] {
    Note(status);
    Advance();
  });
}

Status VolumeOp::DiskError(unsigned disk, Status status) {
  volume_->pool().ReportDiskError(disk, status);
  // A full file system below is the guest's "no space"; anything else is a broken disk.
  return status.error() == ENOSPC ? status : Status(EIO, status.what());
}

void VolumeOp::Finish(Status status) {
  status_ = status;
  if (starting_) {
    loop().Defer(&finish_);
  } else {
    FinishCompletion::OnTurnEnd(&finish_, Status::Ok());
  }
}

void VolumeOp::FinishCompletion::OnTurnEnd(Completion* self, Status) {
  VolumeOp* op = static_cast<FinishCompletion*>(self)->op;
  Volume* volume = op->volume_;
  Completion* done = op->request_->done;
  Status status = op->status_;
  if (!status.ok()) volume->mutable_stats().errors.fetch_add(1, std::memory_order_relaxed);
  volume->pool().admissions().Leave(op->loop(), op->parity_);
  op->Recycle();
  done->Run(status);
  volume->OnOpEnd();
}

}  // namespace varve
