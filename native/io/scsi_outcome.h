// ScsiOutcome: what the end of a SCSI command means for whoever sent it. Pure.
#pragma once

#include "base/status.h"

namespace varve {

// How a command ended, as the session reports it.
struct ScsiResult {
  Status session;   // not ok: the session was lost; nobody knows whether the command was executed
  int status = 0;   // SCSI status byte
  int sense_key = 0;
  int ascq = 0;     // additional sense code << 8 | qualifier
  bool whole = true;  // all bytes were transferred
};

enum class ScsiVerdict {
  kDone,
  kAgain,    // did nothing; send it again at once
  kLater,    // the target is busy or not ready; send it again after a pause
  kReset,    // did nothing; what the LUN held in its cache may be gone
  kRefused,  // final
  kLost,     // the session is gone; it may still be executed
  kBusy,     // did nothing, for as long as anybody would wait; the session is well
};

struct ScsiOutcome {
  ScsiVerdict verdict = ScsiVerdict::kDone;
  Status status;             // of kRefused, kLost and kBusy; of kLater: what to say when it stays so
  bool unsupported = false;  // of kRefused: the target does not know the command
};

ScsiOutcome OutcomeOf(const ScsiResult& result);

}  // namespace varve
