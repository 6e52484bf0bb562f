// The client's half of the protocol, for tests: requests as bytes.
#pragma once

#include <string>
#include <string_view>

#include "nbd/bytes.h"
#include "nbd/protocol.h"

namespace varve::nbd::wire {

inline std::string OptionBytes(uint32_t option, std::string_view data) {
  std::string bytes;
  AppendBig(&bytes, kOptionMagic);
  AppendBig(&bytes, option);
  AppendBig(&bytes, static_cast<uint32_t>(data.size()));
  return bytes.append(data);
}
inline std::string OptionBytes(Option option, std::string_view data = {}) {
  return OptionBytes(static_cast<uint32_t>(option), data);
}

inline std::string ClientFlags(uint32_t flags) {
  std::string bytes;
  AppendBig(&bytes, flags);
  return bytes;
}

inline std::string Counted(std::string_view text) {
  std::string bytes;
  AppendBig(&bytes, static_cast<uint32_t>(text.size()));
  return bytes.append(text);
}

inline std::string InfoData(std::string_view name, std::initializer_list<Info> infos = {}) {
  std::string bytes = Counted(name);
  AppendBig(&bytes, static_cast<uint16_t>(infos.size()));
  for (const Info info : infos) AppendBig(&bytes, static_cast<uint16_t>(info));
  return bytes;
}

inline std::string ContextData(std::string_view name, std::initializer_list<std::string_view> queries) {
  std::string bytes = Counted(name);
  AppendBig(&bytes, static_cast<uint32_t>(queries.size()));
  for (const std::string_view query : queries) bytes += Counted(query);
  return bytes;
}

struct RequestFields {
  Command command{};
  uint16_t flags = 0;
  uint64_t cookie = 1;
  uint64_t offset = 0;
  uint64_t length = 0;
};

inline std::string RequestBytes(Framing framing, const RequestFields& fields, std::string_view payload = {}) {
  const bool extended = framing == Framing::kExtended;
  std::string bytes;
  AppendBig(&bytes, extended ? kExtendedRequestMagic : kCompactRequestMagic);
  AppendBig(&bytes, fields.flags);
  AppendBig(&bytes, static_cast<uint16_t>(fields.command));
  AppendBig(&bytes, fields.cookie);
  AppendBig(&bytes, fields.offset);
  if (extended) {
    AppendBig(&bytes, fields.length);
  } else {
    AppendBig(&bytes, static_cast<uint32_t>(fields.length));
  }
  return bytes.append(payload);
}

}  // namespace varve::nbd::wire
