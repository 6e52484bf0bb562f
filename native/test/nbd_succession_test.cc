// Goal: another process goes on with a client's connection: every request is executed once and answered once, wherever in the stream the
//   first one stopped; who cannot go on is closed; a state of another version, or a damaged one, is refused.
// Method: sessions on a loop without a clock, parked after each number of received bytes in turn, go on in a second session. Two servers with
//   real sockets, one after the other. The state with every byte changed and every length cut.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <future>
#include <map>
#include <optional>

#include "nbd/server.h"
#include "nbd/session.h"
#include "nbd/succession_mail.h"
#include "io/fd_mail.h"
#include "test/memory_target.h"
#include "test/nbd_script_transport.h"
#include "test/nbd_wire.h"

namespace varve::nbd {
namespace {

using namespace wire;

constexpr uint64_t kSizeBytes = 1 << 20;
constexpr uint64_t kBudgetBytes = 64 << 20;
constexpr uint16_t kFlags = kHasFlags | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes | kCanMultiConn;

// Counts what is written where, and has no space for it while told so.
class CountingTarget final : public BlockTarget {
 public:
  void Submit(BlockRequest* request) override {
    if (request->op != BlockOp::kWrite) return memory_.Submit(request);
    if (full && !request->holder->recalls()) return held_.push_back(request);
    if (full) return request->loop->Complete(request->done, Status(ERESTART, "recalled"));
    writes[request->offset]++;
    memory_.Submit(request);
  }
  void RecallHeld() override {
    for (BlockRequest* request : std::exchange(held_, {})) {
      request->loop->Complete(request->done, Status(ERESTART, "recalled"));
    }
  }
  uint64_t size_bytes() const override { return kSizeBytes; }
  uint32_t preferred_block_bytes() const override { return 4096; }

  bool full = false;
  std::map<uint64_t, int> writes;

 private:
  MemoryTarget memory_{kSizeBytes};
  std::vector<BlockRequest*> held_;
};

struct Host final : SessionHost {
  void SessionEnded(Session*) override { ended++; }
  void SessionParked(Session*) override { parked++; }
  void MemoryWantedBack() override {}
  int ended = 0, parked = 0;
};

// One process's half of a connection. Members outlive the session.
struct Life {
  Life(Framing framing, std::shared_ptr<BlockTarget> target, std::string early = {}) {
    auto owned = std::make_unique<ScriptTransport>(loop);
    transport = owned.get();
    session.emplace(SessionParts{.loop = loop,
                                 .buffers = buffers,
                                 .budget = budget,
                                 .waiting_budget = waiting_budget,
                                 .host = host,
                                 .transport = std::move(owned),
                                 .target = std::move(target),
                                 .record = std::make_shared<ClientRecord>(),
                                 .terms = {kSizeBytes, kFlags, framing, {}}});
    session->Start(std::move(early), false);
    loop.RunAll();
  }
  void Put(std::string_view bytes) {
    if (!bytes.empty()) transport->Put(bytes);
    loop.RunAll();
  }
  std::string Park() {
    session->Park();
    loop.RunAll();
    EXPECT_EQ(host.parked, 1);
    ParkedSession parked = session->TakeParked();
    EXPECT_EQ(session->record().in_flight.get(), 0u);
    // All of it is back.
    EXPECT_TRUE(budget.TryTake(kBudgetBytes) && waiting_budget.TryTake(kBudgetBytes));
    output += transport->TakeOutput();
    return parked.unanswered;
  }
  void Finish() {
    transport->EndInput();
    loop.RunAll();
    output += transport->TakeOutput();
    EXPECT_EQ(host.ended, 1);
  }

