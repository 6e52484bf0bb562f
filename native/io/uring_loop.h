// UringLoop: an event loop on io_uring.
//
// One ring per loop, used by the loop's thread alone. Operations become queue entries as they
// are submitted and reach the kernel in the one system call per turn that also
// waits. Sockets that are ready end inside that call.
//
// Invariants:
//   - An operation has one entry in the kernel at a time. It is given back to the
//     free list before its completion runs.
//   - Entries enter the kernel in the order of submission. CancelSocket() relies
//     on it: an operation that takes over a cancelled one's memory stands behind
//     the cancellation in the queue, out of its reach.
//   - When the queue is full, operations wait in the backlog for the next turn.
//   - A change of a file that waited too long (kEnterKernelMaxNs) is turned into an entry that does nothing, looked at
//     last before the system call that hands it over.
// Thread: the loop's.
#pragma once

#include <liburing.h>

#include <deque>

#include "io/loop_base.h"
#include "io/uring_operation.h"

namespace varve {

class UringLoop final : public LoopBase {
 public:
  // Null with `error` set when the kernel refuses io_uring or lacks a part of it that is needed.
  static std::unique_ptr<UringLoop> Create(std::string* error);
  ~UringLoop() override;

  void Accept(int fd, CountedCompletion* done) override;
  void Receive(int fd, void* buffer, size_t bytes, CountedCompletion* done) override;
  void Send(int fd, const msghdr* message, CountedCompletion* done) override;
  void Poll(int fd, short events, CountedCompletion* done) override;
  void CancelSocket(int fd) override;
  void SyncFile(int fd, Completion* done) override;
  void ZeroFile(int fd, uint64_t offset, uint64_t bytes, bool punch, Completion* done) override;
  const char* backend() const override { return "io_uring"; }

 private:
  using Operation = UringOperation;
  // An entry that changes a file and is not in the kernel yet.
  struct QueuedChange {
    io_uring_sqe* entry;
    uint64_t number;  // of all entries
  };

  explicit UringLoop(const io_uring& ring);

  void BeginThread() override;
  void Wait(std::optional<Clock::duration> limit) override;
  void HandleEvents() override;
  void ReadFileLater(FileTransfer* transfer, Completion* done) override;
  void WriteFileLater(FileTransfer* transfer, Completion* done) override;

  Operation* Take(Operation::Kind kind, int fd);
  void SubmitTransfer(Operation::Kind kind, FileTransfer* transfer, Completion* done);
  void SubmitSocket(Operation* operation);
  void Submit(Operation* operation);
  bool Queue(Operation* operation);
  void QueueBacklog();
  void GiveUpLate();
  void ForgetSubmitted();
  void WatchInbox();

  void End(Operation* operation, int result);
  void EndSocket(Operation* operation, int result);
  void EndTransfer(Operation* operation, int result);
  void EndFile(Operation* operation, Status status);

  io_uring ring_;
  FreeList<Operation> operations_;
  std::vector<Operation*> sockets_;  // socket operations in flight, each knows its place
  std::deque<Operation*> backlog_;
  std::vector<QueuedChange> changes_;  // in order of their numbers
  uint64_t entries_queued_ = 0;
  uint64_t wake_count_ = 0;
};

}  // namespace varve
