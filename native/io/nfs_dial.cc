#include "io/nfs_dial.h"

#include <netdb.h>
#include <netinet/in.h>

#include <utility>
#include <vector>

#include "io/nfs_compound.h"

namespace varve {

namespace {

constexpr int kNfsPort = 2049;
constexpr int kRpcbindPort = 111;

std::string WithoutBrackets(const std::string& host) {
  return host.starts_with('[') ? host.substr(1, host.size() - 2) : host;
}

// May wait for a name server.
Status ResolveName(const std::string& host, std::string* address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int result = getaddrinfo(WithoutBrackets(host).c_str(), nullptr, &hints, &found);
  if (result != 0) return Status(result == EAI_AGAIN ? ETIMEDOUT : EHOSTUNREACH, "look up the NFS server's name");
  char numeric[NI_MAXHOST];
  result = getnameinfo(found->ai_addr, found->ai_addrlen, numeric, sizeof numeric, nullptr, 0, NI_NUMERICHOST);
  freeaddrinfo(found);
  if (result != 0) return Status(EHOSTUNREACH, "look up the NFS server's name");
  *address = numeric;
  return Status::Ok();
}

// A lookup under way; the dial may be gone when it ends.
struct NameLookup : Completion {
  NameLookup(std::string name, std::function<void(Status, const std::string&)> found)
      : Completion(OnEnd), host(std::move(name)), done(std::move(found)) {}
  static void OnEnd(Completion* self, Status status) {
    std::unique_ptr<NameLookup> lookup(static_cast<NameLookup*>(self));
    lookup->done(status, lookup->address);
  }
  const std::string host;
  std::string address;
  std::function<void(Status, const std::string&)> done;
};

// There is no such export: another thing than no such file.
int MountErrno(int status) { return status == MNT3ERR_NOENT ? ENXIO : NfsErrno(status); }

}  // namespace

NfsDial::NfsDial(const NfsLibrary& library, EventLoop& loop, NfsAddress address, Goal goal, Done done)
    : library_(library), loop_(loop), address_(std::move(address)), goal_(goal), done_(std::move(done)) {
  Resolve();
}

NfsDial::~NfsDial() = default;

void NfsDial::Later(std::function<void()> work) {
  loop_.Post([alive = std::weak_ptr<bool>(alive_), work = std::move(work)] {
    if (!alive.expired()) work();
  });
}

void NfsDial::Resolve() {
  auto* lookup = new NameLookup(address_.host, [this, alive = std::weak_ptr<bool>(alive_)](Status status, const std::string& address) {
    if (alive.expired()) return;
    if (!status.ok()) return Fail(status);
    peer_ = address;
    if (address_.version == 4 && goal_ == Goal::kFolder) ConnectToNfs();
    else if (address_.mount_port != 0) ConnectToMount(address_.mount_port);
    else AskMountPort();
  });
  loop_.RunBlocking([lookup] { return ResolveName(lookup->host, &lookup->address); }, lookup);
}

void NfsDial::ConnectTo(int port, int program, int version, std::function<void()> connected) {
  rpc_ = std::make_unique<NfsRpc>(library_, loop_);
  rpc_->on_broken = [this](Status status) { Fail(status); };
  rpc_->Connect(peer_, port, program, version, [this, connected = std::move(connected)](Status status) {
    if (status.ok()) connected();
    else Fail(status);
  });
}

void NfsDial::AskMountPort() {
  ConnectTo(kRpcbindPort, PMAP_PROGRAM, PMAP_V2, [this] {
    int queued = library_.rpc_pmap2_getport_async(rpc_->context(), MOUNT_PROGRAM, MOUNT_V3, IPPROTO_TCP, OnMountPort, this);
    if (queued != 0) return Later([this] { Fail(Status(ENOMEM, "ask for the mount service")); });
    rpc_->Queued();
  });
}

void NfsDial::OnMountPort(rpc_context*, int status, void* data, void* self) {
  auto* dial = static_cast<NfsDial*>(self);
  if (status == RPC_STATUS_CANCEL) return;
  int port = status == RPC_STATUS_SUCCESS ? static_cast<int>(*static_cast<uint32_t*>(data)) : 0;
  dial->Later([dial, port] {
    if (port != 0) dial->ConnectToMount(port);
    else dial->Fail(Status(ECONNREFUSED, "ask the server's rpcbind for its mount service"));
  });
}

void NfsDial::ConnectToMount(int port) {
  ConnectTo(port, MOUNT_PROGRAM, MOUNT_V3, [this] {
    if (goal_ == Goal::kFolder) Mount();
    else Later([this] { Succeed(); });
  });
}

void NfsDial::Mount() {
  std::string folder = address_.folder();
  if (library_.rpc_mount3_mnt_async(rpc_->context(), OnMounted, folder.data(), this) != 0) {
    return Later([this] { Fail(Status(ENOMEM, "mount the NFS export")); });
  }
  rpc_->Queued();
}

void NfsDial::OnMounted(rpc_context*, int status, void* data, void* self) {
  auto* dial = static_cast<NfsDial*>(self);
  if (status == RPC_STATUS_CANCEL) return;
  int error = ECONNRESET;
  if (status == RPC_STATUS_SUCCESS) {
    auto* result = static_cast<mountres3*>(data);
    error = MountErrno(result->fhs_status);
    const fhandle3& handle = result->mountres3_u.mountinfo.fhandle;
    if (error == 0) dial->folder_.assign(handle.fhandle3_val, handle.fhandle3_len);
  }
  dial->Later([dial, error] {
    if (error == 0) dial->ConnectToNfs();
    else dial->Fail(Status(error, "mount the NFS export"));
  });
}

void NfsDial::ConnectToNfs() {
  int port = address_.nfs_port != 0 ? address_.nfs_port : kNfsPort;
  ConnectTo(port, NFS_PROGRAM, address_.version, [this] {
    if (address_.version == 4) WalkFromRoot();
    else Later([this] { Succeed(); });
  });
}

void NfsDial::WalkFromRoot() {
  NfsCompound compound;
  compound.PutRoot();
  std::string folder = address_.folder();
  std::vector<std::string> names = PathNames(folder);
  for (const std::string& name : names) compound.Lookup(name);
  compound.GetHandle();
  if (!compound.Queue(library_, *rpc_, OnWalked, this)) Later([this] { Fail(Status(ENOMEM, "find the folder on the NFS server")); });
}

void NfsDial::OnWalked(rpc_context*, int status, void* data, void* self) {
  auto* dial = static_cast<NfsDial*>(self);
  if (status == RPC_STATUS_CANCEL) return;
  int error = ECONNRESET;
  if (status == RPC_STATUS_SUCCESS) {
    auto* result = static_cast<COMPOUND4res*>(data);
    error = NfsErrno(result->status);
    // What is no folder of an export is no export: another thing than no such file.
    if (error == ENOENT || error == ENOTDIR) error = ENXIO;
    if (error == 0) dial->folder_ = HandleFrom(*result);
  }
  dial->Later([dial, error] {
    if (error == 0) dial->Succeed();
    else dial->Fail(Status(error, "find the folder on the NFS server"));
  });
}

void NfsDial::Succeed() {
  rpc_->on_broken = nullptr;
  Done done = std::move(done_);
  done(Status::Ok(), {std::move(rpc_), folder_, peer_});
}

void NfsDial::Fail(Status status) {
  if (!done_) return;
  Done done = std::move(done_);
  done(status, {});
}

}  // namespace varve
