// FaultRules: which operation on a disk goes wrong, and how.
//
// Thread: any; a mutex inside.
// Elsewhere: what a fault does to an operation (fault_disk.h).
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "io/disk_request.h"

namespace varve {

enum class FaultKind : uint8_t {
  kDelay,  // nothing but the delay
  kError,  // fails, nothing is transferred
  kShort,  // reads and writes: half, in whole sectors, is transferred, then it fails; others fail
  kHang,   // held until the rules are replaced, then carried out
  kFlip,   // reads: one bit of the data is wrong; others are carried out
  kLie,    // syncs: succeed and nothing is synced; others are carried out
};

struct FaultRule {
  std::optional<DiskOp> op{};  // without: each
  FaultKind kind = FaultKind::kError;
  int error = EIO;     // for kError and kShort
  uint64_t after = 0;  // lets so many matching operations pass
  uint64_t times = 0;  // then meets so many; 0 = all that follow
  std::chrono::milliseconds delay{0};  // before anything else
};

class FaultRules {
 public:
  // Replaces all rules; their counts start anew.
  void Set(std::vector<FaultRule> rules);
  // Counts the operation on every rule that matches; the first one due is what it meets.
  std::optional<FaultRule> Meet(DiskOp op);

 private:
  struct Counted {
    FaultRule rule;
    uint64_t seen = 0;
  };
  static bool Due(Counted* counted, DiskOp op);

  std::mutex mutex_;
  std::vector<Counted> rules_;
};

}  // namespace varve
