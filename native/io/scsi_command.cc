#include "io/scsi_command.h"

#include <algorithm>

namespace varve::scsi {

namespace {

enum Opcode : uint8_t {
  kTestUnitReady = 0x00,
  kInquiry = 0x12,
  kModeSense6 = 0x1a,
  kSynchronizeCache10 = 0x35,
  kUnmap = 0x42,
  kRead16 = 0x88,
  kWrite16 = 0x8a,
  kWriteSame16 = 0x93,
  kServiceActionIn16 = 0x9e,
  kReportLuns = 0xa0,
};

constexpr uint8_t kReadCapacity16Action = 0x10;
constexpr uint8_t kCachingPage = 0x08;

void Put(uint8_t* at, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) at[i] = static_cast<uint8_t>(value >> (8 * (bytes - 1 - i)));
}

uint64_t Get(std::span<const uint8_t> from, size_t at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = at; i < at + bytes; ++i) value = value << 8 | (i < from.size() ? from[i] : 0u);
  return value;
}

Cdb Begin(Opcode opcode, int length) {
  Cdb cdb;
  cdb.bytes[0] = opcode;
  cdb.length = length;
  return cdb;
}

Cdb OnBlocks(Opcode opcode, uint64_t block, uint32_t blocks) {
  Cdb cdb = Begin(opcode, 16);
  Put(&cdb.bytes[2], block, 8);
  Put(&cdb.bytes[10], blocks, 4);
  return cdb;
}

// A field of printable characters, padded with spaces.
std::string Text(std::span<const uint8_t> from, size_t at, size_t bytes) {
  std::string text;
  for (size_t i = at; i < std::min(at + bytes, from.size()); ++i) {
    text.push_back(from[i] >= ' ' && from[i] <= '~' ? static_cast<char>(from[i]) : ' ');
  }
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

std::string Hex(std::span<const uint8_t> bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (uint8_t byte : bytes) {
    text.push_back(digits[byte >> 4]);
    text.push_back(digits[byte & 15]);
  }
  return text;
}

// Space for a page of VPD is reserved to its header and what that says of its length.
std::span<const uint8_t> Inside(std::span<const uint8_t> answer, size_t header, size_t length) {
  return answer.subspan(0, std::min(answer.size(), header + length));
}

}  // namespace

Cdb TestUnitReady() { return Begin(kTestUnitReady, 6); }

Cdb Inquiry(uint8_t answer_bytes) {
  Cdb cdb = Begin(kInquiry, 6);
  cdb.bytes[4] = answer_bytes;
  return cdb;
}

Cdb InquiryPage(uint8_t page, uint8_t answer_bytes) {
  Cdb cdb = Inquiry(answer_bytes);
  cdb.bytes[1] = 1;
  cdb.bytes[2] = page;
  return cdb;
}

Cdb ReadCapacity16(uint8_t answer_bytes) {
  Cdb cdb = Begin(kServiceActionIn16, 16);
  cdb.bytes[1] = kReadCapacity16Action;
  cdb.bytes[13] = answer_bytes;
  return cdb;
}

Cdb ModeSenseCaching(uint8_t answer_bytes) {
  Cdb cdb = Begin(kModeSense6, 6);
  cdb.bytes[1] = 0x08;  // no block descriptors
  cdb.bytes[2] = kCachingPage;
  cdb.bytes[4] = answer_bytes;
  return cdb;
}

Cdb ReportLuns(uint32_t answer_bytes) {
  Cdb cdb = Begin(kReportLuns, 12);
  Put(&cdb.bytes[6], answer_bytes, 4);
  return cdb;
}

Cdb Read16(uint64_t block, uint32_t blocks) { return OnBlocks(kRead16, block, blocks); }

Cdb Write16(uint64_t block, uint32_t blocks) { return OnBlocks(kWrite16, block, blocks); }

Cdb SynchronizeCache() { return Begin(kSynchronizeCache10, 10); }

