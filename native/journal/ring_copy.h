// RingCopy: brings the live part of a journal ring onto a disk that is to carry a replica, and syncs it there.
//
// Piece by piece, in order; nothing else of the new ring is written: what lies outside of [tail, head) is never read. The caller keeps the
// ring from growing meanwhile (journal.h), and everybody's flushes with it: so the copy is given up when one request is not answered
// within kReplicaPatience, and that request is waited for behind its back.
// Thread: `loop`.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "io/disk.h"
#include "io/event_loop.h"
#include "journal/ring_writer.h"

namespace varve {

struct RingPlace {
  Disk* disk;
  uint64_t offset;
};

class RingCopy : private Completion {
 public:
  struct Ends {
    std::function<void(Status)> done;  // ok: the copy is durable on the target. ETIMEDOUT: given up
    std::function<void()> idle;        // behind it: nothing is on its way to the target
  };
  // Copies positions [tail, head) of a ring of `ring_bytes`. Both ends are told once on the loop, never inside this call.
  // The object deletes itself.
  static void Start(EventLoop* loop, RingPlace source, RingPlace target, uint64_t ring_bytes, uint64_t tail, uint64_t head, Ends ends);

 private:
  enum class Step { kRead, kWrite, kSync };

  struct Limit : Timer {
    explicit Limit(RingCopy* of) : Timer(&OnDue), copy(of) {}
    static void OnDue(Timer* self) { static_cast<Limit*>(self)->copy->Tell(Status(ETIMEDOUT, "no answer")); }
    RingCopy* copy;
  };

  RingCopy(EventLoop* loop, RingPlace source, RingPlace target, uint64_t ring_bytes, uint64_t tail, uint64_t head, Ends ends);
  static void OnIo(Completion* self, Status status);
  void Next();
  void WritePiece();
  void Tell(Status status);

  EventLoop* const loop_;
  const RingPlace source_;
  const RingPlace target_;
  const uint64_t ring_bytes_;
  uint64_t position_;
  const uint64_t head_;
  Ends ends_;  // done: empty once told
  Limit limit_{this};
  Step step_ = Step::kRead;
  std::vector<std::byte> buffer_;
  iovec iov_{};
};

}  // namespace varve
