// SCSI commands to a disk: descriptor blocks built, answers read. Pure.
//
// Only what varve sends: 16-byte forms wherever there is one, so that nothing depends on the LUN's size.
// Sources: SPC-4 (INQUIRY, MODE SENSE, REPORT LUNS, VPD 83h), SBC-3 (the others, VPD B0h and B2h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace varve::scsi {

struct Cdb {
  std::array<uint8_t, 16> bytes{};
  int length = 16;
};

Cdb TestUnitReady();
// answer_bytes: room for the answer.
Cdb Inquiry(uint8_t answer_bytes);
Cdb InquiryPage(uint8_t page, uint8_t answer_bytes);
Cdb ReadCapacity16(uint8_t answer_bytes);
Cdb ModeSenseCaching(uint8_t answer_bytes);
Cdb ReportLuns(uint32_t answer_bytes);
Cdb Read16(uint64_t block, uint32_t blocks);
Cdb Write16(uint64_t block, uint32_t blocks);
// All of the LUN's cache.
Cdb SynchronizeCache();
// One block of data is repeated; unmap: the target may give the space back if it reads as that data then.
Cdb WriteSame16(uint64_t block, uint32_t blocks, bool unmap);
Cdb Unmap(uint16_t parameter_bytes);

// Parameters of UNMAP for one range.
std::array<uint8_t, 24> UnmapParameters(uint64_t block, uint32_t blocks);

// Answers. What lies behind the end of an answer is read as zero.
struct InquiryFacts {
  bool present = false;  // a logical unit is there
  unsigned type = 0;     // 0: disk
  std::string vendor, product, revision;
};
InquiryFacts ParseInquiry(std::span<const uint8_t> answer);

struct CapacityFacts {
  uint64_t blocks = 0;
  uint32_t block_bytes = 0;
  bool thin = false;         // LBPME
  bool unmapped_zero = false;  // LBPRZ
};
CapacityFacts ParseCapacity(std::span<const uint8_t> answer);

struct LimitFacts {  // VPD B0h; 0 = no limit told
  uint32_t transfer_blocks_max = 0;
  uint32_t unmap_blocks_max = 0;
  uint64_t write_same_blocks_max = 0;
};
LimitFacts ParseLimits(std::span<const uint8_t> page);

struct ProvisioningFacts {  // VPD B2h
  bool unmap = false;            // LBPU
  bool write_same_unmap = false;  // LBPWS
};
ProvisioningFacts ParseProvisioning(std::span<const uint8_t> page);

struct ModeFacts {
  bool write_protected = false;
  bool write_cache = false;
};
ModeFacts ParseModeSense(std::span<const uint8_t> answer);

// The names of the logical unit in VPD 83h that are unique in the world (NAA and EUI-64), as hexadecimal digits; empty when there
// is none.
std::string ParseDesignators(std::span<const uint8_t> page);

std::vector<uint32_t> ParseLuns(std::span<const uint8_t> answer);

}  // namespace varve::scsi
