// NfsProtocol: what a disk asks of an NFS server, in the words of one version of the protocol.
//
// Stateless in both versions: files are reached by handle, v4 with the anonymous stateid, so that a server may restart without
// anything to reclaim. Whoever needs another question of the server adds it here, for both.
// Thread: the connection's loop.
// Source: RFC 1813 (v3), RFC 7530 (v4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "io/nfs_rpc.h"

namespace varve {

using NfsHandle = std::string;  // opaque bytes

struct NfsAttributes {
  enum class Kind : uint8_t { kOther, kFile, kFolder } kind = Kind::kOther;
  uint64_t size_bytes = 0;
  uint64_t filesystem = 0, file = 0;  // together the same for every name of a file
};

// The largest transfers the server takes.
struct NfsLimits {
  uint32_t read_bytes = 0, write_bytes = 0;
};

enum class NfsDurability : uint8_t { kUnstable, kFileSync };

// An answer. error: errno of the server's status, ECONNRESET when none came; the rest as the question has it.
struct NfsReply {
  int error = 0;
  uint64_t bytes = 0;               // read or written
  const std::byte* data = nullptr;  // read; lent until the call returns
  bool end_of_file = false;
  bool durable = false;   // written and safe already
  uint64_t verifier = 0;  // of write and commit: another one means that the server restarted
  NfsHandle handle{};
  NfsAttributes attributes{};
  NfsLimits limits{};
};

// Whoever waits for an answer; called exactly once per question, also when the connection goes.
struct NfsCall {
  using Fn = void (*)(NfsCall* self, const NfsReply& reply);
  explicit NfsCall(Fn fn) : done(fn) {}
  Fn done;
};

class NfsProtocol {
 public:
  virtual ~NfsProtocol() = default;

  // False: out of memory, the call will not be answered. Arguments are lent for the call.
  virtual bool Lookup(NfsRpc& rpc, const NfsHandle& folder, const std::string& name, NfsCall* call) = 0;
  virtual bool Attributes(NfsRpc& rpc, const NfsHandle& file, NfsCall* call) = 0;
  virtual bool Limits(NfsRpc& rpc, const NfsHandle& file, NfsCall* call) = 0;
  virtual bool Read(NfsRpc& rpc, const NfsHandle& file, uint64_t offset, uint32_t bytes, NfsCall* call) = 0;
  virtual bool Write(NfsRpc& rpc, const NfsHandle& file, uint64_t offset, const std::byte* data, uint32_t bytes,
                     NfsDurability durability, NfsCall* call) = 0;
  // All of the file.
  virtual bool Commit(NfsRpc& rpc, const NfsHandle& file, NfsCall* call) = 0;
};

// version: 3 or 4.
NfsProtocol& NfsProtocolOf(const NfsLibrary& library, int version);

// errno of a status of either version, which agree where it matters. A server that is busy or in its grace period: ETIMEDOUT.
int NfsErrno(int status);

}  // namespace varve
