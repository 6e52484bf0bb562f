// ClusterHashing: what sub-blocks of clusters hash to, for whoever seals frozen layers or verifies their seals.
//
// XXH64 (seed 0) of the sub-blocks that a mask names, ascending, as docs/format.md section 10 has it. A few clusters are read at once, more and in
// larger pieces unless guests are to be spared. What cannot be read is told of that cluster alone; the others go on. So is one whose disk has left
// the pool since (ENODEV).
// Thread: `loop`.
#pragma once

#include <xxhash.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/units.h"
#include "io/completion.h"
#include "io/event_loop.h"
#include "volume/copy_effort.h"
#include "volume/pool.h"

namespace varve {

struct ClusterToHash {
  Address address;
  SlotMask mask;
  uint64_t hash = 0;
  int error = 0;  // errno; then `hash` says nothing
};

class ClusterHashing {
 public:
  // pool: stays open until the end. Deletes itself after `done`, which runs once on the loop, never inside this call.
  static void Start(Pool* pool, EventLoop* loop, std::vector<ClusterToHash> clusters,
                    std::function<void(const std::vector<ClusterToHash>&)> done);

 private:
  // One cluster, run of sub-blocks by run, then the next.
  struct Lane : Completion {
    explicit Lane(ClusterHashing* hashing) : Completion(&OnRead), hashing(hashing) {}
    static void OnRead(Completion* self, Status status);
    void NextCluster();
    // False when there is none left.
    bool TakeCluster();
    void NextRun();
    ClusterHashing* hashing;
    ClusterToHash* cluster = nullptr;
    std::shared_ptr<Disk> disk;  // of `cluster`
    unsigned sub = 0;  // of the cluster, not looked at yet
    XXH64_state_t state;
    std::vector<std::byte> buffer;
    iovec iov{};
  };

  ClusterHashing(Pool* pool, EventLoop* loop, std::vector<ClusterToHash> clusters,
                 std::function<void(const std::vector<ClusterToHash>&)> done)
      : pool_(pool), loop_(loop), clusters_(std::move(clusters)), done_(std::move(done)) {}
  void Begin();
  void LaneEnded();

  Pool* const pool_;
  EventLoop* const loop_;
  std::vector<ClusterToHash> clusters_;
  size_t next_ = 0;
  std::function<void(const std::vector<ClusterToHash>&)> done_;
  CopyEffort effort_{};
  std::vector<std::unique_ptr<Lane>> lanes_;
  size_t running_ = 0;
};

}  // namespace varve
