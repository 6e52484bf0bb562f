#include "io/scsi_exchange.h"

#include <algorithm>
#include <utility>

namespace varve {

namespace {

using std::chrono::milliseconds;

// More unit attentions in a row than any target has to tell.
constexpr int kRepeatsMax = 20;
constexpr milliseconds kFirstPause{10}, kLongestPause{500};

}  // namespace

void ScsiExchange::Begin(std::shared_ptr<IscsiSession> session, milliseconds patience, bool accept_reset) {
  session_ = std::move(session);
  give_up_at_ = Clock::now() + patience;
  next_pause_ = kFirstPause;
  repeats_left_ = kRepeatsMax;
  accept_reset_ = accept_reset;
  Send();
}

void ScsiExchange::Send() { session_->Submit(&command_); }

void ScsiExchange::Sent::OnAnswer(ScsiCommand* self, const ScsiResult& result) {
  auto* exchange = static_cast<Sent*>(self)->exchange;
  ScsiOutcome outcome = OutcomeOf(result);
  if (outcome.verdict == ScsiVerdict::kDone && exchange->needs_all_ && !result.whole) {
    outcome = {ScsiVerdict::kRefused, Status(EIO, "the target transferred less than it was asked for"), false};
  }
  exchange->Answered(outcome);
}

void ScsiExchange::Answered(ScsiOutcome outcome) {
  if (outcome.verdict == ScsiVerdict::kReset && accept_reset_) outcome.verdict = ScsiVerdict::kAgain;
  if (outcome.verdict == ScsiVerdict::kLater) return SendLater(outcome.status);
  if (outcome.verdict != ScsiVerdict::kAgain) return Finish(outcome);
  if (repeats_left_-- > 0) return Send();
  Finish({ScsiVerdict::kRefused, Status(EIO, "the target does not execute a command"), false});
}

void ScsiExchange::SendLater(Status reason) {
  if (Clock::now() >= give_up_at_) return Finish({ScsiVerdict::kBusy, reason, false});
  loop_.SetTimer(&pause_, next_pause_);
  next_pause_ = std::min(2 * next_pause_, kLongestPause);
}

void ScsiExchange::Pause::OnOver(Timer* self) {
  auto* exchange = static_cast<Pause*>(self)->exchange;
  if (exchange->session_->logged_in()) return exchange->Send();
  exchange->Finish({ScsiVerdict::kLost, Status(ECONNRESET, "the iSCSI session was lost"), false});
}

void ScsiExchange::Finish(const ScsiOutcome& outcome) {
  session_ = nullptr;
  done_(this, outcome);
}

}  // namespace varve
