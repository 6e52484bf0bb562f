// ReplyQueue: replies on their way out, gathered into as few sends as possible.
//
// Replies pushed in one turn of the loop leave in one sendmsg at its end; those pushed while a send is in flight leave
// in the next. Messages are never interleaved.
// Invariant: a request stays in the queue until its last byte was handed to the kernel, or the queue was dropped and
//   no send refers to it any more; then it goes back to the owner.
// Thread: its loop's.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "io/completion.h"
#include "io/event_loop.h"
#include "nbd/request.h"
#include "nbd/transport.h"

namespace varve::nbd {

class ReplyQueueOwner {
 public:
  virtual void ReplySent(Request* request) = 0;  // or dropped
  // After a round of ReplySent. error: 0, or the errno that ended the stream.
  virtual void SendEnded(int error) = 0;

 protected:
  ~ReplyQueueOwner() = default;
};

class ReplyQueue {
 public:
  ReplyQueue(EventLoop& loop, Transport& transport, ReplyQueueOwner& owner);

  // request->reply is complete.
  void Push(Request* request);
  // Gives every request back, at once or when the send in flight has ended. Nothing is sent any more.
  void Drop();

  bool sending() const { return sending_; }
  // True when the owner may be destroyed.
  bool idle() const { return !sending_ && !deferred_ && queue_.empty(); }

 private:
  // One sendmsg takes at most 1024 (IOV_MAX); a reply to a READ is two parts.
  static constexpr size_t kPartsMax = 256;

  struct Deferred : Completion {
    Deferred(Fn fn, ReplyQueue* queue_in) : Completion(fn), queue(queue_in) {}
    ReplyQueue* queue;
  };
  struct Sent : CountedCompletion {
    Sent(Fn fn, ReplyQueue* queue_in) : CountedCompletion(fn), queue(queue_in) {}
    ReplyQueue* queue;
  };

  void SendLater();
  void SendNow();
  size_t Gather();
  void OnSent(int64_t result);
  void Advance(size_t bytes);
  void GiveBackAll();

  EventLoop& loop_;
  Transport& transport_;
  ReplyQueueOwner& owner_;
  std::deque<Request*> queue_;
  std::array<iovec, kPartsMax> parts_;
  msghdr message_{};
  bool deferred_ = false;
  bool sending_ = false;
  bool dropped_ = false;
  Deferred send_later_;
  Sent sent_;
};

}  // namespace varve::nbd
