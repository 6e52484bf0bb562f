#include "io/timer_heap.h"

namespace varve {

void TimerHeap::Set(Timer* timer, Clock::time_point due) {
  Cancel(timer);
  entries_.emplace_back();
  Put(entries_.size() - 1, Entry{due, next_sequence_++, timer});
  SiftUp(entries_.size() - 1);
}

void TimerHeap::Cancel(Timer* timer) {
  if (timer->id == 0) return;
  size_t place = timer->id - 1;
  timer->id = 0;
  Entry last = entries_.back();
  entries_.pop_back();
  if (place == entries_.size()) return;
  Put(place, last);
  SiftUp(place);
  SiftDown(last.timer->id - 1);
}

void TimerHeap::RunDue(Clock::time_point now) {
  while (!empty() && next_due() <= now) {
    Timer* timer = entries_.front().timer;
    Cancel(timer);
    timer->Run();
  }
}

void TimerHeap::Put(size_t place, const Entry& entry) {
  entries_[place] = entry;
  entry.timer->id = place + 1;
}

void TimerHeap::SiftUp(size_t place) {
  Entry entry = entries_[place];
  while (place > 0 && entry.Before(entries_[(place - 1) / 2])) {
    Put(place, entries_[(place - 1) / 2]);
    place = (place - 1) / 2;
  }
  Put(place, entry);
}

void TimerHeap::SiftDown(size_t place) {
  Entry entry = entries_[place];
  for (size_t child; (child = 2 * place + 1) < entries_.size(); place = child) {
    if (child + 1 < entries_.size() && entries_[child + 1].Before(entries_[child])) ++child;
    if (!entries_[child].Before(entry)) break;
    Put(place, entries_[child]);
  }
  Put(place, entry);
}

}  // namespace varve
