#include "nbd/reply_queue.h"

#include <algorithm>
#include <cerrno>

namespace varve::nbd {

ReplyQueue::ReplyQueue(EventLoop& loop, Transport& transport, ReplyQueueOwner& owner)
    : loop_(loop),
      transport_(transport),
      owner_(owner),
      send_later_([](Completion* self, Status) { static_cast<Deferred*>(self)->queue->SendNow(); }, this),
      sent_([](CountedCompletion* self, int64_t result) { static_cast<Sent*>(self)->queue->OnSent(result); }, this) {
  message_.msg_iov = parts_.data();
}

void ReplyQueue::Push(Request* request) {
  request->parts_sent = 0;
  request->part_sent_bytes = 0;
  queue_.push_back(request);
  SendLater();
}

void ReplyQueue::Drop() {
  dropped_ = true;
  if (!sending_) GiveBackAll();
}

void ReplyQueue::SendLater() {
  if (sending_ || deferred_) return;
  deferred_ = true;
  loop_.Defer(&send_later_);
}

void ReplyQueue::SendNow() {
  deferred_ = false;
  if (dropped_ || queue_.empty()) return owner_.SendEnded(0);
  message_.msg_iovlen = Gather();
  sending_ = true;
  transport_.Send(&message_, &sent_);
}

size_t ReplyQueue::Gather() {
  size_t count = 0;
  for (const Request* request : queue_) {
    const auto parts = request->reply.parts();
    size_t skipped_bytes = request->part_sent_bytes;
    for (size_t i = request->parts_sent; i < parts.size(); i++) {
      if (count == kPartsMax) return count;
      auto* base = static_cast<std::byte*>(parts[i].iov_base);
      parts_[count++] = {base + skipped_bytes, parts[i].iov_len - skipped_bytes};
      skipped_bytes = 0;
    }
  }
  return count;
}

void ReplyQueue::OnSent(int64_t result) {
  sending_ = false;
  if (result > 0) Advance(static_cast<size_t>(result));
  if (dropped_) GiveBackAll();
  if (!queue_.empty() && result > 0) SendLater();
  // A send of something that took nothing would be tried for ever.
  owner_.SendEnded(result > 0 ? 0 : result < 0 ? static_cast<int>(-result) : EPIPE);
}

void ReplyQueue::Advance(size_t bytes) {
  while (!queue_.empty()) {
    Request* request = queue_.front();
    const auto parts = request->reply.parts();
    while (request->parts_sent < parts.size()) {
      const size_t left = parts[request->parts_sent].iov_len - request->part_sent_bytes;
      const size_t taken = std::min(left, bytes);
      bytes -= taken;
      if (taken < left) {
        request->part_sent_bytes += taken;
        return;
      }
      request->parts_sent++;
      request->part_sent_bytes = 0;
    }
    queue_.pop_front();
    owner_.ReplySent(request);
  }
}

void ReplyQueue::GiveBackAll() {
  while (!queue_.empty()) {
    Request* request = queue_.front();
    queue_.pop_front();
    owner_.ReplySent(request);
  }
}

}  // namespace varve::nbd
