#include "io/iscsi_transfer.h"

#include "io/iscsi_core.h"

namespace varve {

namespace {

uint64_t BytesOf(const iovec* iov, int count) {
  uint64_t bytes = 0;
  for (int i = 0; i < count; ++i) bytes += iov[i].iov_len;
  return bytes;
}

}  // namespace

IscsiTransfer::IscsiTransfer(IscsiCore& core, EventLoop& origin, Completion* done, uint64_t offset, const iovec* iov,
                             int count)
    : IscsiOperation(core, origin, done), iov_(iov), count_(count) {
  uint32_t block = core.block_bytes();
  uint64_t end = offset + BytesOf(iov, count);
  lock_first_ = offset / block;
  lock_end_ = (end + block - 1) / block;
  lead_bytes_ = offset - lock_first_ * block;
  trail_bytes_ = lock_end_ * block - end;
  if (lead_bytes_ + trail_bytes_ > 0) edges_.resize(2 * block);
  NeedsAll();
  lock().first = lock_first_;
  lock().end = lock_end_;
}

std::byte* IscsiTransfer::last_edge() {
  bool one_block = end_block() - first_block() == 1;
  return one_block ? edges_.data() : edges_.data() + core().block_bytes();
}

void IscsiTransfer::Gather() {
  window_.Clear();
  window_.Add(first_edge(), lead_bytes_);
  window_.Add(iov_, count_);
  window_.Add(last_edge() + (core().block_bytes() - trail_bytes_), trail_bytes_);
  next_block_ = first_block();
}

bool IscsiTransfer::SendPart(bool write) {
  uint32_t block_bytes = core().block_bytes();
  uint64_t bytes = window_.Next(core().transfer_bytes_max(), block_bytes);
  if (bytes == 0) return false;
  uint64_t block = next_block_;
  auto blocks = static_cast<uint32_t>(bytes / block_bytes);
  next_block_ += blocks;
  scsi::Cdb cdb = write ? scsi::Write16(block, blocks) : scsi::Read16(block, blocks);
  Send(cdb, write ? libiscsi::kToTarget : libiscsi::kFromTarget, window_.part(), window_.part_count(), bytes);
  return true;
}

// ---- reading

void IscsiRead::Run() {
  Gather();
  if (!SendPart(false)) Finish(Status::Ok());
}

void IscsiRead::Answered(const ScsiOutcome& outcome) {
  if (outcome.verdict != ScsiVerdict::kDone) return Finish(outcome.status);
  if (!SendPart(false)) Finish(window_.done() ? Status::Ok() : Status(EINVAL, "a block is read into too many pieces"));
}

// ---- writing

void IscsiWrite::Run() {
  step_ = Step::kFirstEdge;
  ReadEdges();
}

void IscsiWrite::ReadEdges() {
  bool one_block = end_block() - first_block() == 1;
  bool first = lead_bytes() > 0 || (one_block && trail_bytes() > 0);
  if (step_ == Step::kFirstEdge && first) return ReadEdge(first_block(), first_edge());
  if (step_ == Step::kFirstEdge) step_ = Step::kLastEdge;
  if (step_ == Step::kLastEdge && trail_bytes() > 0 && !one_block) return ReadEdge(end_block() - 1, last_edge());
  step_ = Step::kBlocks;
  Gather();
  WriteBlocks();
}

void IscsiWrite::ReadEdge(uint64_t block, std::byte* target) {
  edge_ = {target, core().block_bytes()};
  Send(scsi::Read16(block, 1), libiscsi::kFromTarget, &edge_, 1, edge_.iov_len);
}

void IscsiWrite::Answered(const ScsiOutcome& outcome) {
  if (outcome.verdict != ScsiVerdict::kDone) return Finish(outcome.status);
  if (step_ == Step::kBlocks) return WriteBlocks();
  step_ = step_ == Step::kFirstEdge ? Step::kLastEdge : Step::kBlocks;
  ReadEdges();
}

void IscsiWrite::WriteBlocks() {
  if (SendPart(true)) return;
  if (!window_.done()) return Finish(Status(EINVAL, "a block is written from too many pieces"));
  core().Wrote(first_block() * core().block_bytes(), window_.all(), window_.all_count());
  Finish(Status::Ok());
}

}  // namespace varve
