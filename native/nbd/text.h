// Strings of the protocol: UTF-8 without NUL, at most 4096 bytes.
#pragma once

#include <string_view>

namespace varve::nbd {

// True when `text` may be a name, a description or a query. Overlong forms, surrogates and
// code points past U+10FFFF are no UTF-8.
bool IsProtocolString(std::string_view text);

}  // namespace varve::nbd
