#include "volume/cluster_copy.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace varve {

namespace {
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
  effort_ = CopyEffort::Of(source_->gentle_copies() || target_->gentle_copies());
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
  source = copy->source_->HoldDisk(piece.source_disk);
  if (source == nullptr) {
    copy->status_ = Status(ENODEV, "the disk has left the pool");
    return copy->LaneEnded();
  }
  buffer.resize(piece.bytes);
  iov = {buffer.data(), buffer.size()};
  step = Step::kReading;
  source->Read(*copy->loop_, piece.source_offset, &iov, 1, this);
}

void ClusterCopy::Lane::OnIo(Completion* self, Status status) {
  Lane* lane = static_cast<Lane*>(self);
  ClusterCopy* copy = lane->copy;
  const bool read = lane->step == Step::kReading;
  const unsigned disk = read ? lane->piece.source_disk : lane->piece.target_disk;
  if (lane->step == Step::kWriting) copy->target_->journal().NoteWrite(disk);
  if (!status.ok()) {
    (read ? copy->source_ : copy->target_)->ReportDiskError(disk, status);
    copy->status_ = status;
    return copy->LaneEnded();
  }
  switch (lane->step) {
    case Step::kReading: return lane->OnRead();
    case Step::kWriting: return lane->OnWritten();
    case Step::kWritingBack: return lane->Next();
  }
}

void ClusterCopy::Lane::OnRead() {
  step = Step::kWriting;
  copy->target_->disk(piece.target_disk).Write(*copy->loop_, piece.target_offset, &iov, 1, this);
}

void ClusterCopy::Lane::OnWritten() {
  if (!copy->effort_.writes_back) return Next();
  step = Step::kWritingBack;
  copy->target_->disk(piece.target_disk).WriteBack(*copy->loop_, piece.target_offset, piece.bytes, this);
}

void ClusterCopy::LaneEnded() {
  if (--running_ != 0) return;
  std::unique_ptr<ClusterCopy> self(this);
  done_(status_);
}

}  // namespace varve
