#include "journal/held_deltas.h"

#include <algorithm>

namespace varve {

// `slots`: those with a change that stays behind; this one's joins them when it does.
bool HeldDeltas::IsBlocked(const Delta& delta, uint64_t round, const Blocks& blocks, Slots* slots) {
  const SlotKey key{delta.layer, delta.slot};
  const Address address = SlotState{delta.state}.address();
  const bool blocked = slots->contains(key) || (!address.none() && blocks(address.disk(), round));
  if (blocked) slots->insert(key);
  return blocked;
}

std::vector<SerialDelta> HeldDeltas::Pass(uint64_t first, std::span<const Delta> deltas, uint64_t round, const Blocks& blocks) {
  Slots slots;
  for (const Held& held : held_) slots.insert({held.delta.layer, held.delta.slot});
  std::vector<SerialDelta> passed;
  for (size_t i = 0; i < deltas.size(); i++) {
    const SerialDelta each{first + i, deltas[i]};
    if (IsBlocked(each.delta, round, blocks, &slots)) held_.push_back({each, round});
    else passed.push_back(each);
  }
  return passed;
}

std::vector<SerialDelta> HeldDeltas::Ready(size_t count, const Blocks& blocks) const {
  Slots slots;
  std::vector<SerialDelta> ready;
  for (auto held = held_.begin(); held != held_.end() && ready.size() < count; ++held) {
    if (!IsBlocked(held->delta, held->round, blocks, &slots)) ready.push_back(*held);
  }
  return ready;
}

void HeldDeltas::Forget(std::span<const uint64_t> serials) {
  auto next = serials.begin();
  std::erase_if(held_, [&](const Held& held) {
    while (next != serials.end() && *next < held.serial) ++next;
    return next != serials.end() && *next == held.serial;
  });
}

}  // namespace varve
