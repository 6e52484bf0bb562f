#include "io/uring_loop.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/boot_clock.h"

namespace varve {

using Kind = UringOperation::Kind;

UringLoop::UringLoop(const io_uring& ring) : ring_(ring) {}

UringLoop::~UringLoop() { io_uring_queue_exit(&ring_); }

// The ring was created disabled: the thread that enables it is its one issuer.
void UringLoop::BeginThread() {
  io_uring_enable_rings(&ring_);
  WatchInbox();
}

void UringLoop::WatchInbox() {
  Operation* watch = Take(Kind::kWatchInbox, inbox().wake_fd());
  watch->buffer = &wake_count_;
  Submit(watch);
}

// ---- submitting

UringLoop::Operation* UringLoop::Take(Kind kind, int fd) {
  Operation* operation = operations_.Take();
  operation->kind = kind;
  operation->fd = fd;
  operation->polling = false;
  operation->cancelling = false;
  operation->submitted_ns = turn_started_ns;
  operation->late = false;
  return operation;
}

void UringLoop::Submit(Operation* operation) {
  if (!backlog_.empty() || !Queue(operation)) backlog_.push_back(operation);
}

bool UringLoop::Queue(Operation* operation) {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (!sqe) return false;
  operation->Prepare(sqe);
  io_uring_sqe_set_data(sqe, operation);
  entries_queued_++;
  if (operation->changes_file()) changes_.push_back({sqe, entries_queued_});
  return true;
}

// Whatever the thread was stopped for since they were submitted, it is known here, one system call before they are on their way.
void UringLoop::GiveUpLate() {
  if (changes_.empty()) return;
  uint64_t now = BootNanoseconds();
  for (const QueuedChange& change : changes_) {
    auto* operation = reinterpret_cast<Operation*>(change.entry->user_data);
    if (now - operation->submitted_ns <= kEnterKernelMaxNs) continue;
    operation->late = true;
    io_uring_prep_nop(change.entry);
    io_uring_sqe_set_data(change.entry, operation);
  }
}

// The kernel takes entries in order, and may leave some for the next turn.
void UringLoop::ForgetSubmitted() {
  uint64_t submitted = entries_queued_ - io_uring_sq_ready(&ring_);
  auto left = std::find_if(changes_.begin(), changes_.end(),
                           [submitted](const QueuedChange& change) { return change.number > submitted; });
  changes_.erase(changes_.begin(), left);
}

void UringLoop::QueueBacklog() {
  while (!backlog_.empty() && Queue(backlog_.front())) backlog_.pop_front();
}

void UringLoop::SubmitSocket(Operation* operation) {
  operation->place = sockets_.size();
  sockets_.push_back(operation);
  Submit(operation);
}

void UringLoop::Accept(int fd, CountedCompletion* done) {
  Operation* accept = Take(Kind::kAccept, fd);
  accept->counted = done;
  SubmitSocket(accept);
}

void UringLoop::Receive(int fd, void* buffer, size_t bytes, CountedCompletion* done) {
  Operation* receive = Take(Kind::kReceive, fd);
  receive->buffer = buffer;
  receive->bytes = bytes;
  receive->counted = done;
  SubmitSocket(receive);
}

void UringLoop::Send(int fd, const msghdr* message, CountedCompletion* done) {
  Operation* send = Take(Kind::kSend, fd);
  send->message = message;
  send->counted = done;
  SubmitSocket(send);
}

void UringLoop::Poll(int fd, short events, CountedCompletion* done) {
  Operation* poll = Take(Kind::kPoll, fd);
  poll->poll_events = events;
  poll->counted = done;
  SubmitSocket(poll);
}

void UringLoop::CancelSocket(int fd) {
  for (Operation* target : sockets_) {
    if (target->fd != fd) continue;
    target->cancelling = true;
    Operation* cancel = Take(Kind::kCancel, fd);
    cancel->cancelled = target;
    Submit(cancel);
  }
}

void UringLoop::ReadFileLater(FileTransfer* transfer, Completion* done) {
  SubmitTransfer(Kind::kRead, transfer, done);
}

void UringLoop::WriteFileLater(FileTransfer* transfer, Completion* done) {
  SubmitTransfer(Kind::kWrite, transfer, done);
}

void UringLoop::SubmitTransfer(Kind kind, FileTransfer* transfer, Completion* done) {
  Operation* operation = Take(kind, transfer->fd());
  operation->done = done;
  std::swap(operation->transfer, *transfer);
  Submit(operation);
}

void UringLoop::SyncFile(int fd, Completion* done) {
  Operation* sync = Take(Kind::kSync, fd);
  sync->done = done;
  Submit(sync);
}

void UringLoop::ZeroFile(int fd, uint64_t offset, uint64_t bytes, bool punch, Completion* done) {
  Operation* zero = Take(Kind::kZero, fd);
  zero->done = done;
  zero->zero_offset = offset;
  zero->zero_bytes = bytes;
  zero->zero_punch = punch;
  Submit(zero);
}

// ---- waiting

// Interruptions, time-outs and a kernel short of memory all mean "try in the next turn".
void UringLoop::Wait(std::optional<Clock::duration> limit) {
  GiveUpLate();
  bool sleep = backlog_.empty() && limit != Clock::duration::zero();
  if (!sleep) {
    io_uring_submit_and_get_events(&ring_);
  } else if (!limit) {
    io_uring_submit_and_wait(&ring_, 1);
  } else {
    auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(*limit).count();
    __kernel_timespec until{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
    io_uring_cqe* first;
    io_uring_submit_and_wait_timeout(&ring_, &first, 1, &until, nullptr);
  }
  ForgetSubmitted();
  QueueBacklog();
}

// ---- completing

void UringLoop::HandleEvents() {
  unsigned head, handled = 0;
  io_uring_cqe* cqe;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    ++handled;
    End(static_cast<Operation*>(io_uring_cqe_get_data(cqe)), cqe->res);
  }
  io_uring_cq_advance(&ring_, handled);
}

void UringLoop::End(Operation* operation, int result) {
  switch (operation->kind) {
    case Kind::kWatchInbox:
      operations_.Give(operation);
      return WatchInbox();
    case Kind::kCancel:
      return operations_.Give(operation);
    case Kind::kAccept:
    case Kind::kReceive:
    case Kind::kSend:
    case Kind::kPoll:
      return EndSocket(operation, result);
    case Kind::kRead:
    case Kind::kWrite:
      return EndTransfer(operation, result);
    case Kind::kSync:
    case Kind::kZero:
      if (operation->late) return EndFile(operation, Status(ETIME, "held up"));
      if (result == -EINTR) return Submit(operation);
      return EndFile(operation, result < 0 ? Status(-result, operation->name()) : Status::Ok());
  }
}

// A socket in non-blocking mode may answer EAGAIN instead of waiting inside the kernel.
void UringLoop::EndSocket(Operation* operation, int result) {
  bool became_ready = operation->polling && result >= 0;
  operation->polling = result == -EAGAIN;
  if (became_ready || operation->polling || result == -EINTR) {
    if (!operation->cancelling) return Submit(operation);
    result = -ECANCELED;
  }

  sockets_.back()->place = operation->place;
  sockets_[operation->place] = sockets_.back();
  sockets_.pop_back();
  CountedCompletion* done = operation->counted;
  operations_.Give(operation);
  done->Run(result);
}

void UringLoop::EndTransfer(Operation* operation, int result) {
  FileTransfer& transfer = operation->transfer;
  if (operation->late) return EndFile(operation, Status(ETIME, "held up"));
  if (result == -EINTR || result == -EAGAIN) return Submit(operation);
  if (result < 0) return EndFile(operation, Status(-result, operation->name()));
  if (result == 0 && !transfer.done()) return EndFile(operation, PastTheEnd());
  transfer.Advance(static_cast<uint64_t>(result));

  if (!transfer.done()) return Submit(operation);
  EndFile(operation, Status::Ok());
}

void UringLoop::EndFile(Operation* operation, Status status) {
  Completion* done = operation->done;
  operations_.Give(operation);
  done->Run(status);
}

// ---- creating

namespace {

// Enough for the pipelines of a few dozen connections; more waits in the backlog.
constexpr unsigned kEntries = 512;
constexpr unsigned kCompletionEntries = 8 * kEntries;

constexpr uint8_t kNeeded[] = {
    IORING_OP_ACCEPT, IORING_OP_RECV,  IORING_OP_SEND,      IORING_OP_SENDMSG,   IORING_OP_READ,
    IORING_OP_READV,  IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_WRITEV,
    IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
};

// Newest first: completions handled only when the loop asks (6.1), fewer interrupts (5.19), plain.
constexpr unsigned kFlagChoices[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    0,
};

int OpenRing(io_uring* ring) {
  int result = -EINVAL;
  for (unsigned flags : kFlagChoices) {
    io_uring_params params{};
    params.flags = flags | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    params.cq_entries = kCompletionEntries;
    result = io_uring_queue_init_params(kEntries, ring, &params);
    if (result != -EINVAL) return result;
  }
  return result;
}

bool HasNeeded(io_uring* ring) {
  constexpr unsigned kFeatures = IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;
  if ((ring->features & kFeatures) != kFeatures) return false;
  io_uring_probe* probe = io_uring_get_probe_ring(ring);
  bool all = probe != nullptr;
  for (uint8_t code : kNeeded) all = all && io_uring_opcode_supported(probe, code);
  io_uring_free_probe(probe);
  return all;
}

}  // namespace

std::unique_ptr<UringLoop> UringLoop::Create(std::string* error) {
  io_uring ring{};
  int result = OpenRing(&ring);
  if (result < 0) {
    *error = std::string("the kernel refuses io_uring: ") + strerror(-result);
    return nullptr;
  }
  if (!HasNeeded(&ring)) {
    io_uring_queue_exit(&ring);
    *error = "the kernel's io_uring is too old (5.11 or newer is needed)";
    return nullptr;
  }
  return std::unique_ptr<UringLoop>(new UringLoop(ring));
}

}  // namespace varve
