// NfsOperation: one read, write, sync or measurement of an NFS disk from its submission to the last answer that concerns it.
//
// It may end (its completion runs) before the server has answered: the rest of it stays as long as the server may still perform it.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <vector>

#include "io/event_loop.h"
#include "io/range_locks.h"

namespace varve {

struct NfsOperation;

// What a writer keeps others from; without an operation it is NfsSync's, of all of the disk.
struct NfsRange : RangeLocks::Lock {
  NfsOperation* operation = nullptr;
};

struct NfsOperation {
  enum class Kind : uint8_t { kRead, kWrite, kSync, kMeasure };
  // Content that a server which restarted may have forgotten, to be laid over what it answers.
  struct Patch {
    uint64_t offset;
    std::vector<std::byte> content;
  };

  Kind kind;
  EventLoop* loop;  // where it was submitted
  Completion* done;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  const iovec* iov = nullptr;  // lent until it ends
  int count = 0;
  uint64_t* measured = nullptr;  // of a measurement; lent until it ends

  std::chrono::steady_clock::time_point deadline{};
  std::list<NfsOperation*>::iterator place{};  // among those that have not ended
  Status status{};       // the first error of its parts
  unsigned pending = 0;  // parts the server has not answered, and places where it waits
  bool ended = false;
  NfsRange range{};       // of a write
  std::vector<Patch> patches{};
};

// Copies between a piece of a transfer, `at` bytes from its beginning, and contiguous memory.
void CopyIn(const NfsOperation& operation, uint64_t at, const std::byte* from, uint64_t bytes);
void CopyOut(const NfsOperation& operation, uint64_t at, std::byte* to, uint64_t bytes);
void ZeroIn(const NfsOperation& operation, uint64_t at, uint64_t bytes);
// The piece in place, when it lies in one of the operation's buffers; null otherwise.
const std::byte* InOnePiece(const NfsOperation& operation, uint64_t at, uint64_t bytes);

}  // namespace varve
