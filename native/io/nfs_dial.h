// NfsDial: from a server's name to a connection on which the folder of a file can be asked for.
//
//   name ─▶ address ─▶ v3: (rpcbind ─▶) mountd ─▶ NFS
//                      v4: NFS ─▶ walk from the root
//
// Guarantees: nothing blocks the loop; `done` runs once, from the loop and outside of libnfs, and may destroy the dial; a dial that
// is destroyed before reports nothing. It has no time limit: its owner has.
// Thread: the loop's.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "io/nfs_address.h"
#include "io/nfs_protocol.h"

namespace varve {

struct NfsReached {
  std::unique_ptr<NfsRpc> rpc;  // to the NFS program
  NfsHandle folder;
  std::string peer;  // the server's numeric address
};

class NfsDial {
 public:
  using Done = std::function<void(Status, NfsReached)>;
  enum class Goal : uint8_t { kFolder, kMountService };

  // goal: kMountService ends with a connection to mountd, and no folder.
  NfsDial(const NfsLibrary& library, EventLoop& loop, NfsAddress address, Goal goal, Done done);
  ~NfsDial();

 private:
  void Resolve();
  void ConnectTo(int port, int program, int version, std::function<void()> connected);
  void AskMountPort();
  void ConnectToMount(int port);
  void Mount();
  void ConnectToNfs();
  void WalkFromRoot();
  void Succeed();
  void Fail(Status status);
  // Runs work from the loop, outside of libnfs, unless the dial is gone by then.
  void Later(std::function<void()> work);

  static void OnMountPort(rpc_context*, int status, void* data, void* self);
  static void OnMounted(rpc_context*, int status, void* data, void* self);
  static void OnWalked(rpc_context*, int status, void* data, void* self);

  const NfsLibrary& library_;
  EventLoop& loop_;
  const NfsAddress address_;
  const Goal goal_;
  Done done_;
  std::string peer_;
  std::unique_ptr<NfsRpc> rpc_;
  NfsHandle folder_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace varve
