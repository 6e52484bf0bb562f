// Fuzzer of what one process leaves to the next one: the entries of a state, behind a header that fits them.
//
// Oracle: no sanitizer report; what is refused leaves nothing; what is taken is written again as a state that reads the same.
//
//   npm run fuzz -- succession
#include <xxhash.h>

#include <cstdlib>
#include <span>
#include <string>

#include "nbd/bytes.h"
#include "nbd/succession.h"

namespace varve::nbd {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

std::string StateOf(std::string_view entries) {
  std::string state = EncodeSuccession({}).substr(0, 12);  // magic and version
  AppendBig(&state, uint64_t{XXH64(entries.data(), entries.size(), 0)});
  return state.append(entries);
}

bool Decodes(const std::string& state, Succession* succession) {
  return DecodeSuccession(std::as_bytes(std::span(state)), succession).ok();
}

void Decode(std::string_view entries) {
  Succession taken;
  if (!Decodes(StateOf(entries), &taken)) return Require(taken.listeners.empty() && taken.clients.empty());
  const std::string written = EncodeSuccession(taken);
  Succession again;
  Require(Decodes(written, &again));
  Require(EncodeSuccession(again) == written);
}

}  // namespace
}  // namespace varve::nbd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::nbd::Decode({reinterpret_cast<const char*>(data), size});
  return 0;
}
