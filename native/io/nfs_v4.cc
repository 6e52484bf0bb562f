#include "io/nfs_v4.h"

#include <algorithm>
#include <cstring>

#include "io/nfs_compound.h"

namespace varve {

namespace {

// libnfs 4.0.0 encodes a compound into 4 KiB, whatever it carries.
constexpr uint32_t kWriteBytesMax = 3 * 1024;
// Of a server that does not tell.
constexpr uint32_t kReadBytesDefault = 64 * 1024;

uint64_t VerifierOf(const char* bytes) {
  uint64_t verifier;
  memcpy(&verifier, bytes, sizeof verifier);
  return verifier;
}

void DecodeRead(const nfs_resop4& result, NfsReply* reply) {
  const READ4resok& read = result.nfs_resop4_u.opread.READ4res_u.resok4;
  reply->data = reinterpret_cast<const std::byte*>(read.data.data_val);
  reply->bytes = read.data.data_len;
  reply->end_of_file = read.eof != 0;
}

void DecodeWrite(const nfs_resop4& result, NfsReply* reply) {
  const WRITE4resok& written = result.nfs_resop4_u.opwrite.WRITE4res_u.resok4;
  reply->bytes = written.count;
  reply->durable = NumberOf(written.committed) != UNSTABLE4;
  reply->verifier = VerifierOf(written.writeverf);
}

void Decode(const COMPOUND4res& result, NfsReply* reply) {
  reply->error = NfsErrno(NumberOf(result.status));
  if (reply->error != 0) return;
  reply->handle = HandleFrom(result);
  AttributesFrom(result, &reply->attributes, &reply->limits);
  if (auto read = FindResult(result, OP_READ)) DecodeRead(*read, reply);
  if (auto write = FindResult(result, OP_WRITE)) DecodeWrite(*write, reply);
  if (auto commit = FindResult(result, OP_COMMIT)) {
    reply->verifier = VerifierOf(commit->nfs_resop4_u.opcommit.COMMIT4res_u.resok4.writeverf);
  }
  if (reply->limits.read_bytes == 0) reply->limits.read_bytes = kReadBytesDefault;
  reply->limits.write_bytes = kWriteBytesMax;
}

void OnAnswer(rpc_context*, int status, void* data, void* call_pointer) {
  auto* call = static_cast<NfsCall*>(call_pointer);
  NfsReply reply;
  if (status != RPC_STATUS_SUCCESS) reply.error = ECONNRESET;
  else Decode(*static_cast<const COMPOUND4res*>(data), &reply);
  call->done(call, reply);
}

}  // namespace

bool NfsV4::Lookup(NfsRpc& rpc, const NfsHandle& folder, const std::string& name, NfsCall* call) {
  NfsCompound compound;
  compound.PutHandle(folder);
  compound.Lookup(name);
  compound.GetHandle();
  compound.GetAttributes();
  return compound.Queue(library_, rpc, OnAnswer, call);
}

// One question for all that a server tells of a file.
bool NfsV4::Attributes(NfsRpc& rpc, const NfsHandle& file, NfsCall* call) { return Limits(rpc, file, call); }

bool NfsV4::Limits(NfsRpc& rpc, const NfsHandle& file, NfsCall* call) {
  NfsCompound compound;
  compound.PutHandle(file);
  compound.GetAttributes();
  return compound.Queue(library_, rpc, OnAnswer, call);
}

bool NfsV4::Read(NfsRpc& rpc, const NfsHandle& file, uint64_t offset, uint32_t bytes, NfsCall* call) {
  NfsCompound compound;
  compound.PutHandle(file);
  compound.Read(offset, bytes);
  return compound.Queue(library_, rpc, OnAnswer, call);
}

bool NfsV4::Write(NfsRpc& rpc, const NfsHandle& file, uint64_t offset, const std::byte* data, uint32_t bytes,
                  NfsDurability durability, NfsCall* call) {
  NfsCompound compound;
  compound.PutHandle(file);
  compound.Write(offset, data, bytes, durability);
  return compound.Queue(library_, rpc, OnAnswer, call);
}

bool NfsV4::Commit(NfsRpc& rpc, const NfsHandle& file, NfsCall* call) {
  NfsCompound compound;
  compound.PutHandle(file);
  compound.Commit();
  return compound.Queue(library_, rpc, OnAnswer, call);
}

}  // namespace varve
