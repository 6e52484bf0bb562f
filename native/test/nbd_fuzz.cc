// Fuzzer of the NBD server's parsers: a whole connection, from client flags to the last request.
//
// The first two bytes choose the start: negotiation from its beginning, or transmission in one of the framings; and into which
// pieces the rest is cut. Oracle: no sanitizer report, no abort, and once the client has gone the session ends
// and every byte of the budget is back.
//
//   npm run fuzz -- nbd
#include <cstdlib>
#include <memory>
#include <span>

#include "nbd/handshake.h"
#include "nbd/session.h"
#include "test/memory_target.h"
#include "test/nbd_script_transport.h"

namespace varve::nbd {
namespace {

constexpr uint64_t kSizeBytes = 1 << 20;
constexpr uint64_t kBudgetBytes = 2 << 20;

// The answer to what changed is known: odd lengths, and a run beyond the end.
const ChangedContexts& Contexts() {
  static const ChangedContexts contexts = [] {
    const auto runs = std::make_shared<const std::vector<ChangedRun>>(
        std::vector<ChangedRun>{{0, 512}, {4096, 1}, {65536, 300'000}, {kSizeBytes - 1, 4096}});
    return std::make_shared<const std::vector<ChangedContext>>(
        std::vector<ChangedContext>{{"varve:changed:x", runs}, {"qemu:dirty-bitmap:x", runs}});
  }();
  return contexts;
}

void Require(bool condition) {
  if (!condition) std::abort();
}

class OneExport final : public Catalog {
 public:
  std::vector<ExportView> List() override { return {View()}; }
  bool Find(std::string_view name, ExportView* view) override {
    *view = View();
    return name.empty() || name == view->name;
  }
  Admission Enter(std::string_view name, ExportView* view) override {
    return Find(name, view) ? Admission::kEntered : Admission::kUnknown;
  }

 private:
  static ExportView View() { return {"d", "fuzzed", kSizeBytes, 4096, false, Contexts()}; }
};

struct Host final : SessionHost {
  void SessionEnded(Session*) override { ended++; }
  void SessionParked(Session*) override { parked++; }
  void MemoryWantedBack() override {}
  int ended = 0;
  int parked = 0;
};

void Transmit(std::string_view bytes, size_t slice_bytes, const Terms& terms) {
  ManualLoop loop;
  // Kept: fresh memory for megabytes of replies was half of the time.
  static BufferPool buffers;
  MemoryBudget budget(kBudgetBytes);
  MemoryBudget waiting_budget(kBudgetBytes);
  Host host;
  auto transport = std::make_unique<ScriptTransport>(loop, slice_bytes);
  ScriptTransport& client = *transport;
  Session session({loop, buffers, budget, waiting_budget, host, std::move(transport), std::make_shared<MemoryTarget>(kSizeBytes),
                   std::make_shared<ClientRecord>(), terms});
  client.DropOutput();
  session.Start({}, false);
  client.Put(bytes);
  client.EndInput();
  loop.RunAll();
  Require(host.ended == 1);
  Require(budget.TryTake(kBudgetBytes));
}

Terms TermsOf(const Agreement& agreement) {
  return {kSizeBytes, agreement.transmission_flags, agreement.framing, agreement.contexts};
}

void Negotiate(std::string_view bytes, size_t slice_bytes) {
  OneExport catalog;
  Handshake handshake(catalog);
  std::string out;
  while (!bytes.empty()) {
    const size_t taken = handshake.Step(std::as_bytes(std::span(bytes)), &out);
    Require(taken <= bytes.size());
    if (taken == 0) break;
    bytes.remove_prefix(taken);
  }
  if (handshake.state() == Handshake::State::kTransmission) Transmit(bytes, slice_bytes, TermsOf(handshake.agreement()));
}

}  // namespace
}  // namespace varve::nbd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace varve::nbd;
  if (size < 2) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const size_t slice_bytes = data[1] == 0 ? SIZE_MAX : data[1];
  if (data[0] % 4 == 3) {
    Negotiate(rest, slice_bytes);
  } else {
    const Terms terms{kSizeBytes, 0x1dff & ~uint16_t{kReadOnly}, static_cast<Framing>(data[0] % 4), {7, Contexts()}};
    Transmit(rest, slice_bytes, terms);
  }
  return 0;
}
