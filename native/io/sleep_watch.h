// SleepWatch: tells a call that waited from one that was merely preempted.
//
// On a busy machine a thread loses its processor for milliseconds in the middle of
// anything; that says nothing about the disk it was writing to. The kernel
// counts the times a thread gave its processor up to wait.
// Thread: its owner's, which it watches.
#pragma once

#include <optional>

namespace varve {

class SleepWatch {
 public:
  // Called before what is to be watched; costs a system call, once per turn.
  void Begin();
  // True when the thread has waited for something since Begin().
  bool Slept() const;
  // Forgets the beginning: the thread is about to wait of its own accord.
  void End() { begin_.reset(); }

 private:
  std::optional<long> begin_;  // voluntary context switches
};

}  // namespace varve
