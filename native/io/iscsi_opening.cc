// Opening an iSCSI disk: every portal is looked at, in order; the first that works carries the disk.
#include <memory>
#include <random>
#include <utility>

#include "io/iscsi_disk.h"

namespace varve {

namespace {

class Opening : public std::enable_shared_from_this<Opening> {
 public:
  using Done = std::function<void(Status, OpenedIscsiDisk)>;

  Opening(EventLoop& home, const libiscsi::Functions& library, IscsiCore::Options options, Done done)
      : home_(home), library_(library), options_(std::move(options)), done_(std::move(done)) {
    for (const std::string& portal : options_.target->portals) opened_.paths.push_back({portal, IscsiPath::State::kUnknown, {}});
    // Only to tell our sessions apart at the target.
    opened_.name = {static_cast<uint32_t>(std::random_device{}()) & 0xffffff, 1};
  }

  void Next() {
    if (next_ == opened_.paths.size()) return Finish();
    size_t index = next_++;
    IscsiSessionName name = opened_.name;
    if (opened_.session) name.qualifier = 2;
    dial_ = IscsiDial::Start(home_, library_, options_.target, opened_.paths[index].portal, name,
                             [self = shared_from_this(), index](Status status, auto session, const IscsiLun& lun) {
                               self->dial_ = nullptr;
                               self->Seen(index, status, std::move(session), lun);
                             });
  }

 private:
  void Seen(size_t index, Status status, std::shared_ptr<IscsiSession> session, const IscsiLun& lun) {
    IscsiPath& path = opened_.paths[index];
    path.state = status.ok() ? IscsiPath::State::kStandby : IscsiPath::State::kFailed;
    path.why = status;
    if (!status.ok()) {
      if (first_failure_.ok()) first_failure_ = status;
      return Next();
    }
    if (opened_.session) {
      session->Close(Status::Ok());
      Status same = SameLun(opened_.lun, lun);
      return same.ok() ? Next() : Fail(same);
    }
    path.state = IscsiPath::State::kActive;
    opened_.active = index;
    opened_.session = std::move(session);
    opened_.lun = lun;
    if (Status fit = Fit(); !fit.ok()) return Fail(fit);
    Next();
  }

  Status Fit() const {
    if (opened_.lun.mode.write_protected && !options_.read_only) return Status(EROFS, "the LUN is write-protected");
    bool comparable = opened_.paths.size() == 1 || !opened_.lun.designators.empty();
    if (!comparable) return Status(ENOTUNIQ, "the LUN has no NAA or EUI name by which its portals could be compared");
    return Status::Ok();
  }

  void Finish() {
    if (!opened_.session) return Fail(first_failure_);
    if (!opened_.session->logged_in()) return Fail(Status(ECONNRESET, "the iSCSI session was lost"));
    OpenedIscsiDisk result;
    result.lun = opened_.lun;
    auto core = std::make_shared<IscsiCore>(home_, library_, std::move(options_), std::move(opened_));
    core->Start();
    result.disk = std::make_shared<IscsiDisk>(std::move(core));
    done_(Status::Ok(), std::move(result));
  }

  void Fail(Status status) {
    if (opened_.session) opened_.session->Close(status);
    done_(status, {});
  }

  EventLoop& home_;
  const libiscsi::Functions& library_;
  IscsiCore::Options options_;
  const Done done_;
  IscsiLink::Opened opened_;
  std::shared_ptr<IscsiDial> dial_;
  size_t next_ = 0;
  Status first_failure_;
};

}  // namespace

void OpenIscsiDisk(EventLoop& home, IscsiCore::Options options, std::function<void(Status, OpenedIscsiDisk)> done) {
  const libiscsi::Functions* library = nullptr;
  if (Status status = libiscsi::Load(&library); !status.ok()) {
    return home.Post([done = std::move(done), status] { done(status, {}); });
  }
  auto opening = std::make_shared<Opening>(home, *library, std::move(options), std::move(done));
  home.Post([opening] { opening->Next(); });
}

}  // namespace varve
