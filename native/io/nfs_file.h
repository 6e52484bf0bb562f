// NfsFile: the operations of an NFS disk, on the loop it lives on.
//
// Guarantees:
//   - Each operation ends once, within 10 s: with the server's answer, or with ETIMEDOUT, ECONNRESET or the reason why the
//     server cannot be reached; it may be submitted again then, and that dials again.
//   - Of writes to overlapping ranges one is with the server at a time; one that ended without an answer keeps its range until
//     the server has answered it or the connection is gone, so that it never comes after a newer one.
//   - Reads see every write that was answered, also when the server has restarted and forgotten it.
//   - A connection on which nothing was answered for a minute is given up.
// Thread: the loop's.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "io/nfs_link.h"
#include "io/nfs_operation.h"
#include "io/nfs_sync.h"
#include "io/range_locks.h"

namespace varve {

class NfsFile {
 public:
  NfsFile(const NfsLibrary& library, EventLoop& loop, NfsAddress address);
  ~NfsFile();

  // Reaches the file for the first time.
  void Open(std::function<void(Status)> opened);
  // Takes the operation over. Its completion never runs inside the call.
  void Submit(std::unique_ptr<NfsOperation> operation);

  EventLoop& loop() { return loop_; }
  uint64_t size_bytes() const { return link_.size_bytes(); }
  std::string identity() const { return link_.identity(); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Part;
  struct WatchTimer : Timer {
    explicit WatchTimer(NfsFile* owner) : Timer(OnDue), file(owner) {}
    static void OnDue(Timer* self) { static_cast<WatchTimer*>(self)->file->Watch(); }
    NfsFile* file;
  };

  void OnUp();
  void OnDown(Status status);
  void Run(NfsOperation* operation);
  void Send(NfsOperation* operation);
  void SendPart(NfsOperation* operation, uint64_t offset, uint64_t bytes);
  bool Ask(Part* part);
  void OnAnswer(Part* part, const NfsReply& reply);
  Status Take(const Part& part, const NfsReply& reply);
  Status TakeRead(const Part& part, const NfsReply& reply);
  Status TakeMeasured(const Part& part, const NfsReply& reply);
  Status TakeWritten(const Part& part, const NfsReply& reply);
  // One of the things the operation waited for is over.
  void Less(NfsOperation* operation);
  void Finish(NfsOperation* operation);
  void End(NfsOperation* operation, Status status);
  void Release(NfsRange* range);
  void Watch();

  EventLoop& loop_;
  NfsLink link_;
  RangeLocks locks_;
  NfsSync sync_;
  std::function<void(Status)> opened_;
  std::list<NfsOperation*> unended_;  // oldest first
  std::vector<NfsOperation*> queue_;  // wait for the link
  uint64_t unanswered_ = 0, unanswered_writes_ = 0;
  Clock::time_point last_answer_{};
  WatchTimer watch_{this};
};

}  // namespace varve
