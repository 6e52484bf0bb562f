// Fuzzer of what an iSCSI target says: answers to INQUIRY, READ CAPACITY, MODE SENSE, REPORT LUNS and the VPD pages, the
// ends of commands, and why a login failed.
//
// The first byte chooses the parser. Oracle: no sanitizer report; what is read is no more than the answer can hold.
//
//   npm run fuzz -- scsi
#include <cstdlib>
#include <cstring>

#include "io/iscsi_login_error.h"
#include "io/scsi_command.h"
#include "io/scsi_outcome.h"

namespace varve {
namespace {

using Answer = std::span<const uint8_t>;

void Require(bool condition) {
  if (!condition) std::abort();
}

void ReadInquiry(Answer answer) {
  const scsi::InquiryFacts facts = scsi::ParseInquiry(answer);
  Require(facts.type < 32);
  Require(facts.vendor.size() + facts.product.size() + facts.revision.size() <= 28);
}

void ReadDesignators(Answer answer) {
  const std::string names = scsi::ParseDesignators(answer);
  Require(names.size() <= 3 * answer.size());
  Require(names.find_first_not_of("0123456789abcdef+") == std::string::npos);
}

void ReadLuns(Answer answer) { Require(scsi::ParseLuns(answer).size() <= answer.size() / 8); }

// An end that nobody may misunderstand: refusals say why, and only they and losses are final.
void ReadOutcome(Answer answer) {
  int words[3] = {};
  std::memcpy(words, answer.data(), std::min(answer.size(), sizeof words));
  const ScsiOutcome outcome = OutcomeOf({Status::Ok(), words[0], words[1], words[2], true});
  Require(outcome.verdict != ScsiVerdict::kLost);
  Require(outcome.verdict != ScsiVerdict::kRefused || !outcome.status.ok());
  Require(!outcome.unsupported || outcome.verdict == ScsiVerdict::kRefused);
}

void ReadLoginError(Answer answer) {
  const std::string text(answer.begin(), answer.end());
  Require(!LoginError(text.c_str()).ok());
}

void Read(uint8_t parser, Answer answer) {
  switch (parser % 9) {
    case 0: return ReadInquiry(answer);
    case 1: return (void)scsi::ParseCapacity(answer);
    case 2: return (void)scsi::ParseLimits(answer);
    case 3: return (void)scsi::ParseProvisioning(answer);
    case 4: return (void)scsi::ParseModeSense(answer);
    case 5: return ReadDesignators(answer);
    case 6: return ReadLuns(answer);
    case 7: return ReadLoginError(answer);
    default: return ReadOutcome(answer);
  }
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  varve::Read(data[0], {data + 1, size - 1});
  return 0;
}
