// RingCopy: brings the live part of a journal ring onto a disk that is to carry a replica, and syncs it there.
//
// Piece by piece, in order; nothing else of the new ring is written: what lies outside of [tail, head) is never read. The caller keeps the
// ring from growing meanwhile (journal.h).
// Thread: `loop`.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "io/disk.h"
#include "io/event_loop.h"

namespace varve {

struct RingPlace {
  Disk* disk;
  uint64_t offset;
};

class RingCopy : private Completion {
 public:
  // Copies positions [tail, head) of a ring of `ring_bytes`. `done` runs once on the loop, never inside this call.
  // ok: they are durable on the target. The object deletes itself.
  static void Start(EventLoop* loop, RingPlace source, RingPlace target, uint64_t ring_bytes, uint64_t tail, uint64_t head,
                    std::function<void(Status)> done);

 private:
  enum class Step { kRead, kWrite, kSync };

  RingCopy(EventLoop* loop, RingPlace source, RingPlace target, uint64_t ring_bytes, uint64_t tail, uint64_t head,
           std::function<void(Status)> done);
  static void OnIo(Completion* self, Status status);
  void Next();
  void WritePiece();

  EventLoop* const loop_;
  const RingPlace source_;
  const RingPlace target_;
  const uint64_t ring_bytes_;
  uint64_t position_;
  const uint64_t head_;
  const std::function<void(Status)> done_;
  Step step_ = Step::kRead;
  std::vector<std::byte> buffer_;
  iovec iov_{};
};

}  // namespace varve
