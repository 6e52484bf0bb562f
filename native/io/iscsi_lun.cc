#include "io/iscsi_lun.h"

#include <array>
#include <utility>

#include "io/scsi_exchange.h"

namespace varve {

namespace {

constexpr uint8_t kAnswerBytes = 252;
constexpr uint8_t kDesignatorPage = 0x83, kLimitsPage = 0xb0, kProvisioningPage = 0xb2;

Status Usable(const IscsiLun& lun) {
  uint32_t block = lun.capacity.block_bytes;
  if (block < 512 || block > 4096 || (block & (block - 1)) != 0) {
    return Status(ENOTBLK, "the LUN has blocks of a size that is not served (512 to 4096 bytes)");
  }
  if (lun.capacity.blocks == 0) return Status(ENOMEDIUM, "the LUN holds nothing");
  return Status::Ok();
}

// The steps of an inspection, one command each, in order. A target need not know the optional ones.
class Inspection {
 public:
  using Done = std::function<void(Status, const IscsiLun&)>;

  Inspection(EventLoop& loop, std::shared_ptr<IscsiSession> session, std::chrono::milliseconds patience, Done done)
      : session_(std::move(session)), patience_(patience), done_(std::move(done)), asking_(loop, this) {}

  void Next() {
    if (step_ == kSteps.size()) return Finish(Usable(lun_));
    answer_.fill(0);
    piece_ = {answer_.data(), answer_.size()};
    ScsiCommand& command = asking_.command();
    command.cdb = kSteps[step_].cdb();
    bool answers = kSteps[step_].read != nullptr;
    command.transfer = answers ? libiscsi::kFromTarget : libiscsi::kNoTransfer;
    command.iov = &piece_;
    command.iov_count = answers ? 1 : 0;
    command.bytes = answers ? kAnswerBytes : 0;
    asking_.Begin(session_, patience_, true);
  }

 private:
  struct Step {
    scsi::Cdb (*cdb)();
    Status (*read)(std::span<const uint8_t>, IscsiLun*);
    bool optional;
  };
  struct Asking : ScsiExchange {
    Asking(EventLoop& loop, Inspection* owner) : ScsiExchange(loop, OnAnswer), inspection(owner) {}
    static void OnAnswer(ScsiExchange* self, const ScsiOutcome& outcome) {
      static_cast<Asking*>(self)->inspection->Answered(outcome);
    }
    Inspection* inspection;
  };

  static Status ReadInquiry(std::span<const uint8_t> answer, IscsiLun* lun) {
    lun->inquiry = scsi::ParseInquiry(answer);
    if (!lun->inquiry.present) return Status(ENXIO, "the target has no such LUN");
    return lun->inquiry.type == 0 ? Status::Ok() : Status(ENOTBLK, "the LUN is no disk");
  }

  static constexpr std::array<Step, 7> kSteps{{
      {[] { return scsi::Inquiry(kAnswerBytes); }, ReadInquiry, false},
      {scsi::TestUnitReady, nullptr, false},
      {[] { return scsi::ReadCapacity16(kAnswerBytes); },
       [](auto answer, IscsiLun* lun) { return lun->capacity = scsi::ParseCapacity(answer), Status::Ok(); }, false},
      {[] { return scsi::InquiryPage(kDesignatorPage, kAnswerBytes); },
       [](auto page, IscsiLun* lun) { return lun->designators = scsi::ParseDesignators(page), Status::Ok(); }, true},
      {[] { return scsi::InquiryPage(kLimitsPage, kAnswerBytes); },
       [](auto page, IscsiLun* lun) { return lun->limits = scsi::ParseLimits(page), Status::Ok(); }, true},
      {[] { return scsi::InquiryPage(kProvisioningPage, kAnswerBytes); },
       [](auto page, IscsiLun* lun) { return lun->provisioning = scsi::ParseProvisioning(page), Status::Ok(); }, true},
      {[] { return scsi::ModeSenseCaching(kAnswerBytes); },
       [](auto answer, IscsiLun* lun) { return lun->mode = scsi::ParseModeSense(answer), Status::Ok(); }, true},
  }};

  void Answered(const ScsiOutcome& outcome) {
    const Step& step = kSteps[step_++];
    if (outcome.verdict == ScsiVerdict::kRefused && outcome.unsupported && step.optional) return Next();
    if (outcome.verdict != ScsiVerdict::kDone) return Finish(outcome.status);
    Status status = step.read ? step.read(answer_, &lun_) : Status::Ok();
    if (!status.ok()) return Finish(status);
    Next();
  }

  void Finish(Status status) {
    std::unique_ptr<Inspection> self(this);
    done_(status, lun_);
  }

  const std::shared_ptr<IscsiSession> session_;
  const std::chrono::milliseconds patience_;
  const Done done_;
  Asking asking_;
  size_t step_ = 0;
  std::array<uint8_t, kAnswerBytes> answer_{};
  iovec piece_{};
  IscsiLun lun_;
};

}  // namespace

void InspectLun(EventLoop& loop, std::shared_ptr<IscsiSession> session, std::chrono::milliseconds patience,
                std::function<void(Status, const IscsiLun&)> done) {
  (new Inspection(loop, std::move(session), patience, std::move(done)))->Next();
}

Status SameLun(const IscsiLun& known, const IscsiLun& seen) {
  bool same = known.designators == seen.designators && known.capacity.block_bytes == seen.capacity.block_bytes;
  if (!same) return Status(ESTALE, "the portal shows another LUN");
  if (seen.capacity.blocks < known.capacity.blocks) return Status(ESTALE, "the LUN has shrunk");
  return Status::Ok();
}

}  // namespace varve
