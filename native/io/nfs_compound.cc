#include "io/nfs_compound.h"

#include <arpa/inet.h>

#include <cstring>
#include <sstream>

namespace varve {

namespace {

// RFC 7530, section 5.6 and 5.7.
enum Attribute : unsigned { kType = 1, kSize = 4, kFilesystem = 8, kFile = 20, kReadMax = 30, kWriteMax = 31 };
constexpr uint32_t kWanted = 1u << kType | 1u << kSize | 1u << kFilesystem | 1u << kFile | 1u << kReadMax | 1u << kWriteMax;

char* Lent(const void* bytes) { return const_cast<char*>(static_cast<const char*>(bytes)); }

// XDR integers one after the other; zero when there are none left.
class Reader {
 public:
  Reader(const char* data, size_t bytes) : data_(data), left_(bytes) {}
  uint32_t Next32() {
    if (left_ < sizeof(uint32_t)) return 0;
    uint32_t value;
    memcpy(&value, data_, sizeof value);
    data_ += sizeof value;
    left_ -= sizeof value;
    return ntohl(value);
  }
  uint64_t Next64() {
    uint64_t high = Next32();
    return high << 32 | Next32();
  }

 private:
  const char* data_;
  size_t left_;
};

NfsAttributes::Kind KindOf(uint32_t type) {
  if (type == NF4REG) return NfsAttributes::Kind::kFile;
  return type == NF4DIR ? NfsAttributes::Kind::kFolder : NfsAttributes::Kind::kOther;
}

}  // namespace

nfs_argop4& NfsCompound::Add(nfs_opnum4 op) {
  nfs_argop4& added = operations_.emplace_back();
  memset(&added, 0, sizeof added);
  added.argop = op;
  return added;
}

void NfsCompound::PutHandle(const NfsHandle& handle) {
  nfs_fh4& object = Add(OP_PUTFH).nfs_argop4_u.opputfh.object;
  object.nfs_fh4_len = static_cast<u_int>(handle.size());
  object.nfs_fh4_val = Lent(handle.data());
}

void NfsCompound::Lookup(const std::string& name) {
  component4& object = Add(OP_LOOKUP).nfs_argop4_u.oplookup.objname;
  object.utf8string_len = static_cast<u_int>(name.size());
  object.utf8string_val = Lent(name.data());
}

void NfsCompound::GetAttributes() {
  attributes_ = {kWanted, 0};
  bitmap4& request = Add(OP_GETATTR).nfs_argop4_u.opgetattr.attr_request;
  request.bitmap4_len = 1;
  request.bitmap4_val = attributes_.data();
}

// The stateid of zeroes: no open file, so that nothing is lost with the server's memory.
void NfsCompound::Read(uint64_t offset, uint32_t bytes) {
  READ4args& read = Add(OP_READ).nfs_argop4_u.opread;
  read.offset = offset;
  read.count = bytes;
}

void NfsCompound::Write(uint64_t offset, const std::byte* data, uint32_t bytes, NfsDurability durability) {
  WRITE4args& write = Add(OP_WRITE).nfs_argop4_u.opwrite;
  write.offset = offset;
  write.stable = durability == NfsDurability::kFileSync ? FILE_SYNC4 : UNSTABLE4;
  write.data.data_len = bytes;
  write.data.data_val = Lent(data);
}

void NfsCompound::Commit() { Add(OP_COMMIT); }

bool NfsCompound::Queue(const NfsLibrary& library, NfsRpc& rpc, rpc_cb done, void* context) {
  COMPOUND4args args{};
  args.argarray.argarray_len = static_cast<u_int>(operations_.size());
  args.argarray.argarray_val = operations_.data();
  bool queued = library.rpc_nfs4_compound_async(rpc.context(), done, &args, context) == 0;
  if (queued) rpc.Queued();
  return queued;
}

std::vector<std::string> PathNames(const std::string& path) {
  std::vector<std::string> names;
  std::istringstream parts(path);
  for (std::string name; std::getline(parts, name, '/');) {
    if (!name.empty()) names.push_back(name);
  }
  return names;
}

std::optional<nfs_resop4> FindResult(const COMPOUND4res& result, nfs_opnum4 op) {
  for (u_int i = 0; i < result.resarray.resarray_len; ++i) {
    nfs_resop4 found = Unaligned(result.resarray.resarray_val + i);
    if (found.resop == op) return found;
  }
  return std::nullopt;
}

NfsHandle HandleFrom(const COMPOUND4res& result) {
  std::optional<nfs_resop4> found = FindResult(result, OP_GETFH);
  if (!found) return {};
  const nfs_fh4& object = found->nfs_resop4_u.opgetfh.GETFH4res_u.resok4.object;
  return NfsHandle(object.nfs_fh4_val, object.nfs_fh4_len);
}

void AttributesFrom(const COMPOUND4res& result, NfsAttributes* attributes, NfsLimits* limits) {
  std::optional<nfs_resop4> found = FindResult(result, OP_GETATTR);
  if (!found) return;
  const fattr4& told = found->nfs_resop4_u.opgetattr.GETATTR4res_u.resok4.obj_attributes;
  uint32_t mask = told.attrmask.bitmap4_len > 0 ? told.attrmask.bitmap4_val[0] & kWanted : 0;
  Reader values(told.attr_vals.attrlist4_val, told.attr_vals.attrlist4_len);
  auto has = [mask](Attribute attribute) { return (mask & 1u << attribute) != 0; };
  // In the order of their numbers.
  if (has(kType)) attributes->kind = KindOf(values.Next32());
  if (has(kSize)) attributes->size_bytes = values.Next64();
  if (has(kFilesystem)) {
    uint64_t major = values.Next64(), minor = values.Next64();
    attributes->filesystem = major ^ minor << 32 ^ minor >> 32;
  }
  if (has(kFile)) attributes->file = values.Next64();
  if (has(kReadMax)) limits->read_bytes = static_cast<uint32_t>(std::min<uint64_t>(values.Next64(), UINT32_MAX));
  if (has(kWriteMax)) limits->write_bytes = static_cast<uint32_t>(std::min<uint64_t>(values.Next64(), UINT32_MAX));
}

}  // namespace varve
