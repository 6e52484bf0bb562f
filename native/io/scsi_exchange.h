// ScsiExchange: one SCSI command, sent again for as long as the target only asks for patience.
//
// BUSY, TASK SET FULL, "not ready": again after a pause, for `patience` altogether. Unit attentions and aborted commands: at
// once, a bounded number of times.
// Guarantee: `done` runs once per Begin(), from the loop, never inside of it. The object stays until then.
// Thread: the session's loop.
#pragma once

#include <chrono>
#include <memory>

#include "io/iscsi_session.h"

namespace varve {

class ScsiExchange {
 public:
  using Fn = void (*)(ScsiExchange* self, const ScsiOutcome& outcome);
  ScsiExchange(EventLoop& loop, Fn done) : loop_(loop), done_(done) {}
  ~ScsiExchange() { loop_.CancelTimer(&pause_); }
  ScsiExchange(const ScsiExchange&) = delete;

  // A transfer that is shorter than asked for is an error. Not so for answers, nor for the parameters of a command.
  void NeedsAll() { needs_all_ = true; }
  // Descriptor block, direction and buffers, to be set before Begin().
  ScsiCommand& command() { return command_; }
  // accept_reset: whoever asks has just logged in and expects to be told of a reset; otherwise that ends the exchange (kReset).
  void Begin(std::shared_ptr<IscsiSession> session, std::chrono::milliseconds patience, bool accept_reset);
  // Outcomes are kDone, kRefused, kLost, kReset and kBusy.

 private:
  using Clock = std::chrono::steady_clock;
  struct Sent : ScsiCommand {
    explicit Sent(ScsiExchange* owner) : ScsiCommand(OnAnswer), exchange(owner) {}
    static void OnAnswer(ScsiCommand* self, const ScsiResult& result);
    ScsiExchange* exchange;
  };
  struct Pause : Timer {
    explicit Pause(ScsiExchange* owner) : Timer(OnOver), exchange(owner) {}
    static void OnOver(Timer* self);
    ScsiExchange* exchange;
  };

  void Send();
  void Answered(ScsiOutcome outcome);
  void SendLater(Status reason);
  void Finish(const ScsiOutcome& outcome);

  EventLoop& loop_;
  const Fn done_;
  Sent command_{this};
  Pause pause_{this};
  std::shared_ptr<IscsiSession> session_;
  Clock::time_point give_up_at_;
  std::chrono::milliseconds next_pause_{};
  int repeats_left_ = 0;
  bool accept_reset_ = false;
  bool needs_all_ = false;
};

}  // namespace varve
