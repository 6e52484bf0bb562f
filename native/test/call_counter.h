// CallCounter: counts what one thread asks the kernel for, and how often it allocates.
//
// System calls are caught by syscall user dispatch (Linux 5.11): the kernel hands each one to a signal handler on the same thread, which
// counts it and carries it out. Nobody stops or waits, unlike under strace, whose every stop looks to the data plane like a
// disk that holds a write up. Futexes are left out: whether a thread has to wait for another's lock is chance.
// Allocations are counted by operator new, which this replaces in the whole program. With a sanitizer in it, which does both itself, nothing is counted.
// Thread: Begin and End on the thread that is counted; one thread of a process at a time.
#pragma once

#include <cstdint>

namespace varve {

struct CallCounts {
  uint64_t system_calls = 0;
  uint64_t allocations = 0;
};

class CallCounter {
 public:
  // An errno where the kernel or the processor is one that cannot.
  static int Begin();
  // What this thread has done so far.
  static CallCounts counts();
  static void End();
};

}  // namespace varve
