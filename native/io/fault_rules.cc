#include "io/fault_rules.h"

namespace varve {

void FaultRules::Set(std::vector<FaultRule> rules) {
  std::lock_guard lock(mutex_);
  rules_.clear();
  for (const FaultRule& rule : rules) rules_.push_back({rule});
}

std::optional<FaultRule> FaultRules::Meet(DiskOp op) {
  std::lock_guard lock(mutex_);
  std::optional<FaultRule> met;
  for (Counted& counted : rules_) {
    if (Due(&counted, op) && !met) met = counted.rule;
  }
  return met;
}

bool FaultRules::Due(Counted* counted, DiskOp op) {
  const FaultRule& rule = counted->rule;
  if (rule.op && *rule.op != op) return false;
  uint64_t number = counted->seen++;
  if (number < rule.after) return false;
  return rule.times == 0 || number - rule.after < rule.times;
}

}  // namespace varve