Cdb WriteSame16(uint64_t block, uint32_t blocks, bool unmap) {
  Cdb cdb = OnBlocks(kWriteSame16, block, blocks);
  if (unmap) cdb.bytes[1] = 0x08;
  return cdb;
}

Cdb Unmap(uint16_t parameter_bytes) {
  Cdb cdb = Begin(kUnmap, 10);
  Put(&cdb.bytes[7], parameter_bytes, 2);
  return cdb;
}

std::array<uint8_t, 24> UnmapParameters(uint64_t block, uint32_t blocks) {
  std::array<uint8_t, 24> list{};
  Put(&list[0], list.size() - 2, 2);
  Put(&list[2], list.size() - 8, 2);
  Put(&list[8], block, 8);
  Put(&list[16], blocks, 4);
  return list;
}

InquiryFacts ParseInquiry(std::span<const uint8_t> answer) {
  InquiryFacts facts;
  facts.present = Get(answer, 0, 1) >> 5 == 0;
  facts.type = static_cast<unsigned>(Get(answer, 0, 1) & 0x1f);
  facts.vendor = Text(answer, 8, 8);
  facts.product = Text(answer, 16, 16);
  facts.revision = Text(answer, 32, 4);
  return facts;
}

CapacityFacts ParseCapacity(std::span<const uint8_t> answer) {
  CapacityFacts facts;
  facts.blocks = Get(answer, 0, 8) + 1;
  facts.block_bytes = static_cast<uint32_t>(Get(answer, 8, 4));
  facts.thin = Get(answer, 14, 1) & 0x80;
  facts.unmapped_zero = Get(answer, 14, 1) & 0x40;
  return facts;
}

LimitFacts ParseLimits(std::span<const uint8_t> page) {
  page = Inside(page, 4, Get(page, 2, 2));
  LimitFacts facts;
  facts.transfer_blocks_max = static_cast<uint32_t>(Get(page, 8, 4));
  facts.unmap_blocks_max = static_cast<uint32_t>(Get(page, 20, 4));
  facts.write_same_blocks_max = Get(page, 36, 8);
  return facts;
}

ProvisioningFacts ParseProvisioning(std::span<const uint8_t> page) {
  return {(Get(page, 5, 1) & 0x80) != 0, (Get(page, 5, 1) & 0x40) != 0};
}

ModeFacts ParseModeSense(std::span<const uint8_t> answer) {
  ModeFacts facts;
  facts.write_protected = Get(answer, 2, 1) & 0x80;
  size_t page = 4 + Get(answer, 3, 1);
  bool caching = (Get(answer, page, 1) & 0x3f) == kCachingPage;
  facts.write_cache = caching && (Get(answer, page + 2, 1) & 0x04);
  return facts;
}

std::string ParseDesignators(std::span<const uint8_t> page) {
  constexpr uint8_t kEui64 = 2, kNaa = 3;
  page = Inside(page, 4, Get(page, 2, 2));
  std::vector<std::string> names;
  for (size_t at = 4; at + 4 <= page.size(); at += 4 + page[at + 3]) {
    uint8_t association = page[at + 1] >> 4 & 3, type = page[at + 1] & 15, bytes = page[at + 3];
    bool whole = at + 4 + bytes <= page.size();
    if (association == 0 && (type == kEui64 || type == kNaa) && whole) names.push_back(Hex(page.subspan(at + 4, bytes)));
  }
  std::sort(names.begin(), names.end());
  std::string joined;
  for (const std::string& name : names) joined += (joined.empty() ? "" : "+") + name;
  return joined;
}

std::vector<uint32_t> ParseLuns(std::span<const uint8_t> answer) {
  answer = Inside(answer, 8, Get(answer, 0, 4));
  std::vector<uint32_t> luns;
  // Peripheral and flat addressing have the number in the low 14 bits of the first two bytes.
  for (size_t at = 8; at + 8 <= answer.size(); at += 8) luns.push_back(static_cast<uint32_t>(Get(answer, at, 2) & 0x3fff));
  return luns;
}

}  // namespace varve::scsi
