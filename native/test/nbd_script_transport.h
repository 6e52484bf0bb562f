// ScriptTransport: a connection whose client is the test.
//
// The test puts bytes in, ends the stream, and reads what was sent. Each receive brings at most `slice_bytes`, each
// send takes at most as many: what works with 1 works with any segmentation. Sends take more the more was sent, so that a reply of
// megabytes is not as many of them.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "nbd/transport.h"
#include "test/nbd_manual_loop.h"

namespace varve::nbd {

class ScriptTransport final : public Transport {
 public:
  explicit ScriptTransport(ManualLoop& loop, size_t slice_bytes = SIZE_MAX) : loop_(loop), slice_bytes_(slice_bytes) {}

  void Put(std::string_view bytes) {
    input_ += bytes;
    Deliver();
  }
  void EndInput() {
    ended_ = true;
    Deliver();
  }
  // While false the client does not read.
  void SetReading(bool reading) {
    reading_ = reading;
    TakeSend();
  }
  // What is sent from now on is of no interest.
  void DropOutput() { drops_output_ = true; }
  std::string TakeOutput() { return std::exchange(output_, {}); }
  size_t sent_bytes() const { return sent_bytes_; }
  bool receiving() const { return receive_ != nullptr; }
  bool canceled() const { return canceled_; }

  void Receive(void* buffer, size_t bytes, CountedCompletion* done) override {
    buffer_ = buffer;
    buffer_bytes_ = bytes;
    receive_ = done;
    Deliver();
  }
  void Send(const msghdr* message, CountedCompletion* done) override {
    message_ = message;
    send_ = done;
    TakeSend();
  }
  void Cancel() override {
    canceled_ = true;
    if (receive_ != nullptr) Finish(&receive_, -ECANCELED);
    if (send_ != nullptr) Finish(&send_, -ECANCELED);
  }
  void MoveTo(EventLoop&) override {}
  bool PeerEnded() const override { return ended_; }
  UniqueFd TakeDescriptor() override { return UniqueFd(); }

 private:
  void Deliver() {
    if (receive_ == nullptr || (input_.empty() && !ended_)) return;
    const size_t bytes = std::min({buffer_bytes_, input_.size(), slice_bytes_});
    std::memcpy(buffer_, input_.data(), bytes);
    input_.erase(0, bytes);
    Finish(&receive_, static_cast<int64_t>(bytes));
  }
  void TakeSend() {
    if (send_ == nullptr || !reading_) return;
    const size_t room = std::max(slice_bytes_, sent_bytes_ / 64);
    size_t taken = 0;
    for (size_t i = 0; i < message_->msg_iovlen && taken < room; i++) {
      const iovec& part = message_->msg_iov[i];
      const size_t bytes = std::min(part.iov_len, room - taken);
      if (!drops_output_) output_.append(static_cast<const char*>(part.iov_base), bytes);
      taken += bytes;
    }
    sent_bytes_ += taken;
    Finish(&send_, static_cast<int64_t>(taken));
  }
  void Finish(CountedCompletion** done, int64_t result) {
    loop_.Post([completion = std::exchange(*done, nullptr), result] { completion->Run(result); });
  }

  ManualLoop& loop_;
  size_t slice_bytes_;
  size_t sent_bytes_ = 0;
  std::string input_, output_;
  bool ended_ = false, reading_ = true, canceled_ = false, drops_output_ = false;
  void* buffer_ = nullptr;
  size_t buffer_bytes_ = 0;
  CountedCompletion* receive_ = nullptr;
  const msghdr* message_ = nullptr;
  CountedCompletion* send_ = nullptr;
};

}  // namespace varve::nbd
