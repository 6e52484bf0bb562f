// VolumeOp: one request under way on a volume.
//
//   Start → Advance (as far as it goes; parks itself where it has to wait, is resumed later) → Finish
//
// Everything of an operation runs on its request's loop, so it needs no lock of its own.
#pragma once

#include "base/object_pool.h"
#include "io/completion.h"
#include "volume/block_target.h"

namespace varve {

class Volume;

class VolumeOp {
 public:
  virtual ~VolumeOp() = default;

  // Takes the request; its `done` runs once, not inside this call.
  void Start(Volume* volume, BlockRequest* request);
  // Lets a parked operation go on, on its loop. Any thread.
  void Resume();
  // A region it waits for cannot be had: it ends with `status`. Any thread.
  void ResumeWith(Status status);

 protected:
  VolumeOp() = default;
  // Goes on from where it is. Calls Finish() at the end, or has parked itself or has I/O under way.
  virtual void Advance() = 0;
  // Back to the state of a new object, and into its pool.
  virtual void Recycle() = 0;
  // Ends the operation: the request is answered at the end of the loop's turn.
  void Finish(Status status);

  Volume& volume() { return *volume_; }
  BlockRequest& request() { return *request_; }
  EventLoop& loop() { return *request_->loop; }
  Status& status() { return status_; }  // first error so far
  void Note(Status status) {
    if (status_.ok() && !status.ok()) status_ = status;
  }
  // The status for the guest of an I/O error on `disk`; reports it.
  Status DiskError(unsigned disk, Status status);

 private:
  struct FinishCompletion : Completion {
    explicit FinishCompletion(VolumeOp* op) : Completion(&OnTurnEnd), op(op) {}
    static void OnTurnEnd(Completion* self, Status status);
    VolumeOp* op;
  };

  Volume* volume_ = nullptr;
  BlockRequest* request_ = nullptr;
  Status status_;
  unsigned parity_ = 0;
  bool starting_ = false;
  FinishCompletion finish_{this};
};

}  // namespace varve
