// WriteOp: WRITE.
//
// The request is cut at cluster boundaries into pieces. A piece whose sub-blocks the head owns is written in place. Any
// other piece claims its slot (claims.h): it writes into the slot's own cluster or a new one, and sets the mask bits when the
// data is there. The rest of a partly written sub-block is read from below first, or is zeroes where nothing is below.
// Pieces that lie together on a disk go out as one write.
//
// Pieces are submitted as they are planned; a piece that has to wait keeps none of the earlier ones from finishing, so
// two writes never wait for each other.
#pragma once

#include <deque>
#include <vector>

#include "volume/claims.h"
#include "volume/flush_op.h"
#include "volume/grants.h"
#include "volume/page_table.h"
#include "volume/volume_op.h"

namespace varve {

class WriteOp : public VolumeOp {
 private:
  // Part of the request in one slot.
  struct Piece {
    SlotIndex slot = 0;
    uint64_t within = 0;  // first byte in the cluster
    uint64_t length = 0;
    SlotMask touched = 0;   // sub-blocks it reaches into
    bool claims = false;
    uint32_t pad_before = 0;  // bytes written around it
    uint32_t pad_after = 0;
    Address fill_before;  // where these bytes are read from; none: they are zeroes
    Address fill_after;
    Address address;
    Region* region = nullptr;  // pinned when it claims
  };
  struct Segment;
  // Bytes read from below into a segment's padding.
  struct Fill : Completion {
    Fill(Segment* segment, Address from, uint64_t offset, std::vector<std::byte> buffer)
        : Completion(&OnFilled), segment(segment), from(from), offset(offset), buffer(std::move(buffer)) {}
    static void OnFilled(Completion* self, Status status);
    Segment* segment;
    Address from;
    uint64_t offset;
    std::vector<std::byte> buffer;
    iovec iov{};
  };
  // Pieces [first_piece, first_piece + piece_count) that lie together.
  struct Segment : Completion {
    Segment(WriteOp* op, size_t first_piece) : Completion(&OnWritten), op(op), first_piece(first_piece) {}
    static void OnWritten(Completion* self, Status status);
    WriteOp* op;
    size_t first_piece;
    size_t piece_count = 0;
    unsigned disk = 0;
    uint64_t offset = 0;
    uint64_t length = 0;
    iovec iov[3];
    int iov_count = 0;
    unsigned fills = 0;  // still to be read before it is written
    Status fill_status;
  };
  enum class Outcome { kPlanned, kParked, kNoSpace };
  // Of one that got no cluster.
  static Outcome OutcomeOf(GrantOutcome outcome);

  void Advance() override;
  void Recycle() override;
  Outcome PlanAll();
  Outcome PlanPiece(Piece* piece);
  Outcome PlanClaim(Piece* piece, const SlotView& view);
  Outcome FindPlace(Piece* piece, const SlotView& view, Claim** claim);
  void PlanPadding(Piece* piece, const SlotView& view);
  void AddPiece(const Piece& piece, std::byte* data);
  iovec Padding(Segment* segment, Address from, uint64_t within, uint32_t bytes);
  void SubmitNew();
  void Write(Segment* segment);
  void OnFillEnd(Fill* fill, Status status);
  void OnSegmentEnd(const Segment& segment, Status status);
  void EndClaim(const Piece& piece, bool written, std::vector<VolumeOp*>* waiters);
  void MaybeDone();

  uint64_t cursor_ = 0;  // bytes of the request planned
  bool parked_ = false;
  size_t first_new_segment_ = 0;
  size_t first_new_fill_ = 0;
  size_t in_flight_ = 0;
  std::vector<Piece> pieces_;
  std::deque<Segment> segments_;  // stable addresses: completions point into them
  std::deque<Fill> fills_;
  DurabilityWait durability_{this, [](VolumeOp* op, Status status) { static_cast<WriteOp*>(op)->Finish(status); }};
};

}  // namespace varve
