#include "journal/ring_ground.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "io/zero_writer.h"

namespace varve {

// One stretch on its way: searched, then its holes one after the other.
struct RingGround::Filling : Completion {
  Filling(RingGround* of, const Place& place, uint64_t from, Completion* done)
      : Completion(&OnStep), ground(of), place(place), from(from), done(done) {}

  static void OnStep(Completion* self, Status status) {
    std::unique_ptr<Filling> filling(static_cast<Filling*>(self));
    if (!filling->searched) filling->Searched();
    if (status.ok() && !filling->ground->given_up_ && filling->FillNext()) return void(filling.release());
    if (status.ok()) filling->ground->Note(filling->place.number, filling->from, filling->from + filling->search.bytes);
    filling->done->Run(Status::Ok());
  }

  void Searched() {
    searched = true;
    at = search.offset;
  }

  // Submits the next hole; false: there is none.
  bool FillNext() {
    const uint64_t end = search.offset + search.bytes;
    while (at < end) {
      const uint64_t hole = at;
      const bool last = run == search.runs.size();
      const uint64_t hole_end = last ? end : search.runs[run].offset;
      at = last ? end : search.runs[run].offset + search.runs[run].bytes;
      run++;
      if (hole == hole_end) continue;
      Disk* disk = place.disk;
      EventLoop* loop = ground->loop_;
      auto write = [disk, loop](uint64_t offset, const iovec* zeroes, int count, Completion* written) {
        disk->Write(*loop, offset, zeroes, count, written);
      };
      ZeroWriter::Run(*loop, write, hole, hole_end - hole, this);
      return true;
    }
    return false;
  }

  RingGround* const ground;
  const Place place;
  const uint64_t from;  // ring position
  Completion* const done;
  DataSearch search{};
  bool searched = false;
  uint64_t at = 0;  // behind what is known to be written
  size_t run = 0;
};

bool RingGround::Knows(unsigned number, uint64_t end) const {
  const auto found = known_.find(number);
  if (found == known_.end()) return false;
  const Known& known = found->second;
  // Once round it is: what was written stays written.
  return known.through >= end || known.through - known.from >= ring_bytes_;
}

void RingGround::Prepare(const Place& place, uint64_t end, uint64_t free_until, Completion* done) {
  const uint64_t at = end % ring_bytes_;
  const uint64_t bytes = std::min({kStretchBytes, free_until - end, ring_bytes_ - at});
  if (bytes == 0) return loop_->Complete(done, Status::Ok());
  auto* filling = new Filling(this, place, end, done);
  filling->search.offset = place.offset + at;
  filling->search.bytes = bytes;
  place.disk->FindData(*loop_, &filling->search, filling);
}

// Steps follow one another, so that what lies between two stretches has been written by records.
void RingGround::Note(unsigned number, uint64_t from, uint64_t through) {
  known_.try_emplace(number, Known{from, through}).first->second.through = through;
}

}  // namespace varve
