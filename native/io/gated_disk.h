// GatedDisk: any disk, whose operations go on only when a simulation lets them.
//
//   submitted ─▶ waits at the gate ─LetGo()─▶ disk below ─▶ waits at the gate ─LetGo()─▶ done
//
// The first wait is the way to the disk, the second the way of the answer back: between the two the operation has been performed,
// and nobody knows.
// Thread: one, of whoever simulates (simulated_loop.h).
#pragma once

#include <map>
#include <memory>

#include "io/simulated_loop.h"
#include "io/wrapped_disk.h"

namespace varve {

struct GatedOperation;

// Operations of all gated disks that wait, in the order in which they came.
class Gate {
 public:
  struct Waiting {
    uint64_t id;
    uint32_t disk;  // as GatedDisk was told
    DiskOp op;
    bool performed;
    uint64_t offset;
    uint64_t bytes;
  };
  std::vector<Waiting> waiting() const;
  // One that waits goes on, at once.
  void LetGo(uint64_t id);

 private:
  friend class GatedDisk;
  friend struct GatedOperation;
  void Hold(GatedOperation* operation);

  std::map<uint64_t, GatedOperation*> held_;
  uint64_t last_id_ = 0;
};

class GatedDisk final : public WrappedDisk {
 public:
  // name: what the gate tells of it.
  GatedDisk(std::shared_ptr<Disk> below, Gate* gate, uint32_t name) : WrappedDisk(std::move(below)), gate_(gate), name_(name) {}

  uint32_t name() const { return name_; }

 private:
  friend struct GatedOperation;
  void Begin(EventLoop& loop, const DiskRequest& request, Completion* done) override;

  Gate* const gate_;
  const uint32_t name_;
};

}  // namespace varve
