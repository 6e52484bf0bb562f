// IscsiDial: from a portal's name to a session that is logged in, and what its LUN says.
//
//   resolve ─▶ connect, log in (following redirections) ─▶ inspect ─▶ done
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "io/iscsi_lun.h"
#include "io/iscsi_session.h"

namespace varve {

// The numbers by which a target tells one session of an initiator from another.
struct IscsiSessionName {
  uint32_t isid = 0, qualifier = 0;
};

class IscsiDial : public std::enable_shared_from_this<IscsiDial> {
 public:
  // session: logged in, its WhenEnded() for the receiver to set; null unless ok.
  using Done = std::function<void(Status, std::shared_ptr<IscsiSession> session, const IscsiLun& lun)>;

  // Begins at once; done runs once from the loop, unless cancelled.
  static std::shared_ptr<IscsiDial> Start(EventLoop& loop, const libiscsi::Functions& library,
                                          std::shared_ptr<const IscsiTarget> target, const std::string& portal,
                                          IscsiSessionName name, Done done);
  void Cancel();

 private:
  IscsiDial(EventLoop& loop, const libiscsi::Functions& library, std::shared_ptr<const IscsiTarget> target,
            IscsiSessionName name, Done done);
  void Resolve(const std::string& portal);
  void Connect(const std::string& numeric);
  void Failed(Status status);
  void Inspect();
  void Finish(Status status, const IscsiLun& lun);

  EventLoop& loop_;
  const libiscsi::Functions& library_;
  const std::shared_ptr<const IscsiTarget> target_;
  const IscsiSessionName name_;
  Done done_;  // null: cancelled or finished
  std::shared_ptr<IscsiSession> session_;
  int redirections_left_;
};

}  // namespace varve
