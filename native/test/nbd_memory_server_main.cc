// A stand-alone NBD server on memory, for tests of the protocol and as its ceiling in benches.
//
//   nbd_memory_server_main --unix PATH | --tcp PORT   [--size BYTES] [--name NAME] [--description TEXT]
//     [--backend epoll|io_uring] [--loops N] [--read-only] [--buffers BYTES] [--handshake-ms MS] [--write-delay-ms MS]
//     [--clients N] [--handshakes N] [--changed NAME=OFFSET+LENGTH,OFFSET+LENGTH,...]
//
// Prints "ready PORT" when it listens; on SIGTERM closes clients in order, prints "closed" and exits 0. Each client's end is
// a line "gone REASON". SIGUSR1 removes the export and adds it again, and prints "removed COUNT".
#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/event_loop.h"
#include "nbd/server.h"
#include "test/memory_target.h"

namespace {

using varve::EventLoop;

class Printer final : public varve::nbd::ServerEvents {
 public:
  void ClientConnected(varve::nbd::ClientId, std::string_view, std::string_view address) override {
    std::printf("connected %.*s\n", static_cast<int>(address.size()), address.data());
    std::fflush(stdout);
  }
  void ClientDisconnected(varve::nbd::ClientId, std::string_view, std::string_view reason) override {
    std::printf("gone %.*s\n", static_cast<int>(reason.size()), reason.data());
    std::fflush(stdout);
  }
};

using Options = std::map<std::string, std::string>;

Options ParseOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    const bool flag = std::strcmp(argv[i], "--read-only") == 0;
    if (!flag && i + 1 == argc) std::exit(2);
    options[argv[i]] = flag ? "yes" : argv[i + 1];
    i += flag ? 0 : 1;
  }
  return options;
}

uint64_t NumberOf(const Options& options, const char* name, uint64_t otherwise) {
  const auto found = options.find(name);
  return found == options.end() ? otherwise : std::strtoull(found->second.c_str(), nullptr, 0);
}

std::string TextOf(const Options& options, const char* name) {
  const auto found = options.find(name);
  return found == options.end() ? "" : found->second;
}

std::vector<std::unique_ptr<EventLoop>> StartLoops(const Options& options) {
  const std::string backend = TextOf(options, "--backend");
  const auto kind = backend == "epoll"      ? varve::LoopBackend::kEpoll
                    : backend == "io_uring" ? varve::LoopBackend::kUring
                                            : varve::LoopBackend::kAuto;
  std::vector<std::unique_ptr<EventLoop>> loops;
  for (size_t i = 0; i < NumberOf(options, "--loops", 1); i++) {
    std::string error;
    auto loop = varve::CreateEventLoop(kind, &error);
    if (!loop) {
      std::fprintf(stderr, "%s\n", error.c_str());
      std::exit(1);
    }
    loop->ordinal = i;
    loop->Start("nbd");
    loops.push_back(std::move(loop));
  }
  return loops;
}

varve::nbd::ServerLimits LimitsOf(const Options& options) {
  varve::nbd::ServerLimits limits;
  limits.buffer_bytes = NumberOf(options, "--buffers", limits.buffer_bytes);
  limits.clients_per_export_max = NumberOf(options, "--clients", limits.clients_per_export_max);
  limits.handshakes_max = NumberOf(options, "--handshakes", limits.handshakes_max);
  limits.handshake_timeout = std::chrono::milliseconds(NumberOf(options, "--handshake-ms", 10'000));
  return limits;
}

// Under the two names that the control plane gives to one list of changes.
varve::nbd::ChangedContexts ContextsOf(const Options& options) {
  const std::string text = TextOf(options, "--changed");
  const size_t name_end = text.find('=');
  if (name_end == std::string::npos) return nullptr;
  std::vector<varve::nbd::ChangedRun> runs;
  for (const char* at = text.c_str() + name_end; *at == '=' || *at == ',';) {
    char* end = nullptr;
    const uint64_t offset = std::strtoull(at + 1, &end, 0);
    if (*end != '+') std::exit(2);
    runs.push_back({offset, std::strtoull(end + 1, &end, 0)});
    at = end;
  }
  const auto shared = std::make_shared<const std::vector<varve::nbd::ChangedRun>>(std::move(runs));
  const std::string name = text.substr(0, name_end);
  return std::make_shared<const std::vector<varve::nbd::ChangedContext>>(std::vector<varve::nbd::ChangedContext>{
      {"varve:changed:" + name, shared}, {"qemu:dirty-bitmap:" + name, shared}});
}

void FailOn(varve::Status status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s: %s\n", status.what(), std::strerror(status.error()));
  std::exit(1);
}

void RemoveAndAdd(varve::nbd::Server& server, const varve::nbd::ExportSpec& spec) {
  std::promise<unsigned> removed;
  FailOn(server.RemoveExport(spec.name, varve::nbd::Parting::kDrain, [&](unsigned clients) { removed.set_value(clients); }));
  const unsigned clients = removed.get_future().get();
  FailOn(server.AddExport(spec));
  // Said when it is there again: whoever reads this connects at once.
  std::printf("removed %u\n", clients);
  std::fflush(stdout);
}

void ServeUntilTerminated(varve::nbd::Server& server, const varve::nbd::ExportSpec& spec, const sigset_t& signals) {
  for (int signal = 0; signal != SIGTERM && signal != SIGINT;) {
    sigwait(&signals, &signal);
    if (signal == SIGUSR1) RemoveAndAdd(server, spec);
  }
  std::promise<void> closed;
  server.Close([&] { closed.set_value(); });
  closed.get_future().wait();
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  auto loops = StartLoops(options);
  std::vector<EventLoop*> pointers;
  for (const auto& loop : loops) pointers.push_back(loop.get());
  auto target = std::make_shared<varve::MemoryTarget>(NumberOf(options, "--size", uint64_t{1} << 30));
  target->DelayWrites(std::chrono::milliseconds(NumberOf(options, "--write-delay-ms", 0)));
  Printer printer;
  {
    varve::nbd::Server server(pointers, LimitsOf(options), &printer);
    varve::nbd::ListenAddress address{
        TextOf(options, "--unix"), "127.0.0.1", static_cast<uint16_t>(NumberOf(options, "--tcp", 0))};
    varve::nbd::ListenerId listener = 0;
    uint16_t port = 0;
    FailOn(server.AddListener(address, &listener, &port));
    varve::nbd::ExportSpec spec{.name = TextOf(options, "--name"),
                                .description = TextOf(options, "--description"),
                                .read_only = options.contains("--read-only"),
                                .target = target,
                                .listeners = {listener},
                                .contexts = ContextsOf(options),
                                .identity = ""};
    FailOn(server.AddExport(spec));
    std::printf("ready %u\n", port);
    std::fflush(stdout);
    ServeUntilTerminated(server, spec, signals);
    std::printf("closed\n");
  }
  for (auto& loop : loops) loop->Stop();
  return 0;
}
