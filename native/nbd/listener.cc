#include "nbd/listener.h"

#include <cerrno>
#include <chrono>
#include <utility>

namespace varve::nbd {
namespace {

// Out of descriptors or memory: trying again at once would only burn the processor.
constexpr std::chrono::milliseconds kPauseAfterError{100};

}  // namespace

Listener::Listener(EventLoop& loop, ListenSocket socket, std::function<void(UniqueFd)> accepted)
    : loop_(loop),
      socket_(std::move(socket)),
      on_accepted_(std::move(accepted)),
      accepted_(
          [](CountedCompletion* self, int64_t result) { static_cast<Accepted*>(self)->listener->OnAccepted(result); },
          this),
      pause_([](Timer* self) { static_cast<Pause*>(self)->listener->Accept(); }, this) {}

void Listener::Accept() {
  accepting_ = true;
  loop_.Accept(socket_.fd.get(), &accepted_);
}

void Listener::OnAccepted(int64_t result) {
  accepting_ = false;
  UniqueFd fd(result >= 0 ? static_cast<int>(result) : -1);
  if (finish_) return std::exchange(finish_, {})();
  if (fd.valid()) {
    PrepareClientSocket(fd.get());
    on_accepted_(std::move(fd));
  } else if (result != -ECONNABORTED) {
    return loop_.SetTimer(&pause_, kPauseAfterError);
  }
  Accept();
}

// `closed` and `parked` may destroy this.
void Listener::Close(std::function<void()> closed) {
  finish_ = [this, closed = std::move(closed)] {
    RemovePath(socket_);
    socket_.fd = UniqueFd();
    closed();
  };
  Stop();
}

void Listener::Park(std::function<void(ListenSocket)> parked) {
  finish_ = [this, parked = std::move(parked)] { parked(std::move(socket_)); };
  Stop();
}

void Listener::Stop() {
  loop_.CancelTimer(&pause_);
  if (accepting_) return loop_.CancelSocket(socket_.fd.get());
  std::exchange(finish_, {})();
}

}  // namespace varve::nbd
