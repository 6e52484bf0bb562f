#include "io/iscsi_discovery.h"

#include <array>
#include <random>
#include <utility>

#include "io/scsi_exchange.h"

namespace varve {

namespace {

// 255 LUNs of one target are listed; more than that nobody reads.
constexpr size_t kLunListBytes = 8 + 8 * 255;

// One step after the other: portal, then each target's list of LUNs, then each LUN. All run on the loop.
class Discovery : public std::enable_shared_from_this<Discovery> {
 public:
  using Done = std::function<void(Status, std::vector<FoundTarget>)>;

  Discovery(EventLoop& loop, const libiscsi::Functions& library, IscsiTarget seeker, Done done)
      : loop_(loop), library_(library), seeker_(std::move(seeker)), done_(std::move(done)), listing_(loop) {
    name_ = {static_cast<uint32_t>(std::random_device{}()) & 0xffffff, 1};
  }

  void Start() {
    ResolvePortal(loop_, seeker_.portals.front(), [self = shared_from_this()](Status status, const std::string& numeric) {
      if (!status.ok()) return self->done_(status, {});
      self->numeric_ = numeric;
      self->AskPortal();
    });
  }

 private:
  struct Listing : ScsiExchange {
    explicit Listing(EventLoop& loop) : ScsiExchange(loop, OnAnswer) {}
    static void OnAnswer(ScsiExchange* self, const ScsiOutcome& outcome) {
      std::shared_ptr<Discovery> discovery = std::move(static_cast<Listing*>(self)->discovery);
      discovery->Listed(outcome.verdict == ScsiVerdict::kDone ? Status::Ok() : outcome.status);
    }
    std::shared_ptr<Discovery> discovery;  // held while asking
  };

  std::shared_ptr<IscsiSession> NewSession(const std::string& target, bool discovery) {
    auto wanted = std::make_shared<IscsiTarget>(seeker_);
    wanted->name = target;
    wanted->lun = 0;
    return IscsiSession::Create(loop_, library_, {numeric_, std::move(wanted), name_.isid, name_.qualifier, discovery});
  }

  void AskPortal() {
    session_ = NewSession("", true);
    session_->Start(
        [self = shared_from_this()] {
          self->session_->WhenEnded(nullptr);
          self->session_->Discover([self](Status status, const libiscsi::Target* found) { self->Told(status, found); });
        },
        [self = shared_from_this()](Status status) { self->done_(status, {}); });
  }

  void Told(Status status, const libiscsi::Target* found) {
    for (; found; found = found->next) {
      FoundTarget target;
      target.name = found->name;
      for (const libiscsi::Portal* portal = found->portals; portal; portal = portal->next) {
        std::string address = portal->portal;
        target.portals.push_back(address.substr(0, address.find(',')));
      }
      targets_.push_back(std::move(target));
    }
    std::exchange(session_, nullptr)->Close(Status::Ok());
    if (!status.ok()) return done_(status, {});
    loop_.Post([self = shared_from_this()] { self->NextTarget(); });
  }

  void NextTarget() {
    if (at_target_ == targets_.size()) return done_(Status::Ok(), std::move(targets_));
    session_ = NewSession(targets_[at_target_].name, false);
    session_->Start(
        [self = shared_from_this()] {
          self->session_->WhenEnded(nullptr);
          self->AskLuns();
        },
        [self = shared_from_this()](Status status) { self->TargetDone(status); });
  }

  void AskLuns() {
    answer_.fill(0);
    piece_ = {answer_.data(), answer_.size()};
    ScsiCommand& command = listing_.command();
    command.cdb = scsi::ReportLuns(static_cast<uint32_t>(answer_.size()));
    command.transfer = libiscsi::kFromTarget;
    command.iov = &piece_;
    command.iov_count = 1;
    command.bytes = static_cast<uint32_t>(answer_.size());
    listing_.discovery = shared_from_this();
    listing_.Begin(session_, seeker_.answer_limit, true);
  }

  void Listed(Status status) {
    std::exchange(session_, nullptr)->Close(Status::Ok());
    if (!status.ok()) return TargetDone(status);
    for (uint32_t number : scsi::ParseLuns(answer_)) targets_[at_target_].luns.push_back({number, {}, {}});
    at_lun_ = 0;
    loop_.Post([self = shared_from_this()] { self->NextLun(); });
  }

  void NextLun() {
    FoundTarget& target = targets_[at_target_];
    if (at_lun_ == target.luns.size()) return TargetDone(Status::Ok());
    auto wanted = std::make_shared<IscsiTarget>(seeker_);
    wanted->name = target.name;
    wanted->lun = target.luns[at_lun_].number;
    dial_ = IscsiDial::Start(loop_, library_, std::move(wanted), seeker_.portals.front(), name_,
                             [self = shared_from_this()](Status status, auto session, const IscsiLun& lun) {
                               if (session) session->Close(Status::Ok());
                               FoundLun& found = self->targets_[self->at_target_].luns[self->at_lun_++];
                               found.status = status;
                               found.lun = lun;
                               self->loop_.Post([self] { self->NextLun(); });
                             });
  }

  void TargetDone(Status status) {
    session_ = nullptr;
    targets_[at_target_++].status = status;
    loop_.Post([self = shared_from_this()] { self->NextTarget(); });
  }

  EventLoop& loop_;
  const libiscsi::Functions& library_;
  const IscsiTarget seeker_;
  const Done done_;
  std::string numeric_;
  IscsiSessionName name_;
  std::shared_ptr<IscsiSession> session_;
  std::shared_ptr<IscsiDial> dial_;
  Listing listing_;
  std::array<uint8_t, kLunListBytes> answer_{};
  iovec piece_{};
  std::vector<FoundTarget> targets_;
  size_t at_target_ = 0, at_lun_ = 0;
};

}  // namespace

void DiscoverIscsi(EventLoop& loop, IscsiTarget seeker, std::function<void(Status, std::vector<FoundTarget>)> done) {
  const libiscsi::Functions* library = nullptr;
  if (Status status = libiscsi::Load(&library); !status.ok()) {
    return loop.Post([done = std::move(done), status] { done(status, {}); });
  }
  auto discovery = std::make_shared<Discovery>(loop, *library, std::move(seeker), std::move(done));
  loop.Post([discovery] { discovery->Start(); });
}

}  // namespace varve
