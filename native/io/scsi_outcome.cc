#include "io/scsi_outcome.h"

#include "io/iscsi_library.h"

namespace varve {

namespace {

enum SenseKey : int {
  kNoSense = 0,
  kRecovered = 1,
  kNotReady = 2,
  kIllegalRequest = 5,
  kUnitAttention = 6,
  kDataProtect = 7,
  kAborted = 0xb,
};

constexpr int kNoSuchLun = 0x2500;
constexpr int kBeyondTheEnd = 0x2100;
constexpr int kThinStoreFull = 0x2707;
constexpr int kResetCodes = 0x29;  // power on, reset, or the session's loss: first byte of the code

ScsiOutcome Refused(int error, const char* what, bool unsupported = false) {
  return {ScsiVerdict::kRefused, Status(error, what), unsupported};
}

ScsiOutcome Later(const char* what) { return {ScsiVerdict::kLater, Status(ETIMEDOUT, what), false}; }

ScsiOutcome OfIllegalRequest(int ascq) {
  if (ascq == kNoSuchLun) return Refused(ENXIO, "the target has no such LUN");
  if (ascq == kBeyondTheEnd) return Refused(EIO, "beyond the end of the LUN: it has shrunk");
  return Refused(EOPNOTSUPP, "the target does not support a command", true);
}

ScsiOutcome OfSense(int key, int ascq) {
  switch (key) {
    case kNoSense:
    case kRecovered:
      return {};
    case kNotReady:
      return Later("the LUN is not ready");
    case kUnitAttention:
      return {ascq >> 8 == kResetCodes ? ScsiVerdict::kReset : ScsiVerdict::kAgain, {}, false};
    case kAborted:
      return {ScsiVerdict::kAgain, {}, false};
    case kIllegalRequest:
      return OfIllegalRequest(ascq);
    case kDataProtect:
      if (ascq == kThinStoreFull) return Refused(ENOSPC, "the storage below the thin LUN is full");
      return Refused(EROFS, "the LUN is write-protected");
    default:
      return Refused(EIO, "the target reports an error of the medium");
  }
}

}  // namespace

ScsiOutcome OutcomeOf(const ScsiResult& result) {
  if (!result.session.ok()) return {ScsiVerdict::kLost, result.session, false};
  switch (result.status) {
    case libiscsi::kGood:
    case libiscsi::kConditionMet:
      return {};
    case libiscsi::kCheckCondition:
      return OfSense(result.sense_key, result.ascq);
    case libiscsi::kBusy:
    case libiscsi::kTaskSetFull:
    case libiscsi::kAcaActive:
      return Later("the target stays busy");
    case libiscsi::kTaskAborted:
      return {ScsiVerdict::kAgain, {}, false};
    case libiscsi::kReservationConflict:
      return Refused(EACCES, "another host has reserved the LUN");
    default:
      return Refused(EIO, "the target answered with an unknown status");
  }
}

}  // namespace varve
