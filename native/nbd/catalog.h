// Catalog: what a handshake may know of the exports, and how it claims one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nbd/contexts.h"

namespace varve::nbd {

struct ExportView {
  std::string name;  // canonical: never empty for the default export unless that is its name
  std::string description;
  uint64_t size_bytes = 0;
  uint32_t preferred_block_bytes = 4096;
  bool read_only = false;
  ChangedContexts contexts;  // the same pointer as long as the export is the same
};

enum class Admission { kEntered, kUnknown, kFull };

class Catalog {
 public:
  virtual ~Catalog() = default;
  virtual std::vector<ExportView> List() = 0;
  // name: as the client sent it; empty asks for the only export there is.
  virtual bool Find(std::string_view name, ExportView* view) = 0;
  // Finds and claims a client's place, so that the export cannot vanish between the reply and the session.
  virtual Admission Enter(std::string_view name, ExportView* view) = 0;
};

}  // namespace varve::nbd
