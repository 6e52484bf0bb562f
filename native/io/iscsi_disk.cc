#include "io/iscsi_disk.h"

#include <utility>

#include "io/iscsi_measure.h"
#include "io/iscsi_provisioning.h"
#include "io/iscsi_transfer.h"
#include "io/zero_writer.h"

namespace varve {

namespace {

struct Blocks {
  uint64_t first, end;  // whole blocks inside of a range
  Blocks(uint64_t offset, uint64_t bytes, uint64_t block)
      : first((offset + block - 1) / block), end((offset + bytes) / block) {}
  bool empty() const { return first >= end; }
};

// Zeroes at any alignment: the edges are written as bytes, the blocks between them in one go.
class ZeroAnywhere final : Completion {
 public:
  using Middle = std::function<void(uint64_t first_block, uint64_t blocks, Completion* done)>;

  ZeroAnywhere(Disk& disk, EventLoop& loop, Middle middle, Completion* done)
      : Completion(OnPart), disk_(disk), loop_(loop), middle_(std::move(middle)), done_(done) {}

  void Start(uint64_t offset, uint64_t bytes, uint64_t block) {
    Blocks whole(offset, bytes, block);
    uint64_t head_end = whole.empty() ? offset + bytes : whole.first * block;
    Edge(&head_, offset, head_end);
    if (!whole.empty()) {
      first_block_ = whole.first;
      blocks_ = whole.end - whole.first;
      Edge(&tail_, whole.end * block, offset + bytes);
    }
    Next();
  }

 private:
  struct Part {
    uint64_t offset = 0;
    iovec zeroes{nullptr, 0};
  };

  // A part without a whole block is shorter than two blocks.
  static void Edge(Part* part, uint64_t offset, uint64_t end) { *part = {offset, {ZeroBytes(), end - offset}}; }

  void Next() {
    if (head_.zeroes.iov_len > 0) return Write(&head_);
    if (blocks_ > 0) return middle_(first_block_, std::exchange(blocks_, 0), this);
    if (tail_.zeroes.iov_len > 0) return Write(&tail_);
    End(Status::Ok());
  }

  void Write(Part* part) {
    writing_ = part->zeroes;
    part->zeroes.iov_len = 0;
    disk_.Write(loop_, part->offset, &writing_, 1, this);
  }

  static void OnPart(Completion* self, Status status) {
    auto* zero = static_cast<ZeroAnywhere*>(self);
    if (status.ok()) zero->Next();
    else zero->End(status);
  }

  // Through the loop: with nothing to zero this is still inside of the call.
  void End(Status status) {
    loop_.Complete(done_, status);
    delete this;
  }

  Disk& disk_;
  EventLoop& loop_;
  const Middle middle_;
  Completion* const done_;
  Part head_, tail_;
  uint64_t first_block_ = 0, blocks_ = 0;
  iovec writing_{};
};

bool IsEmpty(const iovec* iov, int count) {
  for (int i = 0; i < count; ++i) {
    if (iov[i].iov_len > 0) return false;
  }
  return true;
}

}  // namespace

IscsiDisk::~IscsiDisk() {
  core_->home().Post([core = core_] { core->Close(); });
}

void IscsiDisk::Submit(IscsiOperation* operation) {
  EventLoop& home = core_->home();
  if (home.OnLoopThread()) return core_->Submit(operation);
  home.Post([core = core_, operation] { core->Submit(operation); });
}

void IscsiDisk::Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  if (IsEmpty(iov, count)) return loop.Complete(done, Status::Ok());
  Submit(new IscsiRead(*core_, loop, done, offset, iov, count));
}

void IscsiDisk::Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  if (IsEmpty(iov, count)) return loop.Complete(done, Status::Ok());
  Submit(new IscsiWrite(*core_, loop, done, offset, iov, count));
}

void IscsiDisk::Sync(EventLoop& loop, Completion* done) {
  EventLoop& home = core_->home();
  if (home.OnLoopThread()) return core_->Sync(loop, done);
  home.Post([core = core_, &loop, done] { core->Sync(loop, done); });
}

void IscsiDisk::Measure(EventLoop& loop, uint64_t* bytes, Completion* done) {
  Submit(new IscsiMeasure(*core_, loop, done, bytes));
}

void IscsiDisk::Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  Blocks whole(offset, bytes, core_->block_bytes());
  if (whole.empty() || !core_->can_unmap()) return loop.Complete(done, Status::Ok());
  Submit(new IscsiUnmap(*core_, loop, done, whole.first, whole.end - whole.first));
}

void IscsiDisk::WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  auto middle = [this, &loop](uint64_t first, uint64_t blocks, Completion* part_done) {
    Submit(new IscsiZero(*core_, loop, part_done, first, blocks));
  };
  (new ZeroAnywhere(*this, loop, std::move(middle), done))->Start(offset, bytes, core_->block_bytes());
}

}  // namespace varve
