#include "test/memory_target.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace varve {
namespace {

// Grows the last run, or begins one. False when that would be one too many.
bool AppendExtent(BlockRequest* request, uint64_t length, uint32_t flags) {
  auto& extents = request->extents;
  if (!extents.empty() && extents.back().flags == flags) {
    extents.back().length += length;
    return true;
  }
  if (request->op == BlockOp::kBlockStatus && extents.size() == request->extents_max) return false;
  extents.push_back({length, flags});
  return true;
}

struct DelayedDone : Timer {
  explicit DelayedDone(Completion* done_in)
      : Timer([](Timer* self) {
          auto* delayed = static_cast<DelayedDone*>(self);
          delayed->done->Run(Status::Ok());
          delete delayed;
        }),
        done(done_in) {}
  Completion* done;
};

bool Changes(BlockOp op) { return op == BlockOp::kWrite || op == BlockOp::kTrim || op == BlockOp::kWriteZeroes; }

}  // namespace

MemoryTarget::MemoryTarget(uint64_t size_bytes)
    : size_bytes_(size_bytes), page_count_((size_bytes + kPageBytes - 1) / kPageBytes) {
  void* table = mmap(nullptr, std::max<uint64_t>(1, page_count_) * sizeof(Page*), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  pages_ = static_cast<Page**>(table);
}

MemoryTarget::~MemoryTarget() {
  for (uint64_t page = 0; page < page_count_; page++) delete pages_[page];
  munmap(pages_, std::max<uint64_t>(1, page_count_) * sizeof(Page*));
}

void MemoryTarget::Submit(BlockRequest* request) {
  Apply(request);
  if (write_delay_.count() > 0 && Changes(request->op)) {
    return request->loop->SetTimer(new DelayedDone(request->done), write_delay_);
  }
  request->loop->Complete(request->done, varve::Status::Ok());
}

void MemoryTarget::Apply(BlockRequest* request) {
  switch (request->op) {
    case BlockOp::kRead:
      return Read(request);
    case BlockOp::kWrite:
      return Write(request->offset, request->data, request->length);
    case BlockOp::kTrim:
      return Zero(request->offset, request->length, false, true);
    case BlockOp::kWriteZeroes:
      return Zero(request->offset, request->length, request->no_hole, false);
    case BlockOp::kBlockStatus:
      return Status(request);
    case BlockOp::kFlush:
    case BlockOp::kCache:
      return;
  }
}

MemoryTarget::Span MemoryTarget::SpanAt(uint64_t offset, uint64_t length) {
  const auto begin = static_cast<uint32_t>(offset % kPageBytes);
  return {offset / kPageBytes, begin, static_cast<uint32_t>(std::min<uint64_t>(length, kPageBytes - begin))};
}

void MemoryTarget::Read(BlockRequest* request) {
  for (uint64_t at = 0; at < request->length;) {
    const Span span = SpanAt(request->offset + at, request->length - at);
    AppendExtent(request, span.bytes, ReadPage(span, request->data + at));
    at += span.bytes;
  }
}

uint32_t MemoryTarget::ReadPage(const Span& span, std::byte* out) {
  std::lock_guard lock(LockOf(span.page));
  const Page* page = pages_[span.page];
  if (page == nullptr) return kExtentHole | kExtentZero;
  if (page->zero) return kExtentZero;
  std::memcpy(out, page->data + span.begin, span.bytes);
  return 0;
}

void MemoryTarget::Write(uint64_t offset, const std::byte* data, uint64_t length) {
  for (uint64_t at = 0; at < length;) {
    const Span span = SpanAt(offset + at, length - at);
    std::lock_guard lock(LockOf(span.page));
    Page*& page = pages_[span.page];
    if (page == nullptr) page = new Page{};
    std::memcpy(page->data + span.begin, data + at, span.bytes);
    page->zero = false;
    at += span.bytes;
  }
}

void MemoryTarget::Zero(uint64_t offset, uint64_t length, bool no_hole, bool whole_pages_only) {
  for (uint64_t at = 0; at < length;) {
    const Span span = SpanAt(offset + at, length - at);
    at += span.bytes;
    const bool whole = span.bytes == kPageBytes || span.page * kPageBytes + span.begin + span.bytes == size_bytes_;
    std::lock_guard lock(LockOf(span.page));
    Page*& page = pages_[span.page];
    if (no_hole && page == nullptr) page = new Page{.zero = true, .data = {}};
    if (page == nullptr || (whole_pages_only && !(whole && span.begin == 0))) continue;
    if (whole && span.begin == 0 && !no_hole) {
      delete page;
      page = nullptr;
      continue;
    }
    std::memset(page->data + span.begin, 0, span.bytes);
    page->zero |= whole && span.begin == 0;
  }
}

uint32_t MemoryTarget::FlagsOf(uint64_t index) {
  std::lock_guard lock(LockOf(index));
  const Page* page = pages_[index];
  if (page == nullptr) return kExtentHole | kExtentZero;
  return page->zero ? kExtentZero : 0;
}

void MemoryTarget::Status(BlockRequest* request) {
  for (uint64_t at = 0; at < request->length;) {
    const Span span = SpanAt(request->offset + at, request->length - at);
    if (!AppendExtent(request, span.bytes, FlagsOf(span.page))) return;
    at += span.bytes;
  }
}

}  // namespace varve
