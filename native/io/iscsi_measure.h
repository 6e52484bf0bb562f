// How large a LUN is now. A target that has to say that it changed (unit attention 2Ah/09h) does so to any command, which then is sent again.
#pragma once

#include <array>

#include "io/iscsi_operation.h"

namespace varve {

// READ CAPACITY. *bytes is set when it ends well, on the home loop; what is found may be used from then on.
class IscsiMeasure final : public IscsiOperation {
 public:
  IscsiMeasure(IscsiCore& core, EventLoop& origin, Completion* done, uint64_t* bytes)
      : IscsiOperation(core, origin, done), bytes_(bytes) {}
  void Run() override;
  bool changes() const override { return false; }

 private:
  void Answered(const ScsiOutcome& outcome) override;

  std::array<uint8_t, 32> answer_{};
  iovec piece_{};
  uint64_t* const bytes_;
};

}  // namespace varve
