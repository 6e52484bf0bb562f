#include "nbd/option_data.h"

#include "nbd/bytes.h"
#include "nbd/protocol.h"
#include "nbd/text.h"

namespace varve::nbd {

std::optional<InfoQuery> ParseInfoQuery(std::span<const std::byte> data) {
  ByteReader reader(data);
  InfoQuery query;
  query.name = reader.TakeString();
  const unsigned count = reader.Take<uint16_t>();
  if (!reader.ok() || reader.left() != size_t{count} * sizeof(uint16_t)) return {};
  if (!IsProtocolString(query.name)) return {};
  for (unsigned i = 0; i < count; i++) {
    const auto wanted = static_cast<Info>(reader.Take<uint16_t>());
    query.wants_name |= wanted == Info::kName;
    query.wants_description |= wanted == Info::kDescription;
  }
  return query;
}

std::optional<ContextQuery> ParseContextQuery(std::span<const std::byte> data) {
  ByteReader reader(data);
  ContextQuery query;
  query.export_name = reader.TakeString();
  const uint32_t count = reader.Take<uint32_t>();
  if (!reader.ok() || !IsProtocolString(query.export_name)) return {};
  for (uint32_t i = 0; i < count; i++) {
    const std::string_view context = reader.TakeString();
    // Checked each round: a count of four billion ends with the data, not with the count.
    if (!reader.ok() || !IsProtocolString(context)) return {};
    query.queries.push_back(context);
  }
  if (reader.left() != 0) return {};
  return query;
}

}  // namespace varve::nbd
