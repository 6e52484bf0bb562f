// NFS version 3 behind NfsProtocol.
#include <cstring>

#include "io/nfs_v3.h"

namespace varve {

namespace {

char* Lent(const void* bytes) { return const_cast<char*>(static_cast<const char*>(bytes)); }

nfs_fh3 HandleOf(const NfsHandle& handle) {
  nfs_fh3 out{};
  out.data.data_len = static_cast<u_int>(handle.size());
  out.data.data_val = Lent(handle.data());
  return out;
}

uint64_t VerifierOf(const char* bytes) {
  uint64_t verifier;
  memcpy(&verifier, bytes, sizeof verifier);
  return verifier;
}

NfsAttributes AttributesOf(const fattr3& from) {
  NfsAttributes to;
  if (from.type == NF3REG) to.kind = NfsAttributes::Kind::kFile;
  if (from.type == NF3DIR) to.kind = NfsAttributes::Kind::kFolder;
  to.size_bytes = from.size;
  to.filesystem = from.fsid;
  to.file = from.fileid;
  return to;
}

// Each decodes the result of one procedure that was performed.
void Decode(const LOOKUP3res& result, NfsReply* reply) {
  reply->error = NfsErrno(NumberOf(result.status));
  if (reply->error != 0) return;
  const LOOKUP3resok& found = result.LOOKUP3res_u.resok;
  reply->handle.assign(found.object.data.data_val, found.object.data.data_len);
  if (found.obj_attributes.attributes_follow) {
    reply->attributes = AttributesOf(found.obj_attributes.post_op_attr_u.attributes);
  }
}

void Decode(const GETATTR3res& result, NfsReply* reply) {
  reply->error = NfsErrno(NumberOf(result.status));
  if (reply->error == 0) reply->attributes = AttributesOf(result.GETATTR3res_u.resok.obj_attributes);
}

void Decode(const FSINFO3res& result, NfsReply* reply) {
  reply->error = NfsErrno(NumberOf(result.status));
  if (reply->error != 0) return;
  const FSINFO3resok& info = result.FSINFO3res_u.resok;
  reply->limits = {info.rtmax, info.wtmax};
}

void Decode(const READ3res& result, NfsReply* reply) {
  reply->error = NfsErrno(NumberOf(result.status));
  if (reply->error != 0) return;
  const READ3resok& read = result.READ3res_u.resok;
  reply->data = reinterpret_cast<const std::byte*>(read.data.data_val);
  reply->bytes = read.data.data_len;
  reply->end_of_file = read.eof != 0;
}

void Decode(const WRITE3res& result, NfsReply* reply) {
  reply->error = NfsErrno(NumberOf(result.status));
  if (reply->error != 0) return;
  const WRITE3resok& written = result.WRITE3res_u.resok;
  reply->bytes = written.count;
  reply->durable = NumberOf(written.committed) != UNSTABLE;
  reply->verifier = VerifierOf(written.verf);
}

void Decode(const COMMIT3res& result, NfsReply* reply) {
  reply->error = NfsErrno(NumberOf(result.status));
  if (reply->error == 0) reply->verifier = VerifierOf(result.COMMIT3res_u.resok.verf);
}

template <typename Result>
void OnAnswer(rpc_context*, int status, void* data, void* call_pointer) {
  auto* call = static_cast<NfsCall*>(call_pointer);
  NfsReply reply;
  if (status != RPC_STATUS_SUCCESS) reply.error = ECONNRESET;
  else Decode(*static_cast<const Result*>(data), &reply);
  call->done(call, reply);
}

}  // namespace

bool NfsV3::Lookup(NfsRpc& rpc, const NfsHandle& folder, const std::string& name, NfsCall* call) {
  LOOKUP3args args{};
  args.what = {HandleOf(folder), Lent(name.c_str())};
  int queued = library_.rpc_nfs3_lookup_async(rpc.context(), OnAnswer<LOOKUP3res>, &args, call);
  rpc.Queued();
  return queued == 0;
}

bool NfsV3::Attributes(NfsRpc& rpc, const NfsHandle& file, NfsCall* call) {
  GETATTR3args args{HandleOf(file)};
  int queued = library_.rpc_nfs3_getattr_async(rpc.context(), OnAnswer<GETATTR3res>, &args, call);
  rpc.Queued();
  return queued == 0;
}

bool NfsV3::Limits(NfsRpc& rpc, const NfsHandle& file, NfsCall* call) {
  FSINFO3args args{HandleOf(file)};
  int queued = library_.rpc_nfs3_fsinfo_async(rpc.context(), OnAnswer<FSINFO3res>, &args, call);
  rpc.Queued();
  return queued == 0;
}

bool NfsV3::Read(NfsRpc& rpc, const NfsHandle& file, uint64_t offset, uint32_t bytes, NfsCall* call) {
  READ3args args{HandleOf(file), offset, bytes};
  int queued = library_.rpc_nfs3_read_async(rpc.context(), OnAnswer<READ3res>, &args, call);
  rpc.Queued();
  return queued == 0;
}

bool NfsV3::Write(NfsRpc& rpc, const NfsHandle& file, uint64_t offset, const std::byte* data, uint32_t bytes,
                  NfsDurability durability, NfsCall* call) {
  WRITE3args args{};
  args.file = HandleOf(file);
  args.offset = offset;
  args.count = bytes;
  args.stable = durability == NfsDurability::kFileSync ? FILE_SYNC : UNSTABLE;
  args.data.data_len = bytes;
  args.data.data_val = Lent(data);
  int queued = library_.rpc_nfs3_write_async(rpc.context(), OnAnswer<WRITE3res>, &args, call);
  rpc.Queued();
  return queued == 0;
}

bool NfsV3::Commit(NfsRpc& rpc, const NfsHandle& file, NfsCall* call) {
  COMMIT3args args{HandleOf(file), 0, 0};
  int queued = library_.rpc_nfs3_commit_async(rpc.context(), OnAnswer<COMMIT3res>, &args, call);
  rpc.Queued();
  return queued == 0;
}

}  // namespace varve
