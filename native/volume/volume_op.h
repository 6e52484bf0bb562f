// VolumeOp: one request under way on a volume.
//
//   Start → Advance (as far as it goes; parks itself where it has to wait, is resumed later) → Finish
//
// Invariant: it is inside the pool's admissions while it holds an address it looked up, and outside while it only waits. A
// released cluster becomes free when every request inside has left; what waits, perhaps for that very cluster, must not
// be waited for.
// Everything of an operation runs on its request's loop, so it needs no lock of its own.
#pragma once

#include "base/object_pool.h"
#include "io/completion.h"
#include "volume/block_target.h"
#include "volume/grants.h"

namespace varve {

class Volume;

class VolumeOp : public ClusterSeeker {
 public:
  virtual ~VolumeOp() = default;

  // Takes the request; its `done` runs once, not inside this call.
  void Start(Volume* volume, BlockRequest* request);
  // Lets a parked operation go on, on its loop. Any thread.
  void Resume() override;
  // A region it waits for cannot be had: it ends with `status`. Any thread.
  void ResumeWith(Status status);
  // Its loop.
  bool MayBeHeld() override;

 protected:
  VolumeOp() = default;
  // Goes on from where it is. Calls Finish() at the end, or has parked itself or has I/O under way.
  virtual void Advance() = 0;
  // Back to the state of a new object, and into its pool.
  virtual void Recycle() = 0;
  // Leaves the admissions until it is resumed: it has no I/O under way and will look every address up again.
  void Withdraw();
  // Ends the operation: the request is answered in this turn of the loop, never inside Start().
  void Finish(Status status);

  Volume& volume() { return *volume_; }
  BlockRequest& request() { return *request_; }
  EventLoop& loop() { return *request_->loop; }
  Status& status() { return status_; }  // first error so far
  void Note(Status status) {
    if (status_.ok() && !status.ok()) status_ = status;
  }
  // The status of an operation that got no cluster and was not to wait for one.
  Status NoSpace() const;
  // The status for the guest of an I/O error on `disk`; reports it.
  Status DiskError(unsigned disk, Status status);

 private:
  struct FinishCompletion : Completion {
    explicit FinishCompletion(VolumeOp* op) : Completion(&OnFinish), op(op) {}
    static void OnFinish(Completion* self, Status status);
    VolumeOp* op;
  };

  // Advances, inside the admissions.
  void Continue();
  void Answer(Status status);

  Volume* volume_ = nullptr;
  BlockRequest* request_ = nullptr;
  Status status_;
  uint64_t arrived_ns_ = 0;  // of a guest's request
  bool admitted_ = false;
  unsigned parity_ = 0;
  bool starting_ = false;
  FinishCompletion finish_{this};
};

}  // namespace varve
