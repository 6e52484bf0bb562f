// FlushOp: FLUSH (and CACHE, which has nothing to do).
//
// Rule 3: answered only when the data and every map change of all writes completed before it, on any connection, are durable.
#pragma once

#include "journal/journal.h"
#include "volume/volume_op.h"

namespace varve {

// The end of an operation that has to be durable before it is answered; embedded in the operation.
class DurabilityWait : private Completion {
 public:
  using Fn = void (*)(VolumeOp* op, Status status);
  DurabilityWait(VolumeOp* op, Fn then) : Completion(&OnRoundEnd), op_(op), then_(then) {}
  // Runs `then` once what the volume has noted so far is durable. False: it is already, and `then` will not run.
  bool Start(Volume& volume, EventLoop& loop);

 private:
  static void OnRoundEnd(Completion* self, Status status);
  VolumeOp* op_;
  Fn then_;
  FlushWait wait_;
};

class FlushOp : public VolumeOp {
 private:
  void Advance() override;
  void Recycle() override { ObjectPool<FlushOp>::Give(this); }
  DurabilityWait wait_{this, [](VolumeOp* op, Status status) { static_cast<FlushOp*>(op)->Finish(status); }};
};

}  // namespace varve
