// Status: the outcome of an operation, as a value. Zero is success; anything
// else is a host errno plus a fixed sentence about what was being done.
//
// Trivially copyable and two words long, so that it can be handed through
// completions without allocation. Native code never throws.
#pragma once

#include <cerrno>
#include <cstdint>

namespace varve {

class [[nodiscard]] Status {
 public:
  constexpr Status() = default;
  // what: a string literal naming the step that failed ("sync", "journal write").
  constexpr Status(int error, const char* what) : error_(error), what_(what) {}
  static constexpr Status Ok() { return Status(); }

  constexpr bool ok() const { return error_ == 0; }
  constexpr int error() const { return error_; }  // errno, 0 when ok
  constexpr const char* what() const { return what_; }

 private:
  int error_ = 0;
  const char* what_ = "";
};

}  // namespace varve
