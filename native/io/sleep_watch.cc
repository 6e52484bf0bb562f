#include "io/sleep_watch.h"

#include <sys/resource.h>

namespace varve {

namespace {

long VoluntarySwitches() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

}  // namespace

void SleepWatch::Begin() {
  if (!begin_) begin_ = VoluntarySwitches();
}

bool SleepWatch::Slept() const { return begin_ && VoluntarySwitches() != *begin_; }

}  // namespace varve
