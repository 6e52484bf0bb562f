#include "io/write_log.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace varve {

namespace {

constexpr uint64_t kSectorBytes = 512;

std::atomic<WriteLog::Moment> last_moment{0};

WriteLog::Moment NextMoment() { return last_moment.fetch_add(1) + 1; }

}  // namespace

WriteLog::Moment WriteLog::Now() { return last_moment.load(); }

size_t WriteLog::BeginChange(uint64_t offset, uint64_t bytes, std::vector<std::byte> data) {
  std::lock_guard lock(mutex_);
  changes_.push_back({NextMoment(), 0, offset, bytes, std::move(data)});
  return changes_.size() - 1;
}

void WriteLog::EndChange(size_t place) {
  std::lock_guard lock(mutex_);
  changes_[place].ended = NextMoment();
}

WriteLog::Moment WriteLog::BeginSync() {
  std::lock_guard lock(mutex_);
  return NextMoment();
}

void WriteLog::EndSync(Moment begun) {
  std::lock_guard lock(mutex_);
  Moment now = NextMoment();
  Base& last = BaseAt(now);
  if (begun <= last.synced) return;  // a sync submitted later has ended earlier

  Base next{now, begun, last.first_loose, last.content.Share()};
  for (size_t i = next.first_loose; i < changes_.size(); ++i) {
    const Change& change = changes_[i];
    bool added = change.EndedBefore(begun);
    if (added && !change.EndedBefore(last.synced)) Apply(change, &next.content);
    if (added && i == next.first_loose) ++next.first_loose;
  }
  bases_.push_back(std::move(next));
}

SparseBytes WriteLog::Cut(Moment cut, Choice choice) {
  std::lock_guard lock(mutex_);
  Base& base = BaseAt(cut);
  SparseBytes content = base.content.Share();
  Loose head, rest;
  for (const Change* change : LooseAt(base, cut)) {
    (change->offset < choice.head_bytes ? head : rest).push_back(change);
  }
  Choose(std::move(head), choice.head_seed, &content);
  Choose(std::move(rest), choice.seed, &content);
  return content;
}

void WriteLog::Choose(Loose loose, uint64_t seed, SparseBytes* content) {
  if (loose.empty() || seed == 1) return;
  if (seed == 0) {
    for (const Change* change : loose) Apply(*change, content);
    return;
  }
  std::mt19937_64 random(seed);
  switch (random() % 4) {
    case 0: Scatter(std::move(loose), random, content); break;
    case 1: KeepFirst(loose, random, content); break;
    case 2: KeepOne(loose, random, content); break;
    case 3: LoseOne(loose, random, content); break;
  }
}

WriteLog::Base& WriteLog::BaseAt(Moment cut) {
  if (bases_.empty()) bases_.push_back({0, 0, 0, SparseBytes()});
  auto after = std::upper_bound(bases_.begin(), bases_.end(), cut,
                                [](Moment moment, const Base& base) { return moment < base.from; });
  return *std::prev(after);
}

std::vector<const WriteLog::Change*> WriteLog::LooseAt(const Base& base, Moment cut) const {
  std::vector<const Change*> loose;
  for (size_t i = base.first_loose; i < changes_.size() && changes_[i].submitted <= cut; ++i) {
    if (!changes_[i].EndedBefore(base.synced)) loose.push_back(&changes_[i]);
  }
  return loose;
}

void WriteLog::Apply(const Change& change, SparseBytes* content) {
  ApplyRange(change, change.offset, change.offset + change.bytes, content);
}

void WriteLog::Scatter(Loose loose, std::mt19937_64& random, SparseBytes* content) {
  std::shuffle(loose.begin(), loose.end(), random);
  for (const Change* change : loose) {
    switch (random() % 3) {
      case 0: break;
      case 1: Apply(*change, content); break;
      case 2: Tear(*change, random, content); break;
    }
  }
}

void WriteLog::KeepFirst(const Loose& loose, std::mt19937_64& random, SparseBytes* content) {
  size_t last = random() % loose.size();
  for (size_t i = 0; i < last; ++i) Apply(*loose[i], content);
  Tear(*loose[last], random, content);
}

void WriteLog::KeepOne(const Loose& loose, std::mt19937_64& random, SparseBytes* content) {
  const Change& kept = *loose[random() % loose.size()];
  if (random() % 2 == 0) Apply(kept, content);
  else Tear(kept, random, content);
}

void WriteLog::LoseOne(const Loose& loose, std::mt19937_64& random, SparseBytes* content) {
  const Change* lost = loose[random() % loose.size()];
  bool torn = random() % 2 == 0;
  for (const Change* change : loose) {
    if (change != lost) Apply(*change, content);
    else if (torn) Tear(*change, random, content);
  }
}

// Each sector of the disk is written or not, by itself.
void WriteLog::Tear(const Change& change, std::mt19937_64& random, SparseBytes* content) {
  uint64_t end = change.offset + change.bytes;
  for (uint64_t start = change.offset; start < end;) {
    uint64_t next = std::min(end, (start / kSectorBytes + 1) * kSectorBytes);
    if (random() % 2 == 0) ApplyRange(change, start, next, content);
    start = next;
  }
}

void WriteLog::ApplyRange(const Change& change, uint64_t start, uint64_t end, SparseBytes* content) {
  if (change.data.empty()) content->Zero(start, end - start);
  else content->Write(start, change.data.data() + (start - change.offset), end - start);
}

}  // namespace varve
