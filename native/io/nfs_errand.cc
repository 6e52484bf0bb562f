#include "io/nfs_errand.h"

#include <cstring>
#include <memory>
#include <utility>

#include "io/nfs_dial.h"

namespace varve {

namespace {

constexpr std::chrono::milliseconds kTimeLimit{10'000};
constexpr u_int kFileMode = 0600;
constexpr count3 kListBytes = 64 * 1024;

// What the errands share: reach the server, ask, end once. Deletes itself then.
class Errand {
 public:
  virtual ~Errand() = default;

  void Start(EventLoop& loop, NfsAddress address, NfsDial::Goal goal) {
    address.version = 3;
    loop_ = &loop;
    address_ = std::move(address);
    loop.Post([this, goal] { Dial(goal); });
  }

 protected:
  // The server is reached.
  virtual void Ask() = 0;
  virtual void Report(Status status) = 0;

  // The errand is over; this object goes in a later turn, outside of libnfs.
  void End(Status status) {
    if (std::exchange(ended_, true)) return;
    loop_->CancelTimer(&timer_);
    loop_->Post([this, status] {
      reached_.rpc.reset();
      Report(status);
      delete this;
    });
  }
  // The end of a question's submission and of its answer. True: go on.
  void Queued(int result, const char* what) {
    if (result == 0) reached_.rpc->Queued();
    else End(Status(ENOMEM, what));
  }
  bool Answered(int rpc_status, int nfs_status, const char* what) {
    if (ended_) return false;
    int error = rpc_status == RPC_STATUS_SUCCESS ? NfsErrno(nfs_status) : ECONNRESET;
    if (error != 0) End(Status(error, what));
    return error == 0;
  }

  rpc_context* context() { return reached_.rpc->context(); }
  nfs_fh3 folder() {
    nfs_fh3 handle{};
    handle.data.data_len = static_cast<u_int>(reached_.folder.size());
    handle.data.data_val = reached_.folder.data();
    return handle;
  }

  const NfsLibrary* library_ = nullptr;
  NfsAddress address_;

 private:
  struct Limit : Timer {
    explicit Limit(Errand* owner) : Timer(OnDue), errand(owner) {}
    static void OnDue(Timer* self) { static_cast<Limit*>(self)->errand->End(Status(ETIMEDOUT, "reach the NFS server")); }
    Errand* errand;
  };

  void Dial(NfsDial::Goal goal) {
    if (Status status = NfsLibrary::Load(&library_); !status.ok()) return End(status);
    loop_->SetTimer(&timer_, kTimeLimit);
    dial_ = std::make_unique<NfsDial>(*library_, *loop_, address_, goal, [this](Status status, NfsReached reached) {
      reached_ = std::move(reached);
      if (!status.ok()) return End(status);
      reached_.rpc->on_broken = [this](Status broken) { End(broken); };
      Ask();
    });
  }

  EventLoop* loop_ = nullptr;
  std::unique_ptr<NfsDial> dial_;
  NfsReached reached_;
  bool ended_ = false;
  Limit timer_{this};
};

// ---- a file

class Creation final : public Errand {
 public:
  Creation(uint64_t size_bytes, std::function<void(Status)> done) : size_bytes_(size_bytes), done_(std::move(done)) {}

 private:
  static constexpr const char* kWhat = "create a file on the NFS server";

  void Report(Status status) override { done_(status); }

  void Ask() override {
    name_ = address_.name();
    CREATE3args args{};
    args.where = {folder(), name_.data()};
    args.how.mode = GUARDED;
    sattr3& attributes = args.how.createhow3_u.g_obj_attributes;
    attributes.mode.set_it = 1;
    attributes.mode.set_mode3_u.mode = kFileMode;
    Queued(library_->rpc_nfs3_create_async(context(), OnCreated, &args, this), kWhat);
  }

  static void OnCreated(rpc_context*, int status, void* data, void* self) {
    auto* creation = static_cast<Creation*>(self);
    auto* result = static_cast<CREATE3res*>(data);
    bool performed = status == RPC_STATUS_SUCCESS;
    if (!creation->Answered(status, performed ? NumberOf(result->status) : 0, kWhat)) return;
    post_op_fh3& object = result->CREATE3res_u.resok.obj;
    if (!object.handle_follows) return creation->End(Status(EIO, kWhat));
    creation->SetSize(object.post_op_fh3_u.handle);
  }

  void SetSize(const nfs_fh3& file) {
    SETATTR3args args{};
    args.object = file;
    args.new_attributes.size.set_it = 1;
    args.new_attributes.size.set_size3_u.size = size_bytes_;
    Queued(library_->rpc_nfs3_setattr_async(context(), OnSized, &args, this), kWhat);
  }

  static void OnSized(rpc_context*, int status, void* data, void* self) {
    auto* creation = static_cast<Creation*>(self);
    if (status != RPC_STATUS_SUCCESS) return creation->End(Status(ECONNRESET, kWhat));
    creation->error_ = NfsErrno(NumberOf(static_cast<SETATTR3res*>(data)->status));
    if (creation->error_ == 0) creation->End(Status::Ok());
    else creation->RemoveAgain();
  }

  void RemoveAgain() {
    REMOVE3args args{{folder(), name_.data()}};
    Queued(library_->rpc_nfs3_remove_async(context(), OnRemoved, &args, this), kWhat);
  }

  static void OnRemoved(rpc_context*, int, void*, void* self) {
    auto* creation = static_cast<Creation*>(self);
    creation->End(Status(creation->error_, kWhat));
  }

  const uint64_t size_bytes_;
  const std::function<void(Status)> done_;
  std::string name_;
  int error_ = 0;  // why the file is removed again
};

class Removal final : public Errand {
 public:
  explicit Removal(std::function<void(Status)> done) : done_(std::move(done)) {}

 private:
  static constexpr const char* kWhat = "remove a file on the NFS server";

  void Report(Status status) override { done_(status.error() == ENOENT ? Status::Ok() : status); }

  void Ask() override {
    std::string name = address_.name();
    REMOVE3args args{{folder(), name.data()}};
    Queued(library_->rpc_nfs3_remove_async(context(), OnRemoved, &args, this), kWhat);
  }

  static void OnRemoved(rpc_context*, int status, void* data, void* self) {
    auto* removal = static_cast<Removal*>(self);
    int nfs_status = status == RPC_STATUS_SUCCESS ? NumberOf(static_cast<REMOVE3res*>(data)->status) : 0;
    if (removal->Answered(status, nfs_status, kWhat)) removal->End(Status::Ok());
  }

  const std::function<void(Status)> done_;
};

// ---- lists

class FolderList final : public Errand {
 public:
  explicit FolderList(NfsListed done) : done_(std::move(done)) {}

 private:
  static constexpr const char* kWhat = "list the folder on the NFS server";

  void Report(Status status) override { done_(status, std::move(entries_)); }

  void Ask() override {
    READDIRPLUS3args args{folder(), cookie_, {}, kListBytes, kListBytes};
    memcpy(args.cookieverf, verifier_, sizeof verifier_);
    Queued(library_->rpc_nfs3_readdirplus_async(context(), OnListed, &args, this), kWhat);
  }

  static void OnListed(rpc_context*, int status, void* data, void* self) {
    auto* list = static_cast<FolderList*>(self);
    auto* result = static_cast<READDIRPLUS3res*>(data);
    bool performed = status == RPC_STATUS_SUCCESS;
    if (!list->Answered(status, performed ? NumberOf(result->status) : 0, kWhat)) return;
    READDIRPLUS3resok& part = result->READDIRPLUS3res_u.resok;
    for (const entryplus3* next = part.reply.entries; next;) {
      entryplus3 entry = Unaligned(next);
      list->Take(entry);
      next = entry.nextentry;
    }
    memcpy(list->verifier_, part.cookieverf, sizeof list->verifier_);
    if (part.reply.eof || !part.reply.entries) list->End(Status::Ok());
    else list->Ask();
  }

  void Take(const entryplus3& entry) {
    cookie_ = entry.cookie;
    if (!entry.name_attributes.attributes_follow) return;
    const fattr3& attributes = entry.name_attributes.post_op_attr_u.attributes;
    bool is_folder = attributes.type == NF3DIR, is_dots = !strcmp(entry.name, ".") || !strcmp(entry.name, "..");
    if (is_dots || (!is_folder && attributes.type != NF3REG)) return;
    entries_.push_back({entry.name, is_folder, is_folder ? 0 : attributes.size});
  }

  const NfsListed done_;
  std::vector<NfsEntry> entries_;
  cookie3 cookie_ = 0;
  cookieverf3 verifier_{};
};

class ExportList final : public Errand {
 public:
  explicit ExportList(NfsListed done) : done_(std::move(done)) {}

 private:
  static constexpr const char* kWhat = "list the NFS server's exports";

  void Report(Status status) override { done_(status, std::move(entries_)); }

  void Ask() override { Queued(library_->rpc_mount3_export_async(context(), OnListed, this), kWhat); }

  static void OnListed(rpc_context*, int status, void* data, void* self) {
    auto* list = static_cast<ExportList*>(self);
    if (!list->Answered(status, 0, kWhat)) return;
    for (const exportnode* next = *static_cast<exports*>(data); next;) {
      exportnode node = Unaligned(next);
      list->entries_.push_back({node.ex_dir, true, 0});
      next = node.ex_next;
    }
    list->End(Status::Ok());
  }

  const NfsListed done_;
  std::vector<NfsEntry> entries_;
};

}  // namespace

void CreateNfsFile(EventLoop& loop, NfsAddress address, uint64_t size_bytes, std::function<void(Status)> done) {
  (new Creation(size_bytes, std::move(done)))->Start(loop, std::move(address), NfsDial::Goal::kFolder);
}

void RemoveNfsFile(EventLoop& loop, NfsAddress address, std::function<void(Status)> done) {
  (new Removal(std::move(done)))->Start(loop, std::move(address), NfsDial::Goal::kFolder);
}

void ListNfsFolder(EventLoop& loop, NfsAddress address, NfsListed done) {
  // The dial reaches the folder in which a path ends.
  if (!address.path.ends_with('/')) address.path += '/';
  (new FolderList(std::move(done)))->Start(loop, std::move(address), NfsDial::Goal::kFolder);
}

void ListNfsExports(EventLoop& loop, NfsAddress address, NfsListed done) {
  (new ExportList(std::move(done)))->Start(loop, std::move(address), NfsDial::Goal::kMountService);
}

}  // namespace varve
