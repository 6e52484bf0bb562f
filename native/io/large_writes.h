// LargeWrites: buffered writes that are too long for the loop's thread, each done in pieces (file_transfer.h) by a helper.
//
//   Start() ─▶ lane of the file ─▶ on a helper, one after the other ─▶ done, on the loop
//
// One at a time: filesystems let one writer into a file, and more would only get in each other's way. Lanes take turns at the helpers.
// Guarantees:
//   - Writes to one file end in the order in which they came.
//   - One that has waited for half of EventLoop::kEnterKernelMaxNs is not begun, nor are those behind it, and no piece is handed over later
//     than kEnterKernelMaxNs behind the write's submission: ETIME (event_loop.h). They may be submitted again.
//   - So that they come to an end, a file for which half of it is too short is written to in one call per write for a while.
// Thread: Start() the loop's.
#pragma once

#include <deque>
#include <map>
#include <mutex>

#include "io/completion.h"
#include "io/file_transfer.h"
#include "io/free_list.h"
#include "io/helper_threads.h"
#include "io/inbox.h"

namespace varve {

class LargeWrites {
 public:
  // Both outlive the last write; the helpers end before this does.
  LargeWrites(HelperThreads& helpers, Inbox& inbox) : helpers_(helpers), inbox_(inbox) {}

  // submitted_ns: of CLOCK_BOOTTIME. The transfer's content is taken over (swapped).
  void Start(FileTransfer* transfer, uint64_t submitted_ns, Completion* done);

 private:
  struct Write {
    FileTransfer transfer;
    uint64_t submitted_ns;
    Status status;
    Completion* done;
  };
  struct Lane {
    std::mutex mutex;
    std::deque<Write*> waiting;
    bool running = false;         // a helper has it, or will
    uint64_t whole_until_ns = 0;  // that helper's
  };

  // One write, or the refusal of all that wait.
  void Work(Lane* lane);
  static Write* First(Lane* lane);
  void RefuseAll(Lane* lane);
  static Status Perform(Lane* lane, Write* write);
  void Post(Write* write, Status status);
  void End(Write* write);

  HelperThreads& helpers_;
  Inbox& inbox_;
  FreeList<Write> writes_;
  std::map<int, Lane> lanes_;  // of every file that was written to so
};

}  // namespace varve
