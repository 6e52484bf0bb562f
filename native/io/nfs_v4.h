// NfsV4: version 4.0 of the protocol (RFC 7530), without open files: nothing to lose when the server restarts, no lease to renew.
#pragma once

#include "io/nfs_protocol.h"

namespace varve {

class NfsV4 final : public NfsProtocol {
 public:
  explicit NfsV4(const NfsLibrary& library) : library_(library) {}

  bool Lookup(NfsRpc& rpc, const NfsHandle& folder, const std::string& name, NfsCall* call) override;
  bool Attributes(NfsRpc& rpc, const NfsHandle& file, NfsCall* call) override;
  bool Limits(NfsRpc& rpc, const NfsHandle& file, NfsCall* call) override;
  bool Read(NfsRpc& rpc, const NfsHandle& file, uint64_t offset, uint32_t bytes, NfsCall* call) override;
  bool Write(NfsRpc& rpc, const NfsHandle& file, uint64_t offset, const std::byte* data, uint32_t bytes,
             NfsDurability durability, NfsCall* call) override;
  bool Commit(NfsRpc& rpc, const NfsHandle& file, NfsCall* call) override;

 private:
  const NfsLibrary& library_;
};

}  // namespace varve
