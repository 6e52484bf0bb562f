#include "volume/page_table.h"

#include <algorithm>

namespace varve {

namespace {
// A request pays for a few steps of the clock, not for a turn of it.
constexpr unsigned kEvictStepsMax = 64;

// What of a split slot counts against the budget: the sources, and about as much for the table they are in.
constexpr uint64_t kSplitBytes = 2 * sizeof(SplitSources);

SplitSources SourcesOf(const SlotView& view) {
  SplitSources sources;
  for (unsigned i = 0; i < kSubBlocksPerCluster; i++) sources[i] = view.Source(i);
  return sources;
}

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
    if ((*out)->generation != generation_) Turn(*out);
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
  made->generation = generation_;
  made->referenced = true;
  clock_.push_back(made);
  bytes_ += sizeof(Region);
  return made;
}

Leaf* PageTable::EnsureLeaf(std::unique_ptr<Leaf>* leaf) {
  if (*leaf == nullptr) {
    *leaf = std::make_unique<Leaf>();
    bytes_ += sizeof(Leaf);
  }
  return leaf->get();
}

Under* PageTable::EnsureUnder(Region* region) {
  if (region->under == nullptr) {
    region->under = std::make_unique<Under>();
    bytes_ += sizeof(Under);
  }
  return region->under.get();
}

void PageTable::Set(Region* region, SlotIndex slot, SlotState state, SlotMask zero, uint64_t serial) {
  EnsureLeaf(&region->leaves[LeafIndex(slot)])->slots[slot % kSlotsPerLeaf] = state;
  SetZero(region, slot, zero);
  region->last_serial = std::max(region->last_serial, serial);
}

void PageTable::SetZero(Region* region, SlotIndex slot, SlotMask zero) {
  const bool known = region->under != nullptr && region->under->zeros[LeafIndex(slot)] != nullptr;
  if (zero == 0 && !known) return;
  std::unique_ptr<Under::Zeros>& zeros = EnsureUnder(region)->zeros[LeafIndex(slot)];
  if (zeros == nullptr) {
    zeros = std::make_unique<Under::Zeros>();
    bytes_ += sizeof(Under::Zeros);
  }
  zeros->masks[slot % kSlotsPerLeaf] = zero;
}

void PageTable::AddUnder(const Under& under, SlotIndex slot, SlotView* view) {
  const size_t leaf = LeafIndex(slot);
  if (under.zeros[leaf] != nullptr) view->zero = under.zeros[leaf]->masks[slot % kSlotsPerLeaf];
  if (under.below[leaf] == nullptr) return;
  view->below = under.below[leaf]->slots[slot % kSlotsPerLeaf];
  if (view->below.address() == kSplitAddress) view->split = &under.splits.at(slot);
}

void PageTable::SetBelow(Region* region, SlotIndex slot, const SplitSources& sources) {
  Under* under = EnsureUnder(region);
  SlotMask mask = 0;
  Address first;
  bool one = true;
  for (unsigned i = 0; i < kSubBlocksPerCluster; i++) {
    if (sources[i].none()) continue;
    mask |= static_cast<SlotMask>(1u << i);
    if (first.none()) first = sources[i];
    one = one && sources[i] == first;
  }
  if (under->splits.erase(slot) != 0) bytes_ -= kSplitBytes;
  if (!one) {
    under->splits[slot] = sources;
    bytes_ += kSplitBytes;
  }
  std::unique_ptr<Leaf>& leaf = under->below[LeafIndex(slot)];
  if (mask == 0 && leaf == nullptr) return;
  EnsureLeaf(&leaf)->slots[slot % kSlotsPerLeaf] = SlotState::Of(one ? first : kSplitAddress, mask);
}

// The region's head was frozen since: what it owns joins what lies below, and the head above it owns nothing.
void PageTable::Turn(Region* region) {
  region->generation = generation_;
  for (size_t leaf = 0; leaf < kLeavesPerRegion; leaf++) TurnLeaf(region, leaf);
}

void PageTable::TurnLeaf(Region* region, size_t leaf) {
  const bool zeros = region->under != nullptr && region->under->zeros[leaf] != nullptr;
  if (region->leaves[leaf] == nullptr && !zeros) return;
  Under* under = EnsureUnder(region);
  if (!zeros && under->below[leaf] == nullptr) {
    under->below[leaf] = std::move(region->leaves[leaf]);
    return;
  }
  const SlotIndex first = (region->index * kLeavesPerRegion + leaf) * kSlotsPerLeaf;
  for (SlotIndex slot = first; slot < first + kSlotsPerLeaf; slot++) {
    const SlotView view = View(*region, slot);
    if (view.claimed() != 0) SetBelow(region, slot, SourcesOf(view));
  }
  if (region->leaves[leaf] != nullptr) bytes_ -= sizeof(Leaf);
  if (zeros) bytes_ -= sizeof(Under::Zeros);
  region->leaves[leaf].reset();
  under->zeros[leaf].reset();
}

void PageTable::Forget() {
  roots_.clear();
  clock_.clear();
  hand_ = 0;
  bytes_ = 0;
  all_empty_ = false;
}

void PageTable::Repoint(Region* region, SlotIndex slot, Address from, Address to) {
  const SlotView view = View(*region, slot);
  if (view.split == nullptr) {
    if (view.below.mask() == 0 || view.below.address() != from) return;
    region->under->below[LeafIndex(slot)]->slots[slot % kSlotsPerLeaf] = SlotState::Of(to, view.below.mask());
    return;
  }
  for (Address& source : region->under->splits.at(slot)) {
    if (source == from) source = to;
  }
}

void PageTable::HideBelow(Region* region, SlotIndex slot) {
  const SlotView view = View(*region, slot);
  SplitSources sources;
  for (unsigned i = 0; i < kSubBlocksPerCluster; i++) {
    const SlotMask bit = static_cast<SlotMask>(1u << i);
    const bool shows = (view.below.mask() & bit) != 0;
    const Address first = view.below.mask() == 0 ? kHiddenAddress : view.below.address();
    if (view.split != nullptr) sources[i] = shows ? (*view.split)[i] : Address{};
    if (view.split == nullptr && shows) sources[i] = first;
    if (sources[i].none() && (view.claimed() & bit)) sources[i] = view.split == nullptr ? first : kHiddenAddress;
  }
  SetBelow(region, slot, sources);
}

void PageTable::ForgetBelow(Region* region, SlotIndex slot) {
  if (region->under == nullptr) return;
  const SlotView view = View(*region, slot);
  if (view.inherited() != 0) return;  // not claimed yet: hides nothing, shows
  SetBelow(region, slot, {});
  SetZero(region, slot, 0);
}

uint64_t PageTable::EvictedAt(uint64_t region) const {
  const uint64_t at = region / kRegionsPerDirectory;
  if (at >= roots_.size() || !roots_[at].directory) return 0;
  return roots_[at].directory->evicted[region % kRegionsPerDirectory];
}

void PageTable::Install(uint64_t region, const RegionAnswer& answer) {
  Region* present = nullptr;
  if (Find(region, &present) == Presence::kUnknown && EvictedAt(region) <= answer.sequence) {
    Region* made = Materialize(region);
    const SlotIndex first = region * kSlotsPerRegion;
    for (unsigned i = 0; i < kSlotsPerRegion; i++) {
      const uint64_t own = answer.own == nullptr ? 0 : answer.own[i];
      const SlotMask zero = answer.zeros == nullptr ? 0 : answer.zeros[i];
      if (own != 0 || zero != 0) Set(made, first + i, SlotState{own}, zero, 0);
      const SlotState below{answer.below == nullptr ? 0 : answer.below[i]};
      if (below.mask() == 0) continue;
      EnsureLeaf(&EnsureUnder(made)->below[i / kSlotsPerLeaf])->slots[i % kSlotsPerLeaf] = below;
    }
    for (const RegionAnswer::Split& split : answer.splits) SetBelow(made, first + split.slot_in_region, split.sources);
  }
  if (answer.empty_through > region) MarkEmpty(region + 1, answer.empty_through, answer.sequence);
}

uint64_t PageTable::BytesOf(const Region& region) {
  uint64_t bytes = sizeof(Region);
  for (const auto& leaf : region.leaves) bytes += leaf ? sizeof(Leaf) : 0;
  if (region.under == nullptr) return bytes;
  bytes += sizeof(Under) + region.under->splits.size() * kSplitBytes;
  for (const auto& leaf : region.under->below) bytes += leaf ? sizeof(Leaf) : 0;
  for (const auto& leaf : region.under->zeros) bytes += leaf ? sizeof(Under::Zeros) : 0;
  return bytes;
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
    bytes_ -= BytesOf(*region);
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
