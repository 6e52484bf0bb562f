// RelocateOp: gives slots of the head other clusters, with their content, while the guest writes.
//
//   watch the slots (watches.h) → whoever may have looked them up before has ended → copy → what was not written meanwhile points to
//   its new cluster, with a delta that releases the old one
//
// No writer waits, unless asked for: then those of these slots do, until the end. A slot that was written meanwhile stays where it is
// (kBusy), and so does one that is not where it was said to be (kGone). Reads never wait: an old cluster is released as any other.
// What was moved is durable as every delta is: behind the copies (rule 1), with the next round.
// Elsewhere: which cluster goes where, and clusters of frozen layers (src/migration).
#pragma once

#include <vector>

#include "base/units.h"
#include "volume/cluster_copy.h"
#include "volume/page_table.h"
#include "volume/volume_op.h"

namespace varve {

struct Relocation {
  enum class Outcome : uint8_t { kMoved, kBusy, kGone };
  SlotIndex slot = 0;
  Address from;
  Address to;  // belongs to nobody but whoever asks
  Outcome outcome = Outcome::kGone;
};

// `done` gets the first error: nothing was moved then, unless the pool has failed.
struct RelocateRequest : BlockRequest {
  std::vector<Relocation> moves;  // each slot once, all of one region
  bool hold_writers = false;
};

class RelocateOp : public VolumeOp {
 private:
  enum class Step : uint8_t { kWatch, kCopy, kFlip };

  RelocateRequest& wanted() { return static_cast<RelocateRequest&>(request()); }
  void Advance() override;
  void Recycle() override;
  void WatchAll();
  void CopyAll();
  void FlipAll();
  // All of these under the mutex. False: parked, to be resumed.
  bool FindRegion(Region** region);
  bool Watch();
  bool PlanCopies(std::vector<CopyRun>* runs);
  bool Flip();
  bool FlipOne(Region* region, Relocation* move);
  void EndWatches(std::vector<VolumeOp*>* resumed);

  Step step_ = Step::kWatch;
  size_t flipped_ = 0;  // of watched_, looked at
  std::vector<Relocation*> watched_;
};

}  // namespace varve
