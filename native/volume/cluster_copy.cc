#include "volume/cluster_copy.h"

#include <algorithm>
#include <utility>

namespace varve {

namespace {
// Large enough not to be copied by the loop itself (inline_write_policy.h), and so many that disks read while they write.
constexpr ClusterCopy::Effort kFullEffort = {1024 * 1024, 4};
// What a guest's request may find in its way is a few requests of its own size.
constexpr ClusterCopy::Effort kGentleEffort = {64 * 1024, 1};

bool Continues(const CopyRun& run, const CopyRun& next) {
  return run.source_disk == next.source_disk && run.source_offset + run.bytes == next.source_offset &&
         run.target_disk == next.target_disk && run.target_offset + run.bytes == next.target_offset;
}

// Neighbours that stay neighbours as one run; the first comes last.
std::vector<CopyRun> Joined(const std::vector<CopyRun>& runs) {
  std::vector<CopyRun> joined;
  for (const CopyRun& run : runs) {
    if (!joined.empty() && Continues(joined.back(), run)) joined.back().bytes += run.bytes;
    else joined.push_back(run);
  }
  std::reverse(joined.begin(), joined.end());
  return joined;
}
}  // namespace

void ClusterCopy::Start(Pool* source, Pool* target, EventLoop* loop, const std::vector<CopyRun>& runs,
                        std::function<void(Status)> done) {
  auto* copy = new ClusterCopy(source, target, loop, Joined(runs), std::move(done));
  loop->Post([copy] { copy->Begin(); });
}

void ClusterCopy::Begin() {
  effort_ = source_->gentle_copies() || target_->gentle_copies() ? kGentleEffort : kFullEffort;
  running_ = effort_.lanes + 1;  // one for this call
  for (size_t i = 0; i < effort_.lanes; i++) lanes_.push_back(std::make_unique<Lane>(this));
  for (size_t i = 0; i < effort_.lanes; i++) lanes_[i]->Next();
  LaneEnded();
}

bool ClusterCopy::TakePiece(CopyRun* piece) {
  if (runs_.empty() || !status_.ok()) return false;
  CopyRun& run = runs_.back();
  *piece = run;
  piece->bytes = std::min(run.bytes, effort_.piece_bytes);
  run.source_offset += piece->bytes;
  run.target_offset += piece->bytes;
  run.bytes -= piece->bytes;
  if (run.bytes == 0) runs_.pop_back();
  return true;
}

void ClusterCopy::Lane::Next() {
  if (!copy->TakePiece(&piece)) return copy->LaneEnded();
  buffer.resize(piece.bytes);
  iov = {buffer.data(), buffer.size()};
  writing = false;
  copy->source_->disk(piece.source_disk).Read(*copy->loop_, piece.source_offset, &iov, 1, this);
}

void ClusterCopy::Lane::OnIo(Completion* self, Status status) {
  Lane* lane = static_cast<Lane*>(self);
  ClusterCopy* copy = lane->copy;
  const unsigned disk = lane->writing ? lane->piece.target_disk : lane->piece.source_disk;
  if (lane->writing) copy->target_->journal().NoteWrite(disk);
  if (!status.ok()) {
    (lane->writing ? copy->target_ : copy->source_)->ReportDiskError(disk, status);
    copy->status_ = status;
    return copy->LaneEnded();
  }
  if (lane->writing) return lane->Next();
  lane->writing = true;
  copy->target_->disk(lane->piece.target_disk).Write(*copy->loop_, lane->piece.target_offset, &lane->iov, 1, lane);
}

void ClusterCopy::LaneEnded() {
  if (--running_ != 0) return;
  std::unique_ptr<ClusterCopy> self(this);
  done_(status_);
}

}  // namespace varve
