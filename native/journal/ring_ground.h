// RingGround: sees to it that a replica's records fall where the disk has been written before.
//
//   ... records | the step under way | filled with zeroes where it was a hole |  holes, not looked at yet
//                                                                             known
//
// The ring of a sparse file begins as a hole. To sync a write into a hole takes the file system a commit of its own journal, once more
// what the record itself takes, and every flush would wait for it. So the step that comes to the end of what is known has the next
// stretch filled, and one sync covers both.
//
// Guarantees:
//   - Zeroes are written only where no record is, whatever the disk takes for a hole.
//   - It is an effort: when it fails nothing is lost but time.
// Thread: the loop's.
// Elsewhere: the steps (ring_writer.h).
#pragma once

#include <cstdint>
#include <map>

#include "io/disk.h"
#include "io/event_loop.h"

namespace varve {

class RingGround {
 public:
  // Of 64 small records: rare enough, and short enough to be written beside one.
  static constexpr uint64_t kStretchBytes = uint64_t{256} << 10;

  // Where one replica's ring lies.
  struct Place {
    unsigned number;
    Disk* disk;
    uint64_t offset;
  };

  void Open(EventLoop* loop, uint64_t ring_bytes) { loop_ = loop, ring_bytes_ = ring_bytes; }

  // Whether the ring is known to be written up to position `end`.
  bool Knows(unsigned number, uint64_t end) const;
  // Looks at the ring from position `end` on, where nothing is before `free_until`, and fills holes. `done`, ok always, runs on the loop.
  // Nothing else is done to the ring meanwhile.
  void Prepare(const Place& place, uint64_t end, uint64_t free_until, Completion* done);
  // The disk's ring may be another one from now on.
  void Forget(unsigned number) { known_.erase(number); }
  // Nothing more is submitted.
  void GiveUp() { given_up_ = true; }

 private:
  struct Known {
    uint64_t from;     // positions [from, through) have been looked at
    uint64_t through;
  };
  struct Filling;

  void Note(unsigned number, uint64_t from, uint64_t through);

  EventLoop* loop_ = nullptr;
  uint64_t ring_bytes_ = 0;
  std::map<unsigned, Known> known_;  // by disk
  bool given_up_ = false;
};

}  // namespace varve
