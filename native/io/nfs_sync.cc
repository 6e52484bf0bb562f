#include "io/nfs_sync.h"

#include <algorithm>
#include <utility>

#include "io/zero_writer.h"

namespace varve {

namespace {

constexpr uint64_t kCopiesBytesMax = 64 << 20;

}  // namespace

NfsSync::NfsSync(NfsLink& link, RangeLocks& locks, Owner owner)
    : link_(link), locks_(locks), owner_(std::move(owner)), copies_(kCopiesBytesMax) {
  whole_disk_.end = UINT64_MAX;
}

void NfsSync::Add(NfsOperation* sync) {
  waiting_.push_back(sync);
  if (!running_) StartRound();
}

void NfsSync::Settle() {
  if (!running_ && link_.up() && !copies_.empty()) StartRound();
}

// ---- copies

bool NfsSync::Recognize(uint64_t verifier) {
  bool same = !verifier_known_ || verifier == verifier_;
  verifier_ = verifier;
  verifier_known_ = true;
  if (!same && !copies_.empty()) lost_ = true;
  return same;
}

void NfsSync::Written(uint64_t offset, const iovec* iov, int count, const NfsReply& reply) {
  Recognize(reply.verifier);
  if (reply.durable) return copies_.Forget(offset, reply.bytes);
  copies_.Keep(offset, iov, count);
  if (copies_.bytes() >= kCopiesBytesMax / 2) Settle();
}

std::vector<NfsOperation::Patch> NfsSync::Forgotten(uint64_t offset, uint64_t bytes) const {
  std::vector<NfsOperation::Patch> patches;
  if (!lost_) return patches;
  UnsyncedWrites::Piece piece;
  for (uint64_t at = offset; at < offset + bytes; at = piece.offset + piece.bytes) {
    if (!copies_.Next(at, offset + bytes - at, &piece) || piece.offset >= offset + bytes) break;
    uint64_t length = std::min(piece.bytes, offset + bytes - piece.offset);
    std::vector<std::byte> content(length);
    if (piece.data) std::copy_n(piece.data, length, content.begin());
    patches.push_back({piece.offset, std::move(content)});
  }
  return patches;
}

// ---- rounds

void NfsSync::StartRound() {
  running_ = true;
  covered_.swap(waiting_);
  if (!link_.up()) return EndRound(Status(ENOTCONN, "sync"));
  if (copies_.empty()) return EndRound(Status::Ok());
  if (lost_) WriteAgain();
  else Commit();
}

void NfsSync::Commit() {
  mark_ = copies_.Mark();
  if (!link_.protocol().Commit(link_.rpc(), link_.file(), &commit_)) EndRound(Status(ENOMEM, "sync"));
}

void NfsSync::OnCommitted(const NfsReply& reply) {
  if (reply.error == ECONNRESET) {
    link_.Lost();
    return EndRound(Status(ECONNRESET, "sync"));
  }
  if (reply.error != 0) {
    // What the server could not keep it may have dropped: a later round does not believe its memory.
    lost_ = true;
    return EndRound(Status(reply.error, "sync"));
  }
  bool same = Recognize(reply.verifier);
  if (!same || lost_) return WriteAgain();
  copies_.Synced(mark_);
  EndRound(Status::Ok());
}

// With all of the disk locked: the copies are of different times, and nothing newer may be overwritten.
void NfsSync::WriteAgain() {
  if (locks_.Acquire(&whole_disk_)) DiskLocked();
}

void NfsSync::NextPiece() {
  if (!link_.up()) return EndWritingAgain(Status(ENOTCONN, "sync"));
  uint64_t bytes_max = link_.limits().write_bytes;
  if (!copies_.Next(0, bytes_max, &piece_)) {
    lost_ = false;
    return EndWritingAgain(Status::Ok());
  }
  if (!piece_.data) piece_.bytes = std::min(piece_.bytes, kZeroBytes);
  bool queued = link_.protocol().Write(link_.rpc(), link_.file(), piece_.offset, piece_.data ? piece_.data : ZeroBytes(),
                                       static_cast<uint32_t>(piece_.bytes), NfsDurability::kFileSync, &write_again_);
  if (!queued) EndWritingAgain(Status(ENOMEM, "sync"));
}

void NfsSync::OnPieceWritten(const NfsReply& reply) {
  int error = reply.error;
  if (error == ECONNRESET) link_.Lost();
  if (error == 0 && (!reply.durable || reply.bytes == 0)) error = EIO;
  if (error != 0) return EndWritingAgain(Status(error, "sync"));
  verifier_ = reply.verifier;
  copies_.Forget(piece_.offset, reply.bytes);
  NextPiece();
}

void NfsSync::EndWritingAgain(Status status) {
  owner_.release(&whole_disk_);
  EndRound(status);
}

void NfsSync::EndRound(Status status) {
  running_ = false;
  for (NfsOperation* sync : std::exchange(covered_, {})) owner_.end(sync, status);
  if (!waiting_.empty() && !running_) StartRound();
}

}  // namespace varve
