#include "nbd/negotiation.h"

#include <utility>

namespace varve::nbd {

Negotiation::Negotiation(EventLoop& loop, NegotiationHost& host, std::unique_ptr<Catalog> catalog,
                         std::unique_ptr<Transport> transport)
    : loop_(loop),
      host_(host),
      catalog_(std::move(catalog)),
      transport_(std::move(transport)),
      handshake_(*catalog_),
      received_(
          [](CountedCompletion* self, int64_t result) { static_cast<Moved*>(self)->negotiation->OnReceived(result); },
          this),
      sent_([](CountedCompletion* self, int64_t result) { static_cast<Moved*>(self)->negotiation->OnSent(result); },
            this),
      deadline_([](Timer* self) { static_cast<Deadline*>(self)->negotiation->Abort(); }, this) {
  message_.msg_iov = &part_;
  message_.msg_iovlen = 1;
}

void Negotiation::Start(std::chrono::milliseconds timeout) {
  loop_.SetTimer(&deadline_, timeout);
  Send();
}

void Negotiation::Abort() {
  if (aborted_ || ended_) return;
  aborted_ = true;
  transport_->Cancel();
  if (!pending_) End();
}

// Answers what is there: sends as soon as there is an answer, receives when nothing more can be taken.
void Negotiation::GoOn() {
  if (aborted_ || handshake_.state() != Handshake::State::kNegotiating) return End();
  while (output_.empty() && handshake_.state() == Handshake::State::kNegotiating) {
    const size_t taken = handshake_.Step(input_.content(), &output_);
    if (taken == 0) return Receive();
    input_.Drop(taken);
  }
  if (output_.empty()) return End();
  Send();
}

void Negotiation::Receive() {
  const auto room = input_.Room();
  pending_ = true;
  transport_->Receive(room.data(), room.size(), &received_);
}

void Negotiation::OnReceived(int64_t result) {
  pending_ = false;
  if (result <= 0) aborted_ = true;
  if (result > 0) input_.Commit(static_cast<size_t>(result));
  GoOn();
}

void Negotiation::Send() {
  part_ = {output_.data() + output_sent_, output_.size() - output_sent_};
  pending_ = true;
  transport_->Send(&message_, &sent_);
}

void Negotiation::OnSent(int64_t result) {
  pending_ = false;
  if (result <= 0) aborted_ = true;
  if (aborted_) return End();
  output_sent_ += static_cast<size_t>(result);
  if (output_sent_ < output_.size()) return Send();
  output_.clear();
  output_sent_ = 0;
  GoOn();
}

void Negotiation::End() {
  if (std::exchange(ended_, true)) return;
  loop_.CancelTimer(&deadline_);
  host_.NegotiationEnded(this);
}

}  // namespace varve::nbd
