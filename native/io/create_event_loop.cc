// CreateEventLoop: which implementation runs on this kernel.
#include "io/epoll_loop.h"
#include "io/simulated_loop.h"
#include "io/uring_loop.h"

namespace varve {

std::unique_ptr<EventLoop> CreateEventLoop(LoopBackend backend, std::string* error) {
  if (backend == LoopBackend::kSimulated) return std::make_unique<SimulatedLoop>();
  if (backend != LoopBackend::kEpoll) {
    std::unique_ptr<EventLoop> loop = UringLoop::Create(error);
    if (loop || backend == LoopBackend::kUring) return loop;
  }
  return EpollLoop::Create(error);
}

}  // namespace varve
