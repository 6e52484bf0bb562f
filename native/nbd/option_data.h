// Option data taken apart: pure functions from the bytes of one option to what they say.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace varve::nbd {

// INFO and GO. Views point into the data.
struct InfoQuery {
  std::string_view name;
  bool wants_name = false;
  bool wants_description = false;
};

// LIST_META_CONTEXT and SET_META_CONTEXT. Views point into the data.
struct ContextQuery {
  std::string_view export_name;
  std::vector<std::string_view> queries;
};

// Empty when lengths do not add up exactly, or a string is no protocol string.
std::optional<InfoQuery> ParseInfoQuery(std::span<const std::byte> data);
std::optional<ContextQuery> ParseContextQuery(std::span<const std::byte> data);

}  // namespace varve::nbd
