// Transport: the bytes of one connection. The seam where TLS goes between a session and its socket.
//
// Contract: as EventLoop's sockets: one Receive and one Send at a time; each completes exactly
// once, on the loop's thread, not inside the call.
#pragma once

#include <sys/socket.h>

#include <cstddef>

#include "io/event_loop.h"
#include "io/unique_fd.h"

namespace varve::nbd {

class Transport {
 public:
  virtual ~Transport() = default;
  // buffer, message: lent until done. result: bytes, 0 = end of stream, or a negative errno.
  virtual void Receive(void* buffer, size_t bytes, CountedCompletion* done) = 0;
  virtual void Send(const msghdr* message, CountedCompletion* done) = 0;
  // Ends what is pending early; nothing may be started afterwards.
  virtual void Cancel() = 0;
  // Goes on on another loop. Nothing is pending; called on neither or the old loop's thread.
  virtual void MoveTo(EventLoop& loop) = 0;
  // The peer will send nothing more than what is already on its way to us.
  virtual bool PeerEnded() const = 0;
  // The descriptor, for another process to go on with; none when it would not be enough. Nothing is pending, and this is at its end.
  virtual UniqueFd TakeDescriptor() = 0;
};

}  // namespace varve::nbd
