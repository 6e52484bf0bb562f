// Big-endian integers and bounded reading: the only place that takes the wire's bytes apart.
//
// Invariant: a ByteReader never reads past its end; once it would have, ok() stays false
// and everything it returns is zero or empty.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace varve::nbd {

static_assert(std::endian::native == std::endian::little, "the wire is the other way round");

constexpr uint16_t SwapBytes(uint16_t v) { return __builtin_bswap16(v); }
constexpr uint32_t SwapBytes(uint32_t v) { return __builtin_bswap32(v); }
constexpr uint64_t SwapBytes(uint64_t v) { return __builtin_bswap64(v); }

template <typename T>
T LoadBig(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return SwapBytes(value);
}

// Returns the place behind what was stored.
template <typename T>
std::byte* StoreBig(std::byte* to, T value) {
  value = SwapBytes(value);
  std::memcpy(to, &value, sizeof value);
  return to + sizeof value;
}

template <typename T>
void AppendBig(std::string* out, T value) {
  value = SwapBytes(value);
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <typename T>
  T Take() {
    if (!Has(sizeof(T))) return 0;
    T value = LoadBig<T>(rest_.data());
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }

  std::string_view TakeText(size_t bytes) {
    if (!Has(bytes)) return {};
    std::string_view text(reinterpret_cast<const char*>(rest_.data()), bytes);
    rest_ = rest_.subspan(bytes);
    return text;
  }

  // A 32-bit length and that many bytes.
  std::string_view TakeString() { return TakeText(Take<uint32_t>()); }

  bool ok() const { return ok_; }
  size_t left() const { return rest_.size(); }

 private:
  bool Has(size_t bytes) {
    if (rest_.size() < bytes) ok_ = false;
    return ok_;
  }

  std::span<const std::byte> rest_;
  bool ok_ = true;
};

}  // namespace varve::nbd
