#include "volume/flush_op.h"

#include "volume/volume.h"

namespace varve {

bool DurabilityWait::Start(Volume& volume, EventLoop& loop) {
  Journal& journal = volume.pool().journal();
  {
    std::lock_guard lock(volume.mutex());
    wait_.round = volume.dirty_round();
  }
  if (journal.RoundEnded(wait_.round)) return false;
  wait_.changed = &volume.disk_rounds();
  wait_.loop = &loop;
  wait_.done = this;
  journal.WaitForRound(&wait_);
  return true;
}

void DurabilityWait::OnRoundEnd(Completion* self, Status status) {
  DurabilityWait* wait = static_cast<DurabilityWait*>(self);
  wait->then_(wait->op_, status);
}

void FlushOp::Advance() {
  if (request().op == BlockOp::kCache) return Finish(Status::Ok());
  if (volume().pool().failed()) return Finish(Status(EIO, "pool has failed"));
  volume().mutable_stats().flushes.fetch_add(1, std::memory_order_relaxed);
  if (wait_.Start(volume(), loop())) return Withdraw();
  Finish(Status::Ok());
}

}  // namespace varve
