// NfsCompound: one COMPOUND of NFS version 4, put together operation by operation.
//
// Arguments are lent until Queue() has returned. Source: RFC 7530.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/nfs_protocol.h"

namespace varve {

class NfsCompound {
 public:
  void PutRoot() { Add(OP_PUTROOTFH); }
  void PutHandle(const NfsHandle& handle);
  void Lookup(const std::string& name);
  void GetHandle() { Add(OP_GETFH); }
  // Type, size, filesystem, file, largest read and write.
  void GetAttributes();
  void Read(uint64_t offset, uint32_t bytes);
  void Write(uint64_t offset, const std::byte* data, uint32_t bytes, NfsDurability durability);
  void Commit();

  // False: the compound cannot be encoded; `done` will not run.
  bool Queue(const NfsLibrary& library, NfsRpc& rpc, rpc_cb done, void* context);

 private:
  nfs_argop4& Add(nfs_opnum4 op);

  std::vector<nfs_argop4> operations_;
  std::array<uint32_t, 2> attributes_{};
};

// Names of a path, without the empty ones.
std::vector<std::string> PathNames(const std::string& path);

// The result of the operation of that kind in a compound that succeeded; none when it was not asked.
std::optional<nfs_resop4> FindResult(const COMPOUND4res& result, nfs_opnum4 op);
NfsHandle HandleFrom(const COMPOUND4res& result);
// What GetAttributes asked for and the server told.
void AttributesFrom(const COMPOUND4res& result, NfsAttributes* attributes, NfsLimits* limits);

}  // namespace varve
