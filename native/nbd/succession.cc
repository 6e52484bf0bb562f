#include "nbd/succession.h"

#include <xxhash.h>

#include <algorithm>
#include <cerrno>

#include "nbd/bytes.h"
#include "nbd/text.h"

namespace varve::nbd {
namespace {

constexpr uint64_t kMagic = 0x5641525645535543;  // "VARVESUC"
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 8 + 4 + 8;  // magic, version, checksum of the rest

void AppendString(std::string* out, std::string_view text) {
  AppendBig(out, static_cast<uint32_t>(text.size()));
  *out += text;
}

void AppendListener(const ListenSocket& listener, std::string* out) {
  AppendString(out, listener.path);
  AppendString(out, listener.host);
  AppendBig(out, listener.port);
  AppendBig(out, uint64_t{listener.device});
  AppendBig(out, uint64_t{listener.inode});
}

ListenSocket TakeListener(ByteReader* reader) {
  ListenSocket listener;
  listener.path = reader->TakeString();
  listener.host = reader->TakeString();
  listener.port = reader->Take<uint16_t>();
  listener.device = reader->Take<uint64_t>();
  listener.inode = reader->Take<uint64_t>();
  return listener;
}

uint64_t MillisecondsOf(std::chrono::system_clock::time_point time) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count());
}

// A clock of nanoseconds has no room for every number of milliseconds.
std::chrono::system_clock::time_point TimeOf(uint64_t milliseconds) {
  constexpr uint64_t kMillisecondsMax = uint64_t{1} << 43;
  return std::chrono::system_clock::time_point(std::chrono::milliseconds(std::min(milliseconds, kMillisecondsMax)));
}

void AppendClient(const ParkedClient& client, std::string* out) {
  AppendString(out, client.stats.export_name);
  AppendString(out, client.identity);
  AppendString(out, client.stats.address);
  AppendBig(out, MillisecondsOf(client.stats.connected_at));
  AppendBig(out, client.stats.reads);
  AppendBig(out, client.stats.writes);
  AppendBig(out, client.stats.read_bytes);
  AppendBig(out, client.stats.write_bytes);
  AppendBig(out, client.size_bytes);
  AppendBig(out, client.transmission_flags);
  AppendBig(out, static_cast<uint16_t>(client.framing));
  AppendBig(out, client.contexts);
  AppendBig(out, static_cast<uint32_t>(client.context_names.size()));
  for (const std::string& name : client.context_names) AppendString(out, name);
  AppendString(out, client.unanswered);
}

// False: beyond what any version of ours agrees on.
bool TakeTerms(ByteReader* reader, ParkedClient* client) {
  client->size_bytes = reader->Take<uint64_t>();
  client->transmission_flags = reader->Take<uint16_t>();
  const auto framing = reader->Take<uint16_t>();
  client->framing = static_cast<Framing>(framing);
  client->contexts = reader->Take<ContextBits>();
  const auto names = reader->Take<uint32_t>();
  if (framing > static_cast<uint16_t>(Framing::kExtended) || names > kChangedContextsMax) return false;
  for (uint32_t i = 0; i < names; i++) client->context_names.emplace_back(reader->TakeString());
  // Each bit is one of base:allocation and the names.
  return uint64_t{client->contexts} < uint64_t{1} << (1 + names);
}

bool TakeClient(ByteReader* reader, ParkedClient* client) {
  client->stats.export_name = reader->TakeString();
  client->identity = reader->TakeString();
  client->stats.address = reader->TakeString();
  client->stats.connected_at = TimeOf(reader->Take<uint64_t>());
  client->stats.reads = reader->Take<uint64_t>();
  client->stats.writes = reader->Take<uint64_t>();
  client->stats.read_bytes = reader->Take<uint64_t>();
  client->stats.write_bytes = reader->Take<uint64_t>();
  if (!TakeTerms(reader, client)) return false;
  client->unanswered = reader->TakeString();
  return reader->ok() && IsProtocolString(client->stats.export_name);
}

bool TakeEntries(ByteReader* reader, Succession* succession) {
  const auto listeners = reader->Take<uint32_t>();
  for (uint32_t i = 0; i < listeners && reader->ok(); i++) succession->listeners.push_back(TakeListener(reader));
  const auto clients = reader->Take<uint32_t>();
  for (uint32_t i = 0; i < clients && reader->ok(); i++) {
    if (!TakeClient(reader, &succession->clients.emplace_back())) return false;
  }
  return reader->ok() && reader->left() == 0;
}

uint64_t ChecksumOf(std::string_view body) { return XXH64(body.data(), body.size(), 0); }

}  // namespace

std::vector<UniqueFd*> Succession::Descriptors() {
  std::vector<UniqueFd*> descriptors;
  for (ListenSocket& listener : listeners) descriptors.push_back(&listener.fd);
  for (ParkedClient& client : clients) descriptors.push_back(&client.fd);
  return descriptors;
}

std::vector<const UniqueFd*> Succession::Descriptors() const {
  const std::vector<UniqueFd*> descriptors = const_cast<Succession*>(this)->Descriptors();
  return {descriptors.begin(), descriptors.end()};
}

std::string EncodeSuccession(const Succession& succession) {
  std::string body;
  AppendBig(&body, static_cast<uint32_t>(succession.listeners.size()));
  for (const ListenSocket& listener : succession.listeners) AppendListener(listener, &body);
  AppendBig(&body, static_cast<uint32_t>(succession.clients.size()));
  for (const ParkedClient& client : succession.clients) AppendClient(client, &body);
  std::string state;
  AppendBig(&state, kMagic);
  AppendBig(&state, kVersion);
  AppendBig(&state, ChecksumOf(body));
  return state += body;
}

Status DecodeSuccession(std::span<const std::byte> state, Succession* succession) {
  *succession = {};
  ByteReader reader(state);
  const auto magic = reader.Take<uint64_t>();
  const auto version = reader.Take<uint32_t>();
  const auto checksum = reader.Take<uint64_t>();
  if (!reader.ok() || magic != kMagic) return Status(EBADMSG, "what the last service left is not a state of clients");
  if (version != kVersion) return Status(EPROTO, "the last service left its clients in a way of another version");
  const std::span<const std::byte> body = state.subspan(kHeaderBytes);
  if (checksum != ChecksumOf({reinterpret_cast<const char*>(body.data()), body.size()})) {
    return Status(EBADMSG, "what the last service left of its clients is damaged");
  }
  Succession taken;
  if (!TakeEntries(&reader, &taken)) return Status(EBADMSG, "what the last service left of its clients makes no sense");
  *succession = std::move(taken);
  return Status::Ok();
}

}  // namespace varve::nbd
