// NfsSync: what COMMIT means, held against what servers do.
//
// A server answers an unstable write from memory and may lose it by restarting before the COMMIT; only its write verifier tells.
// So copies are kept until a COMMIT came back with the verifier of the writes. If it is another one, the copies are
// written again, stably, with no other write between; a sync succeeds only when that has been done.
//
//   idle ─▶ COMMIT ─same verifier─▶ done
//     │        └─another, or it failed─┐
//     └─the connection had broken──────┴▶ hold writes ─▶ write the copies again ─▶ done
//
// Guarantees: one round at a time, those who ask meanwhile share the next. A round that fails loses no copy: it may be asked for
// again, and its success is the truth. Copies take 64 MiB at most; beyond half a round begins by itself, beyond all writes are stable.
// Thread: the loop's.
#pragma once

#include <functional>
#include <vector>

#include "io/nfs_link.h"
#include "io/nfs_operation.h"
#include "io/range_locks.h"
#include "io/unsynced_writes.h"

namespace varve {

class NfsSync {
 public:
  // What its owner does for it.
  struct Owner {
    std::function<void(NfsOperation*, Status)> end;  // reports the end of a sync
    std::function<void(NfsRange*)> release;
  };
  NfsSync(NfsLink& link, RangeLocks& locks, Owner owner);

  // While the link is up.
  void Add(NfsOperation* sync);
  // Makes sure of what an earlier connection left open.
  void Settle();
  // All of the disk, for which it waited, is its own now.
  void DiskLocked() { NextPiece(); }
  // The connection is gone: the server may have restarted. It may have done so within the same second, which is all
  // that the verifiers of some servers tell, so that what they say now counts for nothing.
  void Broken() { lost_ = !copies_.empty(); }

  NfsDurability durability() const { return copies_.full() ? NfsDurability::kFileSync : NfsDurability::kUnstable; }
  // A part of a write was answered: iov is its content.
  void Written(uint64_t offset, const iovec* iov, int count, const NfsReply& reply);
  // What the server may have forgotten of a range that is to be read.
  std::vector<NfsOperation::Patch> Forgotten(uint64_t offset, uint64_t bytes) const;

 private:
  struct Call : NfsCall {
    using Answered = void (NfsSync::*)(const NfsReply& reply);
    Call(NfsSync* owner, Answered then) : NfsCall(OnDone), sync(owner), answered(then) {}
    static void OnDone(NfsCall* self, const NfsReply& reply) {
      auto* call = static_cast<Call*>(self);
      (call->sync->*call->answered)(reply);
    }
    NfsSync* sync;
    Answered answered;
  };

  void StartRound();
  void Commit();
  void OnCommitted(const NfsReply& reply);
  void WriteAgain();
  void NextPiece();
  void OnPieceWritten(const NfsReply& reply);
  void EndWritingAgain(Status status);
  void EndRound(Status status);
  // False: the server restarted since the copies were made.
  bool Recognize(uint64_t verifier);

  NfsLink& link_;
  RangeLocks& locks_;
  const Owner owner_;
  UnsyncedWrites copies_;
  uint64_t verifier_ = 0;
  bool verifier_known_ = false;
  bool lost_ = false;  // the server may not have all copies: they are to be written again
  bool running_ = false;
  uint64_t mark_ = 0;
  NfsRange whole_disk_;
  UnsyncedWrites::Piece piece_{};  // being written again
  std::vector<NfsOperation*> waiting_, covered_;
  Call commit_{this, &NfsSync::OnCommitted}, write_again_{this, &NfsSync::OnPieceWritten};
};

}  // namespace varve
