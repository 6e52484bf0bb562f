#include "io/iscsi_restore.h"

#include <algorithm>
#include <utility>

#include "io/zero_writer.h"

namespace varve {

IscsiRestore::IscsiRestore(EventLoop& loop, Shape shape, const UnsyncedWrites& writes,
                           std::shared_ptr<IscsiSession> session, Done done)
    : loop_(loop),
      shape_(shape),
      writes_(writes),
      session_(std::move(session)),
      done_(std::move(done)),
      rewrite_(loop, this) {}

void IscsiRestore::Start() { Next(); }

void IscsiRestore::Next() {
  UnsyncedWrites::Piece piece;
  if (!writes_.Next(at_, shape_.transfer_bytes_max, &piece)) return Finish(Status::Ok());
  Gather(piece);
  at_ = piece.offset + piece.bytes;
  ScsiCommand& command = rewrite_.command();
  command.cdb = scsi::Write16(piece.offset / shape_.block_bytes, static_cast<uint32_t>(piece.bytes / shape_.block_bytes));
  command.transfer = libiscsi::kToTarget;
  command.iov = pieces_.data();
  command.iov_count = static_cast<int>(pieces_.size());
  command.bytes = static_cast<uint32_t>(piece.bytes);
  rewrite_.Begin(session_, shape_.patience, false);
}

void IscsiRestore::Gather(const UnsyncedWrites::Piece& piece) {
  pieces_.clear();
  if (piece.data) {
    pieces_.push_back({const_cast<std::byte*>(piece.data), piece.bytes});
    return;
  }
  for (uint64_t left = piece.bytes; left > 0; left -= pieces_.back().iov_len) {
    pieces_.push_back({ZeroBytes(), std::min(left, kZeroBytes)});
  }
}

void IscsiRestore::Rewrite::OnAnswer(ScsiExchange* self, const ScsiOutcome& outcome) {
  IscsiRestore* restore = static_cast<Rewrite*>(self)->restore;
  if (outcome.verdict == ScsiVerdict::kDone) return restore->Next();
  if (outcome.verdict == ScsiVerdict::kReset) return restore->Finish(Status(ECONNRESET, "the iSCSI target was reset"));
  restore->Finish(outcome.status);
}

void IscsiRestore::Finish(Status status) {
  // Always from the loop: with nothing to write it would be inside of Start().
  loop_.Post([done = std::exchange(done_, nullptr), status] { done(status); });
}

}  // namespace varve
