// Executing: from a whole request to its reply.
#include <bit>
#include <cerrno>
#include <utility>
#include <vector>

#include "nbd/session.h"
#include "nbd/wire_error.h"

namespace varve::nbd {
namespace {

BlockOp OpOf(Command command) {
  switch (command) {
    case Command::kWrite:
      return BlockOp::kWrite;
    case Command::kFlush:
      return BlockOp::kFlush;
    case Command::kTrim:
      return BlockOp::kTrim;
    case Command::kCache:
      return BlockOp::kCache;
    case Command::kWriteZeroes:
      return BlockOp::kWriteZeroes;
    case Command::kBlockStatus:
      return BlockOp::kBlockStatus;
    case Command::kRead:
    case Command::kDisconnect:
      break;
  }
  return BlockOp::kRead;
}

// A guest waits for data and for durability; what tells about the map, or prepares, has no latency to be kept.
bool IsWaitedFor(BlockOp op) { return op != BlockOp::kCache && op != BlockOp::kBlockStatus; }

bool ChangesData(BlockOp op) { return op == BlockOp::kWrite || op == BlockOp::kTrim || op == BlockOp::kWriteZeroes; }

}  // namespace

void Session::Execute(Request* request) {
  turn_bytes_ += request->room_bytes;
  if (!request->refusal.none()) return Refuse(request, request->refusal);
  const RequestHeader& header = request->header;
  BlockRequest& block = request->block;
  block.op = OpOf(header.command);
  block.fua = header.Has(kFlagFua);
  block.no_hole = header.Has(kFlagNoHole);
  block.guest_waits = IsWaitedFor(block.op);
  block.offset = header.offset;
  block.length = header.length;
  block.data = request->buffer.data;
  block.extents.clear();
  request->write_serial = 0;
  switch (block.op) {
    case BlockOp::kFlush:
      // Whatever stood in the header: a flush has no range.
      block.offset = block.length = 0;
      return Submit(request);
    case BlockOp::kBlockStatus:
      return ExecuteStatus(request);
    default:
      if (block.length == 0) return Answer(request);
      return ChangesData(block.op) ? SubmitWrite(request) : Submit(request);
  }
}

void Session::ExecuteStatus(Request* request) {
  BlockRequest& block = request->block;
  const ContextBits selected = parts_.terms.contexts.bits;
  request->asked = selected;
  if (request->payload_bytes > 0) {
    const std::span<const std::byte> filter(request->buffer.data, request->payload_bytes);
    Refusal refusal = ParseStatusFilter(filter, selected, &block.length, &request->asked);
    if (refusal.none()) {
      refusal = CheckRange(Command::kBlockStatus, block.offset, block.length, parts_.terms.size_bytes);
    }
    if (!refusal.none()) return Refuse(request, refusal);
  }
  block.extents_max = request->header.Has(kFlagReqOne) ? 1 : kStatusExtentsMax / std::popcount(request->asked);
  // What changed is known without the target.
  if ((request->asked & kBaseAllocationBit) == 0) return Answer(request);
  Submit(request);
}

void Session::SubmitWrite(Request* request) {
  if (fenced_) {
    held_.push_back(request);
    return;
  }
  request->write_serial = ++write_serial_;
  writes_in_flight_++;
  Submit(request);
}

void Session::Submit(Request* request) {
  if (paused_) return waiting_.push_back(request);
  submitted_++;
  parts_.target->Submit(&request->block);
}

void Session::OnTargetDone(Request* request, Status status) {
  if (--submitted_ == 0) pause_holds_.clear();
  const bool recalled = status.error() == ERESTART;
  // It waits here for the end of the pause; if that has come already, the target of now gets it.
  if (recalled && phase_ == Phase::kOpen) return Submit(request);
  if (recalled && phase_ == Phase::kParking) return CarryOn(request);
  if (request->write_serial != 0) WriteEnded(request->write_serial);
  // The target was taken away. An error would reach the guest; a lost connection is made again.
  if (status.error() == ESHUTDOWN) Abort("the volume was closed");
  // What a session that ends did not wait for goes without an answer: an error would reach the guest.
  if (phase_ == Phase::kDead || recalled) {
    Recycle(request);
    return EndIfIdle();
  }
  if (!status.ok()) return Refuse(request, {WireErrorOf(status.error()), status.what()});
  Answer(request);
}

// Lets go of fences that waited for this write only.
void Session::WriteEnded(uint64_t serial) {
  writes_in_flight_--;
  for (size_t i = 0; i < holds_.size();) {
    Hold& hold = holds_[i];
    if (serial <= hold.last_serial && --hold.writes == 0) {
      std::swap(hold, holds_.back());
      holds_.pop_back();
    } else {
      i++;
    }
  }
}

void Session::Answer(Request* request) {
  CountDone(*request);
  const Framing framing = parts_.terms.framing;
  const BlockRequest& block = request->block;
  if (block.op == BlockOp::kRead) {
    request->reply.SetRead(request->header, framing, block.data, block.extents);
  } else if (block.op == BlockOp::kBlockStatus) {
    AnswerStatus(request);
  } else {
    request->reply.SetDone(request->header, framing);
  }
  Send(request);
}

void Session::AnswerStatus(Request* request) {
  BlockRequest& block = request->block;
  std::vector<ContextStatus> statuses;
  for (ContextBits left = request->asked; left != 0; left &= left - 1) {
    const uint32_t id = kBaseAllocationId + std::countr_zero(left);
    const std::vector<ChangedRun>* runs = parts_.terms.contexts.RunsOf(id);
    statuses.push_back({id, runs == nullptr
                                ? std::move(block.extents)
                                : DescribeChanges(*runs, block.offset, block.length, block.extents_max)});
  }
  request->reply.SetBlockStatus(request->header, parts_.terms.framing, statuses);
}

void Session::Refuse(Request* request, const Refusal& refusal) {
  request->reply.SetRefusal(request->header, parts_.terms.framing, refusal);
  Send(request);
}

void Session::Send(Request* request) {
  // The client's time to read begins when there is something to read.
  if (!replies_.sending()) NoteProgress();
  replies_.Push(request);
}

void Session::CountDone(const Request& request) {
  ClientRecord& record = *parts_.record;
  if (request.block.op == BlockOp::kRead) {
    record.reads.Add(1);
    record.read_bytes.Add(request.block.length);
  } else if (ChangesData(request.block.op)) {
    record.writes.Add(1);
    if (request.block.op == BlockOp::kWrite) record.write_bytes.Add(request.block.length);
  }
}

}  // namespace varve::nbd