  ManualLoop loop;
  BufferPool buffers;
  MemoryBudget budget{kBudgetBytes}, waiting_budget{kBudgetBytes};
  Host host;
  ScriptTransport* transport;
  std::optional<Session> session;
  std::string output;
};

std::string Write(Framing framing, uint64_t cookie, uint64_t offset, size_t bytes) {
  const uint16_t flags = framing == Framing::kExtended ? kFlagPayloadLength : 0;
  return RequestBytes(framing, {Command::kWrite, flags, cookie, offset, bytes}, std::string(bytes, static_cast<char>(cookie)));
}

// How often each cookie was answered; replies without payload have one size in each framing.
std::map<uint64_t, int> AnswersIn(Framing framing, const std::string& output) {
  const size_t reply_bytes = framing == Framing::kExtended ? 32 : 16;
  EXPECT_EQ(output.size() % reply_bytes, 0u);
  std::map<uint64_t, int> answers;
  for (size_t at = 0; at + reply_bytes <= output.size(); at += reply_bytes) {
    answers[LoadBig<uint64_t>(reinterpret_cast<const std::byte*>(output.data()) + at + 8)]++;
  }
  return answers;
}

class Parking : public testing::TestWithParam<Framing> {};
INSTANTIATE_TEST_SUITE_P(Framings, Parking,
                         testing::Values(Framing::kSimple, Framing::kStructured, Framing::kExtended));

// The third payload is large enough to be received straight into its place.
TEST_P(Parking, GoesOnFromAnyByteOfTheStream) {
  const Framing framing = GetParam();
  const std::string stream = Write(framing, 1, 0, 40) + RequestBytes(framing, {Command::kFlush, 0, 2}) +
                             Write(framing, 3, 4096, 20'000) + Write(framing, 4, 65536, 8);
  for (size_t cut = 0; cut <= stream.size(); cut += cut < 200 || cut + 200 > stream.size() ? 1 : 1999) {
    auto target = std::make_shared<CountingTarget>();
    Life first(framing, target);
    first.Put(std::string_view(stream).substr(0, cut));
    Life second(framing, target, first.Park());
    second.Put(std::string_view(stream).substr(cut));
    second.Finish();
    const std::map<uint64_t, int> once{{1, 1}, {2, 1}, {3, 1}, {4, 1}};
    ASSERT_EQ(AnswersIn(framing, first.output + second.output), once) << "cut at " << cut;
    const std::map<uint64_t, int> written{{0, 1}, {4096, 1}, {65536, 1}};
    ASSERT_EQ(target->writes, written) << "cut at " << cut;
  }
}

TEST_P(Parking, TwiceInARowKeepsWhatNobodyHasTakenYet) {
  const Framing framing = GetParam();
  const std::string stream = Write(framing, 1, 0, 400'000) + Write(framing, 2, 500'000, 10);
  auto target = std::make_shared<CountingTarget>();
  Life first(framing, target);
  first.Put(std::string_view(stream).substr(0, 399'000));
  Life second(framing, target, first.Park());
  Life third(framing, target, second.Park());
  third.Put(std::string_view(stream).substr(399'000));
  third.Finish();
  EXPECT_EQ(AnswersIn(framing, third.output), (std::map<uint64_t, int>{{1, 1}, {2, 1}}));
}

TEST_P(Parking, TakesAlongWhatWaitsForSpace) {
  const Framing framing = GetParam();
  auto target = std::make_shared<CountingTarget>();
  target->full = true;
  Life first(framing, target);
  first.Put(Write(framing, 7, 8192, 100) + Write(framing, 8, 16384, 100));
  const std::string left = first.Park();
  target->full = false;
  Life second(framing, target, left);
  second.Finish();
  EXPECT_EQ(first.output, "");
  EXPECT_EQ(AnswersIn(framing, second.output), (std::map<uint64_t, int>{{7, 1}, {8, 1}}));
  EXPECT_EQ(target->writes, (std::map<uint64_t, int>{{8192, 1}, {16384, 1}}));
}

TEST(Parked, OnceTheClientHasReadItsReplies) {
  auto target = std::make_shared<CountingTarget>();
  Life life(Framing::kSimple, target);
  life.transport->SetReading(false);
  life.Put(Write(Framing::kSimple, 1, 0, 10));
  life.session->Park();
  life.loop.RunAll();
  EXPECT_EQ(life.host.parked, 0);
  life.transport->SetReading(true);
  life.loop.RunAll();
  EXPECT_EQ(life.host.parked, 1);
  EXPECT_EQ(life.session->TakeParked().unanswered, "");
}

// What it had sent before is the old connection's: after the client has come again it must not be executed behind what is newer.
TEST(Parked, NotWhenTheClientHasHungUp) {
  auto target = std::make_shared<CountingTarget>();
  Life life(Framing::kSimple, target);
  life.transport->EndInput();
  life.session->Park();
  life.loop.RunAll();
  EXPECT_EQ(life.host.parked, 0);
  EXPECT_EQ(life.host.ended, 1);
}

TEST(Parked, ADrainOvertakesIt) {
  auto target = std::make_shared<CountingTarget>();
  Life life(Framing::kSimple, target);
  life.transport->SetReading(false);
  life.Put(Write(Framing::kSimple, 1, 0, 10));
  life.session->Park();
  life.session->Abort("it took too long");
  life.loop.RunAll();
  EXPECT_EQ(life.host.parked, 0);
  EXPECT_EQ(life.host.ended, 1);
}

Succession Sample() {
  Succession sample;
  ListenSocket& listener = sample.listeners.emplace_back();
  listener.path = "/run/varve/nbd.sock";
  listener.device = 7;
  listener.inode = 1234;
  ListenSocket& tcp = sample.listeners.emplace_back();
  tcp.host = "::1";
  tcp.port = 10809;
  ParkedClient& client = sample.clients.emplace_back();
  client.identity = "2026-11-26T21:38:00.000Z";
  client.stats = {.export_name = "gold",
                  .address = "unix:pid=1,uid=0",
                  .connected_at = std::chrono::system_clock::time_point(std::chrono::milliseconds(1'790'000'000'123)),
                  .reads = 1,
                  .writes = 2,
                  .read_bytes = 3,
                  .write_bytes = 4};
  client.size_bytes = kSizeBytes;
  client.transmission_flags = kFlags;
  client.framing = Framing::kExtended;
  client.contexts = 0b101;
  client.context_names = {"varve:changed:x", "qemu:dirty-bitmap:x"};
  client.unanswered = std::string("\x25\x60\x95\x13 half a request", 19);
  return sample;
}

Status Decode(const std::string& state, Succession* succession) {
  return DecodeSuccession(std::as_bytes(std::span(state)), succession);
}

TEST(SuccessionState, IsReadAsItWasWritten) {
  const std::string state = EncodeSuccession(Sample());
  Succession read;
  ASSERT_TRUE(Decode(state, &read).ok());
  EXPECT_EQ(EncodeSuccession(read), state);
  EXPECT_EQ(read.clients.front().unanswered, Sample().clients.front().unanswered);
  EXPECT_EQ(read.clients.front().stats.connected_at, Sample().clients.front().stats.connected_at);
}

TEST(SuccessionState, IsRefusedWhenAnyByteIsAnotherOrMissing) {
  const std::string state = EncodeSuccession(Sample());
  Succession read;
  for (size_t at = 0; at < state.size(); at++) {
    EXPECT_FALSE(Decode(state.substr(0, at), &read).ok()) << "cut at " << at;
    std::string changed = state;
    changed[at] ^= 1;
    EXPECT_FALSE(Decode(changed, &read).ok()) << "changed at " << at;
    EXPECT_TRUE(read.clients.empty());
  }
  EXPECT_FALSE(Decode(state + " ", &read).ok());
}

TEST(SuccessionState, OfAnotherVersionIsRefusedAsSuch) {
  std::string state = EncodeSuccession(Sample());
  state[11]++;
  Succession read;
  EXPECT_EQ(Decode(state, &read).error(), EPROTO);
}

struct NoEvents final : ServerEvents {
  void ClientConnected(ClientId, std::string_view, std::string_view) override {}
  void ClientDisconnected(ClientId, std::string_view, std::string_view) override {}
};

// A server as one process after the other would have it.
class Process {
 public:
  Process() {
    for (int i = 0; i < 2; i++) {
      std::string error;
      loops_.push_back(CreateEventLoop(LoopBackend::kAuto, &error));
      loops_.back()->Start("test-loop");
    }
    server.emplace(std::vector<EventLoop*>{loops_[0].get(), loops_[1].get()}, ServerLimits{}, &events_);
  }
  ~Process() {
    std::promise<void> closed;
    server->Close([&closed] { closed.set_value(); });
    closed.get_future().wait();
    for (auto& loop : loops_) loop->Stop();
  }

  void Listen(const std::string& path) { ASSERT_TRUE(server->AddListener({path, "", 0}, &listener, nullptr).ok()); }
  void Export(const std::string& name, uint64_t size_bytes, const std::string& identity, bool read_only = false) {
    ExportSpec spec;
    spec.name = name;
    spec.identity = identity;
    spec.read_only = read_only;
    spec.target = std::make_shared<MemoryTarget>(size_bytes);
    spec.listeners = {listener};
    ASSERT_TRUE(server->AddExport(std::move(spec)).ok());
  }
  Succession Leave() {
    std::promise<void> socket, clients;
    EXPECT_TRUE(server->ParkListener(listener, [&socket] { socket.set_value(); }).ok());
    socket.get_future().wait();
    server->ParkClients([&clients] { clients.set_value(); });
    clients.get_future().wait();
    return server->TakeParked();
  }

  std::optional<Server> server;
  ListenerId listener = 0;

 private:
  NoEvents events_;
  std::vector<std::unique_ptr<EventLoop>> loops_;
};

std::string SocketPath() { return testing::TempDir() + "varve-succession-" + std::to_string(getpid()) + ".sock"; }

// A client that knows nothing of reconnecting.
class PlainClient {
 public:
  explicit PlainClient(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    timeval patience{60, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  void Enter(const std::string& name) {
    Say(ClientFlags(kFixedNewstyle | kNoZeroes) + OptionBytes(Option::kExportName, name));
    EXPECT_EQ(Hear(18 + 10).size(), 28u);
  }
  void Say(const std::string& bytes) {
    EXPECT_EQ(send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  // Shorter when the connection ends.
  std::string Hear(size_t bytes) {
    std::string heard(bytes, '\0');
    size_t taken = 0;
    while (taken < bytes) {
      const ssize_t got = recv(fd_.get(), heard.data() + taken, bytes - taken, 0);
      // With a time limit a receive is not begun again when io_uring has had work for the thread.
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      taken += static_cast<size_t>(got);
    }
    heard.resize(taken);
    return heard;
  }
  bool WriteIsAnswered() {
    Say(Write(Framing::kSimple, 9, 0, 512));
    return Hear(16).size() == 16;
  }

 private:
  UniqueFd fd_;
};

// A process with one export, and a client that it has answered.
struct Served {
  Served(const std::string& name, const std::string& identity) {
    process.Listen(SocketPath());
    process.Export(name, kSizeBytes, identity);
    client.emplace(SocketPath());
    client->Enter(name);
    EXPECT_TRUE(client->WriteIsAnswered());
  }
  Process process;
  std::optional<PlainClient> client;
};

// Through the same mail as between processes.
Succession Sent(const Succession& left) {
  const std::string address = "@varve-succession-" + std::to_string(getpid());
  UniqueFd mailbox;
  EXPECT_TRUE(OpenMailbox(address, &mailbox).ok());
  auto sent = std::async(std::launch::async, [&] { return SendSuccession(address, left); });
  Succession received;
  EXPECT_TRUE(ReceiveSuccession(mailbox.get(), std::chrono::minutes(1), &received).ok());
  EXPECT_TRUE(sent.get().ok());
  return received;
}

TEST(ServerSuccession, ClientsAndWhoeverConnectsMeanwhileAreServedByTheNext) {
  Served first("gold", "one");
  PlainClient& client = *first.client;
  Succession received;
  {
    const Succession left = first.process.Leave();
    received = Sent(left);
  }
  client.Say(Write(Framing::kSimple, 5, 0, 512));
  PlainClient newcomer(SocketPath());
  Process second;
  second.server->Inherit(std::move(received));
  second.Listen(SocketPath());
  second.Export("gold", kSizeBytes + 4096, "one");
  const Adoption adoption = second.server->Adopt();
  EXPECT_EQ(adoption.clients, 1u);
  EXPECT_TRUE(adoption.refused.empty());
  EXPECT_EQ(client.Hear(16).size(), 16u);
  EXPECT_TRUE(client.WriteIsAnswered());
  newcomer.Enter("gold");
  EXPECT_TRUE(newcomer.WriteIsAnswered());
  for (const ClientStats& stats : second.server->ListClients()) EXPECT_EQ(stats.writes, stats.client == 1 ? 3u : 1u);
}

struct Change {
  const char* name;
  const char* identity;
  uint64_t size_bytes;
  bool read_only;
};

TEST(ServerSuccession, WhoseExportIsAnotherNowIsClosed) {
  const Change changes[] = {{"gold", "one", kSizeBytes / 2, false},
                            {"gold", "two", kSizeBytes, false},
                            {"gold", "", kSizeBytes, false},
                            {"gold", "one", kSizeBytes, true},
                            {"silver", "one", kSizeBytes, false}};
  for (const Change& change : changes) {
    Served first("gold", "one");
    Succession left = first.process.Leave();
    Process second;
    second.server->Inherit(std::move(left));
    second.Listen(SocketPath());
    second.Export(change.name, change.size_bytes, change.identity, change.read_only);
    const Adoption adoption = second.server->Adopt();
    EXPECT_EQ(adoption.clients, 0u);
    ASSERT_EQ(adoption.refused.size(), 1u);
    EXPECT_EQ(adoption.refused.front().export_name, "gold");
    EXPECT_EQ(first.client->Hear(1), "");
  }
}

TEST(ServerSuccession, AnExportWithoutIdentityIsNotLeftToAnybody) {
  Served first("scratch", "");
  const Succession left = first.process.Leave();
  EXPECT_TRUE(left.clients.empty());
  EXPECT_EQ(left.listeners.size(), 1u);
  EXPECT_EQ(first.client->Hear(1), "");
}

TEST(SuccessionMail, WithoutAStateNothingIsTaken) {
  std::vector<NamedFd> fds;
  fds.emplace_back("varve-1-0", UniqueFd(dup(0)));
  Succession received;
  EXPECT_EQ(AssembleSuccession(std::move(fds), &received).error(), ENODATA);
}

TEST(SuccessionMail, NobodyThereIsSaid) {
  EXPECT_EQ(SendSuccession("@varve-nobody-" + std::to_string(getpid()), Sample()).error(), ECONNREFUSED);
}

TEST(SuccessionMail, AMissingDescriptorIsOfAClientThatHasHungUp) {
  Process second;
  Succession sample = Sample();
  second.server->Inherit(std::move(sample));
  const Adoption adoption = second.server->Adopt();
  ASSERT_EQ(adoption.refused.size(), 1u);
  EXPECT_STREQ(adoption.refused.front().reason, "it has hung up meanwhile");
}

}  // namespace
}  // namespace varve::nbd
