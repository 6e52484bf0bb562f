// Reading verbs' arguments. binding.ts promises their types; nothing is checked here.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

namespace varve {

inline double NumberAt(const Napi::CallbackInfo& info, size_t i) { return info[i].As<Napi::Number>().DoubleValue(); }
inline uint64_t U64At(const Napi::CallbackInfo& info, size_t i) { return static_cast<uint64_t>(NumberAt(info, i)); }
inline uint32_t HandleAt(const Napi::CallbackInfo& info, size_t i) { return info[i].As<Napi::Number>().Uint32Value(); }

inline uint64_t U64Of(const Napi::Object& object, const char* name) {
  return static_cast<uint64_t>(object.Get(name).As<Napi::Number>().DoubleValue());
}
inline std::string StringOf(const Napi::Object& object, const char* name) {
  Napi::Value value = object.Get(name);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}
inline bool FlagOf(const Napi::Object& object, const char* name) {
  Napi::Value value = object.Get(name);
  return value.IsBoolean() && value.As<Napi::Boolean>().Value();
}

inline std::vector<uint8_t> BytesAt(const Napi::CallbackInfo& info, size_t i) {
  Napi::Uint8Array bytes = info[i].As<Napi::Uint8Array>();
  return std::vector<uint8_t>(bytes.Data(), bytes.Data() + bytes.ElementLength());
}

inline std::vector<uint8_t> U64Bytes(uint64_t value) {
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(&value);
  return std::vector<uint8_t>(bytes, bytes + sizeof(value));
}

}  // namespace varve
