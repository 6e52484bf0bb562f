#include "io/iscsi_link.h"

#include <algorithm>
#include <utility>

namespace varve {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{100}, kLongestPause{2'000};

IscsiSessionName Other(IscsiSessionName name) { return {name.isid, name.qualifier == 1 ? 2u : 1u}; }

}  // namespace

IscsiLink::IscsiLink(EventLoop& loop, const libiscsi::Functions& library, std::shared_ptr<const IscsiTarget> target,
                     Opened opened, IscsiLinkOwner* owner)
    : loop_(loop),
      library_(library),
      target_(std::move(target)),
      owner_(owner),
      lun_(std::move(opened.lun)),
      paths_(std::move(opened.paths)),
      active_(opened.active),
      name_(opened.name),
      session_(std::move(opened.session)),
      pause_(kFirstPause) {}

void IscsiLink::Start() {
  WatchSession();
  owner_->PathsChanged(paths_);
  CheckLater();
}

void IscsiLink::Close() {
  state_ = State::kClosed;
  *open_ = false;
  loop_.CancelTimer(&again_);
  loop_.CancelTimer(&check_);
  if (dial_) std::exchange(dial_, nullptr)->Cancel();
  if (check_dial_) std::exchange(check_dial_, nullptr)->Cancel();
  Status closed(ECANCELED, "close the iSCSI disk");
  if (moving_to_) std::exchange(moving_to_, nullptr)->Close(closed);
  if (session_) std::exchange(session_, nullptr)->Close(closed);
}

void IscsiLink::SetPath(size_t index, IscsiPath::State state, Status why) {
  IscsiPath& path = paths_[index];
  bool same = path.state == state && path.why.error() == why.error();
  path.state = state;
  path.why = why;
  if (!same) owner_->PathsChanged(paths_);
}

void IscsiLink::WatchSession() {
  session_->WhenEnded([this](Status status) { SessionEnded(status); });
}

// Its commands have been ended with the session's status already.
void IscsiLink::SessionEnded(Status status) {
  session_ = nullptr;
  SetPath(active_, IscsiPath::State::kFailed, status);
  if (state_ != State::kUp) return;  // draining goes on when the owner says so
  why_ = status;
  BeginRound();
}

void IscsiLink::Renew() {
  if (state_ != State::kUp) return;
  Status status(ECONNRESET, "the iSCSI target was reset");
  std::shared_ptr<IscsiSession> session = std::exchange(session_, nullptr);
  session->Close(status);
  why_ = status;
  BeginRound();
}

// ---- connecting

void IscsiLink::BeginRound() {
  state_ = State::kConnecting;
  candidates_.clear();
  // Taken from the back: the preferred first, the one that has just failed last.
  for (size_t i = paths_.size(); i-- > 0;) {
    if (i != active_) candidates_.push_back(i);
  }
  candidates_.insert(candidates_.begin(), active_);
  TryNext();
}

void IscsiLink::TryNext() {
  if (candidates_.empty()) return GoDown();
  size_t index = candidates_.back();
  candidates_.pop_back();
  dial_ = IscsiDial::Start(loop_, library_, target_, paths_[index].portal, name_,
                           [this, index](Status status, std::shared_ptr<IscsiSession> session, const IscsiLun& lun) {
                             dial_ = nullptr;
                             Dialled(index, status, std::move(session), lun);
                           });
}

void IscsiLink::Dialled(size_t index, Status status, std::shared_ptr<IscsiSession> session, const IscsiLun& lun) {
  Status same = status.ok() ? SameLun(lun_, lun) : Status::Ok();
  if (status.ok() && same.ok()) return Establish(index, std::move(session));
  if (session) session->Close(same);
  why_ = status.ok() ? same : status;
  SetPath(index, status.ok() ? IscsiPath::State::kRefused : IscsiPath::State::kFailed, why_);
  TryNext();
}

void IscsiLink::Establish(size_t index, std::shared_ptr<IscsiSession> session) {
  active_ = index;
  session_ = std::move(session);
  // From here on the session's end comes as the end of a command.
  session_->WhenEnded(nullptr);
  if (!uncertain_write_) return Restore();
  session_->ResetLun([this, open = open_](Status status) {
    if (!*open) return;
    if (!status.ok()) return Established(status);
    uncertain_write_ = false;
    EatAttentions();
  });
}

// The reset is reported to us, too.
void IscsiLink::EatAttentions() {
  ready_ = std::make_unique<Ready>(loop_, this);
  ready_->command().cdb = scsi::TestUnitReady();
  ready_->Begin(session_, target_->answer_limit, true);
}

void IscsiLink::Ready::OnAnswer(ScsiExchange* self, const ScsiOutcome& outcome) {
  IscsiLink* link = static_cast<Ready*>(self)->link;
  if (link->state_ == State::kClosed) return;
  if (outcome.verdict == ScsiVerdict::kDone) link->Restore();
  else link->Established(outcome.status);
}

void IscsiLink::Restore() {
  owner_->Restore(session_, [this, open = open_](Status status) {
    if (*open) Established(status);
  });
}

void IscsiLink::Established(Status status) {
  // The session may have ended between its last command and now.
  if (status.ok() && !session_->logged_in()) status = Status(ECONNRESET, "the iSCSI session was lost");
  if (!status.ok()) {
    session_->Close(status);
    session_ = nullptr;
    why_ = status;
    SetPath(active_, IscsiPath::State::kFailed, status);
    return TryNext();
  }
  state_ = State::kUp;
  pause_ = kFirstPause;
  WatchSession();
  SetPath(active_, IscsiPath::State::kActive);
  CheckLater();
  owner_->LinkUp();
}

// A target that restarts refuses for a while what it will admit again: whatever the reason, it may be asked again.
void IscsiLink::GoDown() {
  state_ = State::kDown;
  switch (why_.error()) {
    case ENOTCONN:
    case ETIMEDOUT:
    case ECONNRESET:
    case ECONNREFUSED:
    case EHOSTUNREACH:
      break;
    default:
      why_ = Status(ENOTCONN, why_.what());
  }
  loop_.SetTimer(&again_, pause_);
  pause_ = std::min(2 * pause_, kLongestPause);
  owner_->LinkDown(why_);
}

// ---- other paths

void IscsiLink::CheckLater() {
  if (paths_.size() > 1) loop_.SetTimer(&check_, target_->check_every);
}

// All paths that are not in use, in the order of preference: the first that is better takes over.
void IscsiLink::BeginCheck() {
  if (state_ != State::kUp || check_dial_) return;
  to_check_.clear();
  for (size_t i = paths_.size(); i-- > 0;) {
    if (i != active_) to_check_.push_back(i);
  }
  CheckNext();
}

void IscsiLink::CheckNext() {
  if (to_check_.empty()) return CheckLater();
  size_t index = to_check_.back();
  to_check_.pop_back();
  check_dial_ = IscsiDial::Start(loop_, library_, target_, paths_[index].portal, Other(name_),
                                 [this, index](Status status, std::shared_ptr<IscsiSession> session, const IscsiLun& lun) {
                                   check_dial_ = nullptr;
                                   Checked(index, status, std::move(session), lun);
                                 });
}

void IscsiLink::Checked(size_t index, Status status, std::shared_ptr<IscsiSession> session, const IscsiLun& lun) {
  Status same = status.ok() ? SameLun(lun_, lun) : Status::Ok();
  // A round that has begun meanwhile finds out for itself.
  if (state_ != State::kUp || index == active_) {
    if (session) session->Close(Status(ECANCELED, "look at an iSCSI path"));
    return CheckLater();
  }
  if (!status.ok()) SetPath(index, IscsiPath::State::kFailed, status);
  else if (!same.ok()) SetPath(index, IscsiPath::State::kRefused, same);
  else SetPath(index, IscsiPath::State::kStandby);
  if (status.ok() && same.ok() && index < active_) return MoveTo(index, std::move(session));
  if (session) session->Close(Status(ECANCELED, "look at an iSCSI path"));
  CheckNext();
}

void IscsiLink::MoveTo(size_t index, std::shared_ptr<IscsiSession> session) {
  state_ = State::kDraining;
  moving_to_ = std::move(session);
  moving_to_index_ = index;
  owner_->LinkDraining();
}

void IscsiLink::Drained() {
  if (state_ != State::kDraining) return;
  state_ = State::kConnecting;
  if (session_) {
    std::exchange(session_, nullptr)->Close(Status(ECANCELED, "move to a preferred iSCSI path"));
    SetPath(active_, IscsiPath::State::kStandby);
  }
  candidates_.assign(1, active_);  // the way back, should the new one fail at once
  name_ = Other(name_);
  Establish(moving_to_index_, std::exchange(moving_to_, nullptr));
}

}  // namespace varve
