#include "io/epoll_loop.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <utility>

#include "base/boot_clock.h"

namespace varve {

using std::chrono::milliseconds;

EpollLoop::EpollLoop(UniqueFd epoll) : epoll_(std::move(epoll)) {}

std::unique_ptr<EpollLoop> EpollLoop::Create(std::string* error) {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  std::unique_ptr<EpollLoop> loop(new EpollLoop(std::move(epoll)));
  epoll_event event{EPOLLIN, {.fd = loop->inbox().wake_fd()}};
  if (epoll_ctl(loop->epoll_.get(), EPOLL_CTL_ADD, event.data.fd, &event) == 0) return loop;
  *error = std::string("the kernel refuses epoll: ") + strerror(errno);
  return nullptr;
}

// ---- waiting

void EpollLoop::Wait(std::optional<Clock::duration> limit) {
  // Rounded up: waking before a timer is due would only turn in place.
  int64_t timeout = limit ? std::chrono::ceil<milliseconds>(*limit).count() : -1;
  epoll_event events[64];
  int count = epoll_wait(epoll_.get(), events, std::size(events),
                         static_cast<int>(std::min<int64_t>(timeout, INT_MAX)));
  for (int i = 0; i < count; ++i) fired_.push_back(events[i].data.fd);
}

void EpollLoop::HandleEvents() {
  for (int fd : fired_) {
    if (fd == inbox().wake_fd()) inbox().ClearWake();
    else TryWaiting(fd);
  }
  fired_.clear();
}

// ---- sockets

void EpollLoop::Accept(int fd, CountedCompletion* done) {
  // A connection that vanishes between the event and accept4 must not block the loop.
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  Start({Kind::kAccept, fd, nullptr, 0, nullptr, 0, done});
}

void EpollLoop::Receive(int fd, void* buffer, size_t bytes, CountedCompletion* done) {
  Start({Kind::kReceive, fd, buffer, bytes, nullptr, 0, done});
}

void EpollLoop::Send(int fd, const msghdr* message, CountedCompletion* done) {
  Start({Kind::kSend, fd, nullptr, 0, message, 0, done});
}

void EpollLoop::Poll(int fd, short events, CountedCompletion* done) {
  Start({Kind::kPoll, fd, nullptr, 0, nullptr, events, done});
}

void EpollLoop::CancelSocket(int fd) {
  auto found = watches_.find(fd);
  if (found == watches_.end()) return;
  for (const SocketOperation& operation : found->second) CompleteCounted(operation.done, -ECANCELED);
  watches_.erase(found);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void EpollLoop::Start(const SocketOperation& operation) {
  int64_t result = Try(operation);
  if (result != -EAGAIN) return CompleteCounted(operation.done, result);
  Waiting& waiting = watches_[operation.fd];
  waiting.push_back(operation);
  Watch(operation.fd, waiting);
}

int64_t EpollLoop::Try(const SocketOperation& operation) {
  int64_t result;
  do result = Call(operation);
  while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : result;
}

int64_t EpollLoop::Call(const SocketOperation& operation) {
  switch (operation.kind) {
    case Kind::kAccept:
      return accept4(operation.fd, nullptr, nullptr, SOCK_CLOEXEC);
    case Kind::kReceive:
      return recv(operation.fd, operation.buffer, operation.bytes, MSG_DONTWAIT);
    case Kind::kPoll:
      return PollNow(operation.fd, operation.events);
    case Kind::kSend:
      break;
  }
  return sendmsg(operation.fd, operation.message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int64_t EpollLoop::PollNow(int fd, short events) {
  pollfd entry{fd, events, 0};
  int ready = poll(&entry, 1, 0);
  if (ready < 0) return ready;
  if (ready > 0 && !(entry.revents & POLLNVAL)) return entry.revents;
  errno = ready == 0 ? EAGAIN : EBADF;
  return -1;
}

// What an operation waits for; epoll's events are poll's.
uint32_t EpollLoop::Awaited(const SocketOperation& operation) {
  if (operation.kind == Kind::kPoll) return static_cast<uint32_t>(operation.events);
  return operation.kind == Kind::kSend ? EPOLLOUT : EPOLLIN;
}

void EpollLoop::Watch(int fd, const Waiting& waiting) {
  epoll_event event{EPOLLONESHOT, {.fd = fd}};
  for (const SocketOperation& operation : waiting) event.events |= Awaited(operation);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void EpollLoop::TryWaiting(int fd) {
  auto found = watches_.find(fd);
  if (found == watches_.end()) return;  // cancelled in this turn
  std::erase_if(found->second, [this](const SocketOperation& operation) {
    int64_t result = Try(operation);
    if (result == -EAGAIN) return false;
    CompleteCounted(operation.done, result);
    return true;
  });
  if (found->second.empty()) watches_.erase(found);
  else Watch(fd, found->second);
}

// ---- files

EpollLoop::FileOperation* EpollLoop::TakeFile(FileOperation::Kind kind, int fd, Completion* done) {
  FileOperation* operation = file_operations_.Take();
  operation->kind = kind;
  operation->fd = fd;
  operation->submitted_ns = turn_started_ns;
  operation->done = done;
  return operation;
}

void EpollLoop::ReadFileLater(FileTransfer* transfer, Completion* done) {
  FileOperation* read = TakeFile(FileOperation::Kind::kRead, transfer->fd(), done);
  std::swap(read->transfer, *transfer);
  RunOnHelper(read);
}

void EpollLoop::WriteFileLater(FileTransfer* transfer, Completion* done) {
  FileOperation* write = TakeFile(FileOperation::Kind::kWrite, transfer->fd(), done);
  std::swap(write->transfer, *transfer);
  RunOnHelper(write);
}

void EpollLoop::SyncFile(int fd, Completion* done) {
  RunOnHelper(TakeFile(FileOperation::Kind::kSync, fd, done));
}

void EpollLoop::ZeroFile(int fd, uint64_t offset, uint64_t bytes, bool punch, Completion* done) {
  FileOperation* zero = TakeFile(FileOperation::Kind::kZero, fd, done);
  zero->offset = offset;
  zero->bytes = bytes;
  zero->punch = punch;
  RunOnHelper(zero);
}

void EpollLoop::RunOnHelper(FileOperation* operation) {
  helpers().Run([this, operation] {
    operation->status = Perform(operation);
    inbox().Post([this, operation] { EndFile(operation); });
  });
}

Status EpollLoop::Perform(FileOperation* operation) {
  const bool changes = operation->kind == FileOperation::Kind::kWrite || operation->kind == FileOperation::Kind::kZero;
  if (changes && BootNanoseconds() - operation->submitted_ns > kEnterKernelMaxNs) return Status(ETIME, "held up");
  switch (operation->kind) {
    case FileOperation::Kind::kRead:
      return FinishRead(&operation->transfer);
    case FileOperation::Kind::kWrite:
      return FinishWrite(&operation->transfer, operation->submitted_ns);
    case FileOperation::Kind::kSync:
      return SyncData(operation->fd);
    case FileOperation::Kind::kZero:
      return ZeroRange(operation->fd, operation->offset, operation->bytes, operation->punch);
  }
  return Status::Ok();
}

void EpollLoop::EndFile(FileOperation* operation) {
  Completion* done = operation->done;
  Status status = operation->status;
  file_operations_.Give(operation);
  done->Run(status);
}

}  // namespace varve
