#include "io/iscsi_dial.h"

#include <utility>

namespace varve {

namespace {
constexpr int kRedirectionsMax = 4;
}

std::shared_ptr<IscsiDial> IscsiDial::Start(EventLoop& loop, const libiscsi::Functions& library,
                                            std::shared_ptr<const IscsiTarget> target, const std::string& portal,
                                            IscsiSessionName name, Done done) {
  std::shared_ptr<IscsiDial> dial(new IscsiDial(loop, library, std::move(target), name, std::move(done)));
  dial->Resolve(portal);
  return dial;
}

IscsiDial::IscsiDial(EventLoop& loop, const libiscsi::Functions& library, std::shared_ptr<const IscsiTarget> target,
                     IscsiSessionName name, Done done)
    : loop_(loop),
      library_(library),
      target_(std::move(target)),
      name_(name),
      done_(std::move(done)),
      redirections_left_(kRedirectionsMax) {}

void IscsiDial::Resolve(const std::string& portal) {
  ResolvePortal(loop_, portal, [self = shared_from_this()](Status status, const std::string& numeric) {
    if (!self->done_) return;
    if (status.ok()) self->Connect(numeric);
    else self->Finish(status, {});
  });
}

void IscsiDial::Connect(const std::string& numeric) {
  IscsiSession::Options options{numeric, target_, name_.isid, name_.qualifier, false};
  session_ = IscsiSession::Create(loop_, library_, std::move(options));
  session_->Start([self = shared_from_this()] { self->Inspect(); },
                  [self = shared_from_this()](Status status) { self->Failed(status); });
}

void IscsiDial::Failed(Status status) {
  std::string elsewhere = session_->redirected_to();
  bool follow = status.error() == EREMCHG && !elsewhere.empty() && redirections_left_-- > 0;
  if (!follow) return Finish(status, {});
  // A portal group's tag may stand behind a comma.
  Resolve(elsewhere.substr(0, elsewhere.find(',')));
}

void IscsiDial::Inspect() {
  // The end of the session comes as the end of the inspection's command.
  session_->WhenEnded(nullptr);
  InspectLun(loop_, session_, target_->answer_limit, [self = shared_from_this()](Status status, const IscsiLun& lun) {
    if (self->done_) self->Finish(status, lun);
  });
}

void IscsiDial::Finish(Status status, const IscsiLun& lun) {
  std::shared_ptr<IscsiSession> session = std::exchange(session_, nullptr);
  if (!status.ok() && session) std::exchange(session, nullptr)->Close(status);
  std::exchange(done_, nullptr)(status, std::move(session), lun);
}

void IscsiDial::Cancel() {
  done_ = nullptr;
  if (session_) std::exchange(session_, nullptr)->Close(Status(ECANCELED, "close the iSCSI disk"));
}

}  // namespace varve
