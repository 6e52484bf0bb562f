// Giving blocks back to a thin LUN, and zeroing them without sending zeroes.
#pragma once

#include <array>
#include <vector>

#include "io/iscsi_operation.h"

namespace varve {

// A range of whole blocks, changed command by command.
class IscsiRange : public IscsiOperation {
 public:
  IscsiRange(IscsiCore& core, EventLoop& origin, Completion* done, uint64_t first_block, uint64_t blocks);
  void Run() override;

 protected:
  // Sends a command for as many of the blocks as one takes; returns how many.
  virtual uint32_t SendFrom(uint64_t block, uint64_t blocks) = 0;
  // The target does not know the command. True: there is another way, go on.
  virtual bool Unsupported() = 0;
  // All is done.
  virtual void Ended() = 0;

 private:
  void Next();
  void Answered(const ScsiOutcome& outcome) override;

  uint64_t at_ = 0;
  uint32_t sent_ = 0;
};

// UNMAP. A target that cannot has succeeded: it is a hint.
class IscsiUnmap final : public IscsiRange {
 public:
  using IscsiRange::IscsiRange;

 private:
  uint32_t SendFrom(uint64_t block, uint64_t blocks) override;
  bool Unsupported() override;
  void Ended() override;

  std::array<uint8_t, 24> parameters_{};
  iovec piece_{};
};

// WRITE SAME, by which a thin LUN also gives the space back; zeroes are written where the target does not know it.
class IscsiZero final : public IscsiRange {
 public:
  using IscsiRange::IscsiRange;

 private:
  uint32_t SendFrom(uint64_t block, uint64_t blocks) override;
  bool Unsupported() override;
  void Ended() override;

  uint32_t SendSame(uint64_t block, uint64_t blocks);
  uint32_t SendZeroes(uint64_t block, uint64_t blocks);

  std::vector<iovec> pieces_;
};

}  // namespace varve
