#include "volume/copy_out.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace varve {

namespace {
// Four pieces of 512 KiB: reading and writing go on side by side, and a disk gets large requests.
constexpr uint64_t kPieceBytes = 512 * 1024;
constexpr size_t kLanes = 4;
}  // namespace

//   Next → source read → run by run to the disk  → Next
//                      └▶ disk read → compared   → Next
struct CopyOut::Lane : Completion {
  explicit Lane(CopyOut* copy) : Completion(&OnStep), copy(copy) {}

  void Next();
  static void OnStep(Completion* self, Status status);
  void Go();
  void WriteRun();
  void Compare();
  void FillZeroes();

  CopyOut* copy;
  void (Lane::*then)() = nullptr;
  BlockRequest request;
  std::vector<std::byte> data, found;
  size_t run = 0;         // of request.extents, the one that is next
  uint64_t run_at = 0;    // where it begins, in the piece
  iovec iov{};
};

void CopyOut::Lane::Next() {
  uint64_t offset = 0;
  const uint64_t bytes = copy->TakePiece(&offset);
  if (bytes == 0) return copy->LaneEnded(Status::Ok());
  data.resize(bytes);
  request.op = BlockOp::kRead;
  request.offset = offset;
  request.length = bytes;
  request.data = data.data();
  request.extents.clear();
  request.loop = copy->loop_;
  request.done = this;
  run = run_at = 0;
  then = &Lane::Go;
  copy->spec_.source->Submit(&request);
}

void CopyOut::Lane::OnStep(Completion* self, Status status) {
  Lane* lane = static_cast<Lane*>(self);
  if (!status.ok()) return lane->copy->LaneEnded(status);
  (lane->*lane->then)();
}

void CopyOut::Lane::Go() {
  if (copy->spec_.mode != CopyOutMode::kCompare) return WriteRun();
  FillZeroes();
  found.resize(data.size());
  iov = {found.data(), found.size()};
  then = &Lane::Compare;
  copy->spec_.disk->Read(*copy->loop_, request.offset, &iov, 1, this);
}

void CopyOut::Lane::WriteRun() {
  const bool skips_zeroes = copy->spec_.mode == CopyOutMode::kCopyData;
  then = &Lane::WriteRun;
  while (run < request.extents.size()) {
    const Extent extent = request.extents[run++];
    const uint64_t at = std::exchange(run_at, run_at + extent.length);
    const bool zero = (extent.flags & kExtentZero) != 0;
    if (zero && skips_zeroes) continue;
    if (zero) return copy->spec_.disk->WriteZeroes(*copy->loop_, request.offset + at, extent.length, this);
    iov = {data.data() + at, extent.length};
    return copy->spec_.disk->Write(*copy->loop_, request.offset + at, &iov, 1, this);
  }
  Next();
}

void CopyOut::Lane::Compare() {
  if (data != found) return copy->LaneEnded(Status(EILSEQ, "compare"));
  Next();
}

// What reads as zero was not written into the buffer.
void CopyOut::Lane::FillZeroes() {
  for (const Extent& extent : request.extents) {
    if ((extent.flags & kExtentZero) != 0) std::fill_n(data.begin() + static_cast<ptrdiff_t>(run_at), extent.length, std::byte{0});
    run_at += extent.length;
  }
}

CopyOut::CopyOut(EventLoop* loop, CopyOutSpec spec, std::function<void(Status)> done)
    : loop_(loop), spec_(std::move(spec)), done_(std::move(done)), next_(spec_.offset) {}

CopyOut::~CopyOut() = default;

void CopyOut::Start(EventLoop* loop, CopyOutSpec spec, std::function<void(Status)> done) {
  auto* copy = new CopyOut(loop, std::move(spec), std::move(done));
  loop->Post([copy] { copy->Begin(); });
}

void CopyOut::Begin() {
  running_ = kLanes + 1;  // one for this call
  for (size_t i = 0; i < kLanes; i++) lanes_.push_back(std::make_unique<Lane>(this));
  for (size_t i = 0; i < kLanes; i++) lanes_[i]->Next();
  LaneEnded(Status::Ok());
}

uint64_t CopyOut::TakePiece(uint64_t* offset) {
  const uint64_t end = spec_.offset + spec_.bytes;
  if (!status_.ok()) return 0;
  const uint64_t bytes = std::min(kPieceBytes, end - next_);
  *offset = std::exchange(next_, next_ + bytes);
  return bytes;
}

void CopyOut::LaneEnded(Status status) {
  if (status_.ok()) status_ = status;
  if (--running_ != 0) return;
  std::unique_ptr<CopyOut> self(this);
  done_(status_);
}

}  // namespace varve
