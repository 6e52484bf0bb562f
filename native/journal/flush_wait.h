// FlushWait: a flush in waiting, embedded in the request. `done` runs on `loop`.
#pragma once

#include <cstdint>

#include "io/completion.h"
#include "io/event_loop.h"
#include "journal/disk_rounds.h"

namespace varve {

struct FlushWait {
  uint64_t round = 0;
  EventLoop* loop = nullptr;
  Completion* done = nullptr;
  // What the flush is about; null: everything. Outlives the wait.
  const DiskRounds* changed = nullptr;
};

}  // namespace varve
