#include "nbd/handshake.h"

#include <algorithm>
#include <bit>

#include "nbd/bytes.h"
#include "nbd/text.h"

namespace varve::nbd {
namespace {

std::string_view AsText(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

std::string InfoPayload(Info type, std::string_view text = {}) {
  std::string payload;
  AppendBig(&payload, static_cast<uint16_t>(type));
  payload += text;
  return payload;
}

std::string BlockSizePayload(uint32_t preferred_bytes) {
  std::string payload = InfoPayload(Info::kBlockSize);
  AppendBig(&payload, uint32_t{1});
  AppendBig(&payload, std::clamp(std::bit_ceil(preferred_bytes), 512u, kPayloadBytesMax));
  AppendBig(&payload, kPayloadBytesMax);
  return payload;
}

}  // namespace

std::string Handshake::Greeting() {
  std::string greeting;
  AppendBig(&greeting, kGreetingMagic);
  AppendBig(&greeting, kOptionMagic);
  AppendBig(&greeting, static_cast<uint16_t>(kFixedNewstyle | kNoZeroes));
  return greeting;
}

size_t Handshake::Step(Data in, std::string* out) {
  if (state_ != State::kNegotiating) return 0;
  if (!have_client_flags_) return TakeClientFlags(in);
  if (drain_bytes_ > 0) return DrainOversized(in, out);
  return TakeOption(in, out);
}

size_t Handshake::TakeClientFlags(Data in) {
  if (in.size() < sizeof(uint32_t)) return 0;
  client_flags_ = LoadBig<uint32_t>(in.data());
  have_client_flags_ = true;
  if ((client_flags_ & ~uint32_t{kFixedNewstyle | kNoZeroes}) != 0) Close("unknown client flags");
  return sizeof(uint32_t);
}

size_t Handshake::TakeOption(Data in, std::string* out) {
  if (in.size() < kOptionHeaderBytes) return 0;
  ByteReader reader(in);
  const uint64_t magic = reader.Take<uint64_t>();
  option_ = static_cast<Option>(reader.Take<uint32_t>());
  const uint32_t length = reader.Take<uint32_t>();
  if (magic != kOptionMagic) {
    Close("bad option magic");
    return kOptionHeaderBytes;
  }
  if (length > kOptionBytesMax) return BeginOversized(length);
  if (in.size() < kOptionHeaderBytes + length) return 0;
  if (++options_ > kOptionsMax) {
    Close("too many options");
  } else {
    Answer(in.subspan(kOptionHeaderBytes, length), out);
  }
  return kOptionHeaderBytes + length;
}

size_t Handshake::BeginOversized(uint32_t length) {
  options_++;
  // EXPORT_NAME has no error reply.
  if (length > kDrainedOptionBytesMax || option_ == Option::kExportName) {
    Close("option too long");
  } else {
    drain_bytes_ = length;
  }
  return kOptionHeaderBytes;
}

size_t Handshake::DrainOversized(Data in, std::string* out) {
  const size_t taken = std::min<uint64_t>(in.size(), drain_bytes_);
  drain_bytes_ -= taken;
  if (drain_bytes_ == 0) {
    // Even a SET that fails replaces the selection.
    if (option_ == Option::kSetMetaContext) selected_ = {};
    AppendReply(OptionReply::kErrTooBig, "option data is too long", out);
  }
  return taken;
}

void Handshake::Answer(Data data, std::string* out) {
  if ((client_flags_ & kFixedNewstyle) == 0 && option_ != Option::kExportName) {
    return Close("client without fixed newstyle sent an option");
  }
  switch (option_) {
    case Option::kExportName:
      return AnswerExportName(data, out);
    case Option::kAbort:
      AppendReply(OptionReply::kAck, {}, out);
      return Close("client aborted the negotiation");
    case Option::kList:
      return AnswerList(data, out);
    case Option::kStartTls:
      if (!data.empty()) return AppendReply(OptionReply::kErrInvalid, "STARTTLS takes no data", out);
      return AppendReply(OptionReply::kErrUnsupported, "TLS is not configured", out);
    case Option::kInfo:
    case Option::kGo:
      return AnswerInfo(data, out);
    case Option::kStructuredReply:
      return AnswerFraming(data, Framing::kStructured, out);
    case Option::kExtendedHeaders:
      return AnswerFraming(data, Framing::kExtended, out);
    case Option::kListMetaContext:
    case Option::kSetMetaContext:
      return AnswerMetaContext(data, out);
  }
  AppendReply(OptionReply::kErrUnsupported, "unknown option", out);
}

void Handshake::AnswerList(Data data, std::string* out) {
  if (!data.empty()) return AppendReply(OptionReply::kErrInvalid, "LIST takes no data", out);
  for (const ExportView& view : catalog_.List()) {
    std::string payload;
    AppendBig(&payload, static_cast<uint32_t>(view.name.size()));
    payload += view.name;
    payload += view.description;
    AppendReply(OptionReply::kServer, payload, out);
  }
  AppendReply(OptionReply::kAck, {}, out);
}

void Handshake::AnswerInfo(Data data, std::string* out) {
  const auto query = ParseInfoQuery(data);
  if (!query) return AppendReply(OptionReply::kErrInvalid, "malformed INFO or GO", out);
  const bool go = option_ == Option::kGo;
  if (go) {
    if (!EnterExport(query->name, out)) return;
  } else if (!catalog_.Find(query->name, &agreement_.view)) {
    return AppendReply(OptionReply::kErrUnknown, "no such export", out);
  }
  AppendInfos(agreement_.view, query->wants_name, query->wants_description, out);
  AppendReply(OptionReply::kAck, {}, out);
  if (go) state_ = State::kTransmission;
}

void Handshake::AnswerExportName(Data data, std::string* out) {
  const std::string_view name = AsText(data);
  if (agreement_.framing == Framing::kExtended) return Close("EXPORT_NAME after extended headers");
  if (!IsProtocolString(name)) return Close("malformed export name");
  if (!EnterExport(name, nullptr)) return Close("no such export, or too many clients");
  AppendBig(out, agreement_.view.size_bytes);
  AppendBig(out, agreement_.transmission_flags);
  if ((client_flags_ & kNoZeroes) == 0) out->append(124, '\0');
  state_ = State::kTransmission;
}

// out: null when the option has no error reply.
bool Handshake::EnterExport(std::string_view name, std::string* out) {
  const Admission admission = catalog_.Enter(name, &agreement_.view);
  if (admission == Admission::kEntered) {
    if (SelectionIsStale()) {
      Close("the export was replaced during the negotiation");
      return false;
    }
    if (SelectedFor(agreement_.view)) agreement_.contexts = selected_;
    agreement_.transmission_flags = TransmissionFlags(agreement_.view);
    return true;
  }
  if (out == nullptr) return false;
  if (admission == Admission::kFull) {
    AppendReply(OptionReply::kErrPolicy, "too many clients", out);
  } else {
    AppendReply(OptionReply::kErrUnknown, "no such export", out);
  }
  return false;
}

void Handshake::AnswerFraming(Data data, Framing framing, std::string* out) {
  if (!data.empty()) return AppendReply(OptionReply::kErrInvalid, "this option takes no data", out);
  if (framing < agreement_.framing) {
    return AppendReply(OptionReply::kErrExtendedHeadersRequired, "extended headers are in force", out);
  }
  agreement_.framing = framing;
  AppendReply(OptionReply::kAck, {}, out);
}

void Handshake::AnswerMetaContext(Data data, std::string* out) {
  const bool set = option_ == Option::kSetMetaContext;
  if (set) selected_ = {};
  if (set && agreement_.framing == Framing::kSimple) {
    return AppendReply(OptionReply::kErrInvalid, "contexts need structured replies", out);
  }
  const auto query = ParseContextQuery(data);
  if (!query) return AppendReply(OptionReply::kErrInvalid, "malformed meta context query", out);
  ExportView view;
  if (!catalog_.Find(query->export_name, &view)) {
    return AppendReply(OptionReply::kErrUnknown, "no such export", out);
  }
  ContextBits asked = AppendContext(*query, kBaseAllocation, kBaseAllocationId, out) ? kBaseAllocationBit : 0;
  uint32_t id = kBaseAllocationId;
  if (view.contexts) {
    for (const ChangedContext& context : *view.contexts) {
      id++;
      if (AppendContext(*query, context.name, id, out)) asked |= ContextBit(id);
    }
  }
  if (set) {
    selected_ = {asked, view.contexts};
    selected_export_ = view.name;
  }
  AppendReply(OptionReply::kAck, {}, out);
}

// Answers for one context, at most once however often it is asked for. False: it was not.
bool Handshake::AppendContext(const ContextQuery& query, std::string_view name, uint32_t id, std::string* out) const {
  const bool listing = option_ == Option::kListMetaContext;
  const bool asked = (listing && query.queries.empty()) ||
                     std::ranges::any_of(query.queries, [&](std::string_view q) { return AsksFor(q, name, listing); });
  if (!asked) return false;
  std::string payload;
  AppendBig(&payload, listing ? uint32_t{0} : id);
  payload += name;
  AppendReply(OptionReply::kMetaContext, payload, out);
  return true;
}

bool Handshake::SelectedFor(const ExportView& view) const {
  return !selected_.empty() && selected_export_ == view.name;
}

// The export was removed and another took its name since SET: what was selected is another content's.
bool Handshake::SelectionIsStale() const {
  return SelectedFor(agreement_.view) && (selected_.bits & ~kBaseAllocationBit) != 0 &&
         selected_.of != agreement_.view.contexts;
}

uint16_t Handshake::TransmissionFlags(const ExportView& view) const {
  uint16_t flags = kHasFlags | kSendFlush | kSendFua | kSendCache | kCanMultiConn;
  flags |= view.read_only ? kReadOnly : kSendTrim | kSendWriteZeroes | kSendFastZero;
  if (agreement_.framing != Framing::kSimple) flags |= kSendDontFragment;
  if (agreement_.framing == Framing::kExtended && SelectedFor(view)) flags |= kBlockStatusPayload;
  return flags;
}

void Handshake::AppendInfos(const ExportView& view, bool name, bool description, std::string* out) const {
  std::string payload = InfoPayload(Info::kExport);
  AppendBig(&payload, view.size_bytes);
  AppendBig(&payload, TransmissionFlags(view));
  AppendReply(OptionReply::kInfo, payload, out);
  if (name) AppendReply(OptionReply::kInfo, InfoPayload(Info::kName, view.name), out);
  if (description && !view.description.empty()) {
    AppendReply(OptionReply::kInfo, InfoPayload(Info::kDescription, view.description), out);
  }
  AppendReply(OptionReply::kInfo, BlockSizePayload(view.preferred_block_bytes), out);
}

void Handshake::AppendReply(OptionReply type, std::string_view payload, std::string* out) const {
  AppendBig(out, kOptionReplyMagic);
  AppendBig(out, static_cast<uint32_t>(option_));
  AppendBig(out, static_cast<uint32_t>(type));
  AppendBig(out, static_cast<uint32_t>(payload.size()));
  *out += payload;
}

void Handshake::Close(const char* reason) {
  state_ = State::kClosed;
  close_reason_ = reason;
}

}  // namespace varve::nbd
