// IscsiLink: keeps one session to a LUN, over whichever of its portals works.
//
//   up ─▶ connecting ─▶ up            each portal is tried once, the preferred first, the one that failed last
//   up ─▶ draining ───▶ connecting    a preferred portal is back: what is in flight ends first, then the session moves
//   connecting ─▶ down ─▶ connecting  nobody answered; again after a pause that grows up to a bound
//   any ─▶ closed                     final
//
// A portal is used only when it shows the LUN that was opened. Before a new session is said to be up, commands of lost sessions
// can no longer be executed (the login replaces the lost session at the target; if a write was among them the LUN is reset
// too), and the owner has restored what the target may have forgotten.
// Thread: the loop's.
// Elsewhere: one login (iscsi_session.h), what goes over it (iscsi_core.h).
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/iscsi_dial.h"
#include "io/scsi_exchange.h"

namespace varve {

struct IscsiPath {
  enum class State {
    kUnknown,
    kActive,   // carries the disk
    kStandby,  // answered when last looked at
    kFailed,   // did not
    kRefused,  // answers, but shows another LUN
  };
  std::string portal;
  State state = State::kUnknown;
  Status why;  // of kFailed and kRefused
};

class IscsiLinkOwner {
 public:
  // Writes again over `session` what the target may have forgotten. done: ok, or why the session cannot be used.
  virtual void Restore(std::shared_ptr<IscsiSession> session, std::function<void(Status)> done) = 0;
  virtual void LinkUp() = 0;
  virtual void LinkDown(Status why) = 0;
  // Nothing new goes over the session; LinkDrained() is to be called when nothing is in flight.
  virtual void LinkDraining() = 0;
  virtual void PathsChanged(const std::vector<IscsiPath>& paths) = 0;

 protected:
  ~IscsiLinkOwner() = default;
};

class IscsiLink {
 public:
  enum class State { kUp, kConnecting, kDraining, kDown, kClosed };

  // What an opening has found: paths, a session on paths[active], its LUN, and the session's name.
  struct Opened {
    std::vector<IscsiPath> paths;
    size_t active = 0;
    std::shared_ptr<IscsiSession> session;
    IscsiLun lun;
    IscsiSessionName name;
  };

  IscsiLink(EventLoop& loop, const libiscsi::Functions& library, std::shared_ptr<const IscsiTarget> target, Opened opened,
            IscsiLinkOwner* owner);

  // Tells the owner the paths and begins to watch them.
  void Start();
  // No callback comes afterwards.
  void Close();

  State state() const { return state_; }
  // Why nothing goes, while down: one of the errors after which the same may be asked again.
  Status why() const { return why_; }
  const std::shared_ptr<IscsiSession>& session() const { return session_; }

  // The target has forgotten (unit attention): a new session, and what belongs to it.
  void Renew();
  // A write was in flight when its session was lost: it may still be executed.
  void NoteUncertainWrite() { uncertain_write_ = true; }
  // The LUN was seen with so many blocks: no portal is used that shows fewer.
  void Measured(uint64_t blocks) { lun_.capacity.blocks = std::max(lun_.capacity.blocks, blocks); }
  void Drained();

 private:
  struct Again : Timer {
    explicit Again(IscsiLink* owner) : Timer(OnTime), link(owner) {}
    static void OnTime(Timer* self) { static_cast<Again*>(self)->link->BeginRound(); }
    IscsiLink* link;
  };
  struct Check : Timer {
    explicit Check(IscsiLink* owner) : Timer(OnTime), link(owner) {}
    static void OnTime(Timer* self) { static_cast<Check*>(self)->link->BeginCheck(); }
    IscsiLink* link;
  };
  struct Ready : ScsiExchange {
    Ready(EventLoop& loop, IscsiLink* owner) : ScsiExchange(loop, OnAnswer), link(owner) {}
    static void OnAnswer(ScsiExchange* self, const ScsiOutcome& outcome);
    IscsiLink* link;
  };

  void SetPath(size_t index, IscsiPath::State state, Status why = Status::Ok());
  void WatchSession();
  void SessionEnded(Status status);

  void BeginRound();
  void TryNext();
  void Dialled(size_t index, Status status, std::shared_ptr<IscsiSession> session, const IscsiLun& lun);
  void Establish(size_t index, std::shared_ptr<IscsiSession> session);
  void EatAttentions();
  void Restore();
  void Established(Status status);
  void GoDown();

  void CheckLater();
  void BeginCheck();
  void CheckNext();
  void Checked(size_t index, Status status, std::shared_ptr<IscsiSession> session, const IscsiLun& lun);
  void MoveTo(size_t index, std::shared_ptr<IscsiSession> session);

  EventLoop& loop_;
  const libiscsi::Functions& library_;
  const std::shared_ptr<const IscsiTarget> target_;
  IscsiLinkOwner* const owner_;
  IscsiLun lun_;  // as it was opened, and as large as it was ever seen
  std::vector<IscsiPath> paths_;
  size_t active_;
  IscsiSessionName name_;  // of the session that is in use; the one that looks at other paths has another qualifier
  State state_ = State::kUp;
  Status why_;
  std::shared_ptr<IscsiSession> session_;
  bool uncertain_write_ = false;

  std::vector<size_t> candidates_;  // of this round, the next one last
  std::vector<size_t> to_check_;
  std::shared_ptr<IscsiDial> dial_, check_dial_;
  std::shared_ptr<IscsiSession> moving_to_;  // while draining
  size_t moving_to_index_ = 0;
  std::chrono::milliseconds pause_;
  Again again_{this};
  Check check_{this};
  // Kept by whoever waits for an answer, so that an answer that comes after Close() finds nobody.
  std::shared_ptr<bool> open_ = std::make_shared<bool>(true);
  std::unique_ptr<Ready> ready_;
};

}  // namespace varve
