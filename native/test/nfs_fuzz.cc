// Fuzzer of what an NFS 4 server answers, as libnfs hands it over: results of one COMPOUND in any order and number, with any attributes.
//
// Every result is a byte for its operation, one for its status, one for the length of what it carries, and that. What it carries lies in a block
// of exactly that size, so that reading beyond it is seen. Oracle: no sanitizer report; a status that is no success has an errno.
//
//   npm run fuzz -- nfs
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "io/nfs_compound.h"

namespace varve {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// Takes bytes off the front; zeroes when there are none left.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool ended() const { return left_ == 0; }
  uint8_t Byte() {
    if (left_ == 0) return 0;
    left_--;
    return *data_++;
  }
  uint32_t Word() {
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) word = word << 8 | Byte();
    return word;
  }
  std::unique_ptr<char[]> Bytes(size_t* count) {
    *count = std::min(*count, left_);
    auto bytes = std::make_unique<char[]>(*count);
    if (*count > 0) std::memcpy(bytes.get(), data_, *count);
    data_ += *count;
    left_ -= *count;
    return bytes;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

class Answer {
 public:
  explicit Answer(Input input) {
    const uint32_t status = input.Word();
    std::memcpy(&result_.status, &status, sizeof status);
    while (!input.ended() && results_.size() < kResultsMax) Add(input);
    result_.resarray.resarray_len = static_cast<u_int>(results_.size());
    result_.resarray.resarray_val = results_.data();
  }
  const COMPOUND4res& result() const { return result_; }

 private:
  static constexpr size_t kResultsMax = 8;

  void Add(Input& input) {
    constexpr std::array kOperations{OP_GETFH, OP_GETATTR, OP_READ, OP_WRITE, OP_COMMIT, OP_PUTFH, OP_LOOKUP, OP_ILLEGAL};
    nfs_resop4& added = results_.emplace_back();
    std::memset(&added, 0, sizeof added);
    added.resop = kOperations[input.Byte() % kOperations.size()];
    const bool ok = input.Byte() % 4 != 0;
    if (added.resop == OP_GETFH && ok) AddHandle(input, &added.nfs_resop4_u.opgetfh.GETFH4res_u.resok4.object);
    if (added.resop == OP_GETATTR && ok) AddAttributes(input, &added.nfs_resop4_u.opgetattr.GETATTR4res_u.resok4.obj_attributes);
  }

  void AddHandle(Input& input, nfs_fh4* handle) {
    size_t bytes = input.Byte();
    handle->nfs_fh4_val = Keep(input.Bytes(&bytes));
    handle->nfs_fh4_len = static_cast<u_int>(bytes);
  }

  void AddAttributes(Input& input, fattr4* attributes) {
    auto mask = std::make_unique<std::vector<uint32_t>>(input.Byte() % 3);
    for (uint32_t& word : *mask) word = input.Word();
    attributes->attrmask.bitmap4_len = static_cast<u_int>(mask->size());
    attributes->attrmask.bitmap4_val = mask->data();
    masks_.push_back(std::move(mask));
    size_t bytes = input.Byte();
    attributes->attr_vals.attrlist4_val = Keep(input.Bytes(&bytes));
    attributes->attr_vals.attrlist4_len = static_cast<u_int>(bytes);
  }

  char* Keep(std::unique_ptr<char[]> bytes) {
    kept_.push_back(std::move(bytes));
    return kept_.back().get();
  }

  COMPOUND4res result_{};
  std::vector<nfs_resop4> results_;
  std::vector<std::unique_ptr<char[]>> kept_;
  std::vector<std::unique_ptr<std::vector<uint32_t>>> masks_;
};

void Read(const COMPOUND4res& result) {
  const int status = NumberOf(result.status);
  Require((status == NFS4_OK) == (NfsErrno(status) == 0));
  NfsAttributes attributes;
  NfsLimits limits;
  AttributesFrom(result, &attributes, &limits);
  Require(HandleFrom(result).size() <= UINT8_MAX);
  Require(PathNames(HandleFrom(result)).size() <= UINT8_MAX);
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::Read(varve::Answer({data, size}).result());
  return 0;
}
