#include "io/iscsi_provisioning.h"

#include <algorithm>

#include "io/iscsi_core.h"
#include "io/zero_writer.h"

namespace varve {

// ---- ranges

IscsiRange::IscsiRange(IscsiCore& core, EventLoop& origin, Completion* done, uint64_t first_block, uint64_t blocks)
    : IscsiOperation(core, origin, done) {
  lock().first = first_block;
  lock().end = first_block + blocks;
}

void IscsiRange::Run() {
  at_ = lock().first;
  Next();
}

void IscsiRange::Next() {
  if (at_ < lock().end) {
    sent_ = SendFrom(at_, lock().end - at_);
    return;
  }
  Ended();
  Finish(Status::Ok());
}

void IscsiRange::Answered(const ScsiOutcome& outcome) {
  if (outcome.verdict == ScsiVerdict::kDone) {
    at_ += sent_;
    return Next();
  }
  if (!outcome.unsupported) return Finish(outcome.status);
  if (Unsupported()) return Next();
  Finish(Status::Ok());
}

// ---- giving back

uint32_t IscsiUnmap::SendFrom(uint64_t block, uint64_t blocks) {
  auto count = static_cast<uint32_t>(std::min<uint64_t>(blocks, core().unmap_blocks_max()));
  parameters_ = scsi::UnmapParameters(block, count);
  piece_ = {parameters_.data(), parameters_.size()};
  Send(scsi::Unmap(static_cast<uint16_t>(parameters_.size())), libiscsi::kToTarget, &piece_, 1, parameters_.size());
  return count;
}

bool IscsiUnmap::Unsupported() {
  core().CannotUnmap();
  return false;
}

void IscsiUnmap::Ended() { core().Discarded(lock().first, lock().end - lock().first); }

// ---- zeroing

uint32_t IscsiZero::SendFrom(uint64_t block, uint64_t blocks) {
  pieces_.clear();
  return core().has_write_same() ? SendSame(block, blocks) : SendZeroes(block, blocks);
}

uint32_t IscsiZero::SendSame(uint64_t block, uint64_t blocks) {
  auto count = static_cast<uint32_t>(std::min<uint64_t>(blocks, core().write_same_blocks_max()));
  pieces_.push_back({ZeroBytes(), core().block_bytes()});
  scsi::Cdb cdb = scsi::WriteSame16(block, count, core().zeroes_unmap());
  Send(cdb, libiscsi::kToTarget, pieces_.data(), 1, core().block_bytes());
  return count;
}

uint32_t IscsiZero::SendZeroes(uint64_t block, uint64_t blocks) {
  uint32_t block_bytes = core().block_bytes();
  uint64_t bytes = std::min(blocks * block_bytes, core().transfer_bytes_max());
  for (uint64_t left = bytes; left > 0;) {
    pieces_.push_back({ZeroBytes(), std::min(left, kZeroBytes)});
    left -= pieces_.back().iov_len;
  }
  auto count = static_cast<uint32_t>(bytes / block_bytes);
  Send(scsi::Write16(block, count), libiscsi::kToTarget, pieces_.data(), static_cast<int>(pieces_.size()), bytes);
  return count;
}

bool IscsiZero::Unsupported() {
  bool another_way = core().has_write_same();
  core().CannotWriteSame();
  return another_way;
}

void IscsiZero::Ended() { core().Zeroed(lock().first, lock().end - lock().first); }

}  // namespace varve
