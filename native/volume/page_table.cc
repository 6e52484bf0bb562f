#include "volume/page_table.h"

#include <algorithm>

namespace varve {

namespace {
// A request pays for a few steps of the clock, not for a turn of it.
constexpr unsigned kEvictStepsMax = 64;
}  // namespace

bool PageTable::RootEmpty(uint64_t directory) const {
  return directory < roots_.size() ? roots_[directory].empty : all_empty_;
}

PageTable::Presence PageTable::Find(uint64_t region, Region** out) {
  uint64_t at = region / kRegionsPerDirectory;
  if (at >= roots_.size() || !roots_[at].directory) return RootEmpty(at) ? Presence::kEmpty : Presence::kUnknown;
  Directory& directory = *roots_[at].directory;
  uint64_t i = region % kRegionsPerDirectory;
  if (directory.states[i] == Directory::State::kPresent) {
    *out = directory.regions[i].get();
    (*out)->referenced = true;
    return Presence::kPresent;
  }
  return directory.states[i] == Directory::State::kEmpty ? Presence::kEmpty : Presence::kUnknown;
}

PageTable::Root& PageTable::RootOf(uint64_t directory) {
  while (roots_.size() <= directory) roots_.push_back({all_empty_, nullptr});
  return roots_[directory];
}

PageTable::Directory* PageTable::Ensure(uint64_t directory) {
  Root& root = RootOf(directory);
  if (!root.directory) {
    root.directory = std::make_unique<Directory>();
    if (root.empty) root.directory->states.fill(Directory::State::kEmpty);
    bytes_ += sizeof(Directory);
  }
  return root.directory.get();
}

Region* PageTable::Materialize(uint64_t region) {
  Directory* directory = Ensure(region / kRegionsPerDirectory);
  uint64_t i = region % kRegionsPerDirectory;
  directory->regions[i] = std::make_unique<Region>();
  directory->states[i] = Directory::State::kPresent;
  Region* made = directory->regions[i].get();
  made->index = region;
  made->referenced = true;
  clock_.push_back(made);
  bytes_ += sizeof(Region);
  return made;
}

void PageTable::Set(Region* region, SlotIndex slot, SlotState state, uint64_t serial) {
  std::unique_ptr<Leaf>& leaf = region->leaves[slot / kSlotsPerLeaf % kLeavesPerRegion];
  if (!leaf) {
    leaf = std::make_unique<Leaf>();
    bytes_ += sizeof(Leaf);
  }
  leaf->slots[slot % kSlotsPerLeaf] = state;
  region->last_serial = std::max(region->last_serial, serial);
}

uint64_t PageTable::EvictedAt(uint64_t region) const {
  const uint64_t at = region / kRegionsPerDirectory;
  if (at >= roots_.size() || !roots_[at].directory) return 0;
  return roots_[at].directory->evicted[region % kRegionsPerDirectory];
}

void PageTable::Install(uint64_t region, const uint64_t* states, uint64_t empty_through, uint64_t sequence) {
  Region* present = nullptr;
  if (Find(region, &present) == Presence::kUnknown && EvictedAt(region) <= sequence) {
    Region* made = Materialize(region);
    for (unsigned i = 0; i < kSlotsPerRegion; i++) {
      if (states[i] != 0) Set(made, i, SlotState{states[i]}, 0);
    }
  }
  if (empty_through > region) MarkEmpty(region + 1, empty_through, sequence);
}

void PageTable::MarkEmpty(uint64_t first, uint64_t last, uint64_t sequence) {
  for (uint64_t region = first; region <= last;) {
    uint64_t at = region / kRegionsPerDirectory;
    uint64_t next = (at + 1) * kRegionsPerDirectory;
    bool whole = region % kRegionsPerDirectory == 0 && last >= next - 1;
    if (whole && (at >= roots_.size() || !roots_[at].directory)) {
      RootOf(at).empty = true;
    } else {
      Directory* directory = Ensure(at);
      for (; region <= last && region < next; region++) {
        const uint64_t i = region % kRegionsPerDirectory;
        const bool unknown = directory->states[i] == Directory::State::kUnknown;
        if (unknown && directory->evicted[i] <= sequence) directory->states[i] = Directory::State::kEmpty;
      }
    }
    region = next;
  }
}

void PageTable::Evict(uint64_t bytes, HandedOver told) {
  for (unsigned looked = 0; bytes_ > bytes && looked < kEvictStepsMax && !clock_.empty(); looked++) {
    hand_ %= clock_.size();
    Region* region = clock_[hand_];
    bool evictable = region->pins == 0 && region->last_serial <= told.serial;
    if (!evictable || region->referenced) {
      region->referenced = false;
      hand_++;
      continue;
    }
    for (const auto& leaf : region->leaves) bytes_ -= leaf ? sizeof(Leaf) : 0;
    bytes_ -= sizeof(Region);
    uint64_t i = region->index % kRegionsPerDirectory;
    Directory& directory = *roots_[region->index / kRegionsPerDirectory].directory;
    directory.states[i] = Directory::State::kUnknown;
    directory.evicted[i] = told.sequence;
    clock_[hand_] = clock_.back();
    clock_.pop_back();
    directory.regions[i].reset();
  }
}

uint64_t PageTable::SkipEmpty(uint64_t region, uint64_t end) const {
  while (region < end) {
    uint64_t at = region / kRegionsPerDirectory;
    uint64_t next = (at + 1) * kRegionsPerDirectory;
    if (at >= roots_.size() && all_empty_) return end;
    const bool has_directory = at < roots_.size() && roots_[at].directory;
    if (!has_directory) {
      if (!RootEmpty(at)) return region;
      region = next;
      continue;
    }
    const Directory& directory = *roots_[at].directory;
    for (; region < end && region < next; region++) {
      if (directory.states[region % kRegionsPerDirectory] != Directory::State::kEmpty) return region;
    }
  }
  return end;
}

}  // namespace varve
