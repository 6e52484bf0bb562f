// Reading and writing a LUN at any alignment.
//
//   | block ...... | block | block ...... |
//        [ the user's bytes       ]
//   edge .........                 edge ..
//
// A read brings the edges along into memory of its own. A write reads the edges first and writes whole blocks: it holds the
// lock on them meanwhile.
#pragma once

#include <vector>

#include "io/iovec_window.h"
#include "io/iscsi_operation.h"

namespace varve {

class IscsiTransfer : public IscsiOperation {
 public:
  // iov: lent until the end.
  IscsiTransfer(IscsiCore& core, EventLoop& origin, Completion* done, uint64_t offset, const iovec* iov, int count);

 protected:
  // The part of the edges' blocks that is not the user's, as it stands in edges_.
  void Gather();
  // Sends the next part; false when all were sent.
  bool SendPart(bool write);

  uint64_t first_block() const { return lock_first_; }
  uint64_t end_block() const { return lock_end_; }
  uint64_t lead_bytes() const { return lead_bytes_; }
  uint64_t trail_bytes() const { return trail_bytes_; }
  std::byte* first_edge() { return edges_.data(); }
  std::byte* last_edge();

  IovecWindow window_;

 private:
  const iovec* const iov_;
  const int count_;
  uint64_t lock_first_, lock_end_;  // blocks
  uint64_t lead_bytes_, trail_bytes_;  // of the edges: before and behind the user's bytes
  uint64_t next_block_ = 0;
  std::vector<std::byte> edges_;  // the first and the last block, when there are edges
};

class IscsiRead final : public IscsiTransfer {
 public:
  using IscsiTransfer::IscsiTransfer;
  void Run() override;
  bool changes() const override { return false; }

 private:
  void Answered(const ScsiOutcome& outcome) override;
};

class IscsiWrite final : public IscsiTransfer {
 public:
  using IscsiTransfer::IscsiTransfer;
  void Run() override;

 private:
  enum class Step { kFirstEdge, kLastEdge, kBlocks };

  void Answered(const ScsiOutcome& outcome) override;
  void ReadEdges();
  void ReadEdge(uint64_t block, std::byte* target);
  void WriteBlocks();

  Step step_ = Step::kFirstEdge;
  iovec edge_{};
};

}  // namespace varve
