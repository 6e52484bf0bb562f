// ClusterCopy: copies ranges between the disks of a pool, or of two, for whoever moves clusters or copies what is inherited.
//
// A few pieces are on their way at once, more and larger ones unless guests are to be spared (Pool::SetGentleCopies); each is read,
// written, and its disk marked, so that the next round of its pool's journal syncs
// it: a record appended after the end of the copy is durable only behind it (rule 1). The first error ends the copying; ENODEV when the disk that is
// read has left its pool since.
// Thread: `loop`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "io/completion.h"
#include "io/event_loop.h"
#include "volume/copy_effort.h"
#include "volume/pool.h"

namespace varve {

struct CopyRun {
  unsigned source_disk;
  uint64_t source_offset;
  unsigned target_disk;
  uint64_t target_offset;
  uint64_t bytes;
};

class ClusterCopy {
 public:
  // source, target: may be the same; both stay open until the end.
  // Deletes itself after `done`, which runs once on the loop, never inside this call.
  static void Start(Pool* source, Pool* target, EventLoop* loop, const std::vector<CopyRun>& runs,
                    std::function<void(Status)> done);

 private:
  // One piece on its way, then the next.
  struct Lane : Completion {
    explicit Lane(ClusterCopy* copy) : Completion(&OnIo), copy(copy) {}
    static void OnIo(Completion* self, Status status);
    void Next();
    void OnRead();
    void OnWritten();
    ClusterCopy* copy;
    std::vector<std::byte> buffer;
    CopyRun piece{};
    std::shared_ptr<Disk> source;  // that `piece` is read from
    iovec iov{};
    enum class Step : uint8_t { kReading, kWriting, kWritingBack } step = Step::kReading;
  };

  ClusterCopy(Pool* source, Pool* target, EventLoop* loop, std::vector<CopyRun> runs, std::function<void(Status)> done)
      : source_(source), target_(target), loop_(loop), runs_(std::move(runs)), done_(std::move(done)) {}
  void Begin();
  bool TakePiece(CopyRun* piece);
  void LaneEnded();

  CopyEffort effort_{};
  Pool* const source_;
  Pool* const target_;
  EventLoop* const loop_;
  std::vector<CopyRun> runs_;  // the last one is next
  std::function<void(Status)> done_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  size_t running_ = 0;
  Status status_;
};

}  // namespace varve
