#include "journal/ring_copy.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace varve {

namespace {
// As large as the largest record: a ring is read and written in few requests, and little memory is needed.
constexpr uint64_t kPieceBytes = 1u << 20;
}  // namespace

RingCopy::RingCopy(EventLoop* loop, RingPlace source, RingPlace target, uint64_t ring_bytes, uint64_t tail, uint64_t head, Ends ends)
    : Completion(&OnIo),
      loop_(loop),
      source_(source),
      target_(target),
      ring_bytes_(ring_bytes),
      position_(tail),
      head_(head),
      ends_(std::move(ends)) {}

void RingCopy::Start(EventLoop* loop, RingPlace source, RingPlace target, uint64_t ring_bytes, uint64_t tail, uint64_t head,
                     Ends ends) {
  (new RingCopy(loop, source, target, ring_bytes, tail, head, std::move(ends)))->Next();
}

void RingCopy::Next() {
  loop_->SetTimer(&limit_, kReplicaPatience);
  if (position_ == head_) {
    step_ = Step::kSync;
    return target_.disk->Sync(*loop_, this);
  }
  const uint64_t place = position_ % ring_bytes_;
  buffer_.resize(std::min({head_ - position_, ring_bytes_ - place, kPieceBytes}));
  iov_ = {buffer_.data(), buffer_.size()};
  step_ = Step::kRead;
  source_.disk->Read(*loop_, source_.offset + place, &iov_, 1, this);
}

void RingCopy::WritePiece() {
  step_ = Step::kWrite;
  loop_->SetTimer(&limit_, kReplicaPatience);
  const uint64_t place = position_ % ring_bytes_;
  position_ += buffer_.size();
  target_.disk->Write(*loop_, target_.offset + place, &iov_, 1, this);
}

void RingCopy::OnIo(Completion* self, Status status) {
  RingCopy* copy = static_cast<RingCopy*>(self);
  const bool goes_on = status.ok() && copy->ends_.done;
  if (goes_on && copy->step_ == Step::kRead) return copy->WritePiece();
  if (goes_on && copy->step_ == Step::kWrite) return copy->Next();
  std::unique_ptr<RingCopy> ended(copy);
  copy->loop_->CancelTimer(&copy->limit_);
  if (copy->ends_.done) copy->Tell(status);
  copy->ends_.idle();
}

void RingCopy::Tell(Status status) { std::exchange(ends_.done, nullptr)(status); }

}  // namespace varve
