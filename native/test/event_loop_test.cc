// Goal: both event loops keep the promises of io/event_loop.h.
// Method: every test runs on io_uring and on epoll; sockets are real pairs.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <atomic>
#include <cstring>
#include <numeric>
#include <thread>

#include "io/unique_fd.h"
#include "test/loop_fixture.h"

namespace varve {
namespace {

using std::chrono::milliseconds;

class EventLoopTest : public testing::TestWithParam<LoopBackend> {
 protected:
  RunningLoop loop{GetParam()};
};

struct SocketPair {
  SocketPair() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    near = UniqueFd(fds[0]);
    far = UniqueFd(fds[1]);
  }
  UniqueFd near, far;
};

UniqueFd MemoryFile(size_t bytes) {
  UniqueFd file(memfd_create("event_loop_test", MFD_CLOEXEC));
  EXPECT_EQ(ftruncate(file.get(), static_cast<off_t>(bytes)), 0);
  return file;
}

TEST_P(EventLoopTest, NamesItsBackend) {
  EXPECT_STREQ(loop->backend(), GetParam() == LoopBackend::kUring ? "io_uring" : "epoll");
}

TEST_P(EventLoopTest, PostedWorkRunsInOrderOnTheLoopThread) {
  std::vector<int> order;
  std::atomic<bool> elsewhere = loop->OnLoopThread();
  for (int i = 0; i < 1000; ++i) {
    loop->Post([&, i] {
      order.push_back(i);
      if (!loop->OnLoopThread()) elsewhere = true;
    });
  }
  RunOn(*loop, [] {});
  std::vector<int> expected(1000);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order, expected);
  EXPECT_FALSE(elsewhere);
}

TEST_P(EventLoopTest, PostsFromManyThreadsAllArrive) {
  constexpr int kThreads = 4, kPosts = 5000;
  int arrived = 0;
  std::vector<std::thread> posters;
  for (int t = 0; t < kThreads; ++t) {
    posters.emplace_back([&] {
      for (int i = 0; i < kPosts; ++i) loop->Post([&] { ++arrived; });
    });
  }
  for (std::thread& poster : posters) poster.join();
  RunOn(*loop, [] {});
  EXPECT_EQ(arrived, kThreads * kPosts);
}

TEST_P(EventLoopTest, StopRunsWhatWasPostedBefore) {
  int ran = 0;
  for (int i = 0; i < 100; ++i) loop->Post([&] { ++ran; });
  loop->Stop();
  EXPECT_EQ(ran, 100);
}

TEST_P(EventLoopTest, CompleteReportsAfterTheCallAndBeforeDeferredWork) {
  std::string order;
  CallCompletion ready([&](Status status) { order += status.error() == EIO ? "ready " : "wrong "; });
  std::promise<void> end;
  CallCompletion deferred([&](Status) {
    order += "deferred";
    end.set_value();
  });
  loop->Post([&] {
    loop->Defer(&deferred);
    loop->Complete(&ready, Status(EIO, "test"));
    order += "call ";
  });
  end.get_future().wait();
  EXPECT_EQ(order, "call ready deferred");
}

TEST_P(EventLoopTest, WorkDeferredByDeferredWorkRunsInTheNextTurn) {
  std::promise<void> end;
  int rounds = 0;
  CallCompletion* again = nullptr;
  CallCompletion deferred([&](Status) {
    if (++rounds < 10) loop->Defer(again);
    else end.set_value();
  });
  again = &deferred;
  loop->Post([&] { loop->Defer(&deferred); });
  end.get_future().wait();
  EXPECT_EQ(rounds, 10);
}

struct CallTimer : Timer {
  explicit CallTimer(std::function<void()> on_due) : Timer(OnDue), call(std::move(on_due)) {}
  static void OnDue(Timer* self) { static_cast<CallTimer*>(self)->call(); }
  std::function<void()> call;
};

TEST_P(EventLoopTest, TimersRunInOrderOfDueTime) {
  std::string order;
  std::promise<void> end;
  CallTimer late([&] { order += "late"; end.set_value(); });
  CallTimer soon([&] { order += "soon "; });
  CallTimer never([&] { order += "never "; });
  CallTimer moved([&] { order += "moved "; });
  auto start = std::chrono::steady_clock::now();
  loop->Post([&] {
    loop->SetTimer(&late, milliseconds(30));
    loop->SetTimer(&never, milliseconds(1));
    loop->SetTimer(&moved, milliseconds(1));
    loop->SetTimer(&soon, milliseconds(5));
    loop->SetTimer(&moved, milliseconds(15));
    loop->CancelTimer(&never);
  });
  end.get_future().wait();
  EXPECT_EQ(order, "soon moved late");
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(30));
  EXPECT_EQ(late.id, 0u);
}

TEST_P(EventLoopTest, ReceiveWaitsForDataAndReportsTheEnd) {
  SocketPair pair;
  char buffer[16];
  std::thread writer([&] { EXPECT_EQ(send(pair.far.get(), "hello", 5, 0), 5); });
  int64_t got = AwaitCounted(*loop, [&](CountedCompletion* done) {
    loop->Receive(pair.near.get(), buffer, sizeof buffer, done);
  });
  writer.join();
  EXPECT_EQ(std::string(buffer, static_cast<size_t>(got)), "hello");
  pair.far = UniqueFd();
  EXPECT_EQ(AwaitCounted(*loop, [&](CountedCompletion* done) {
              loop->Receive(pair.near.get(), buffer, sizeof buffer, done);
            }), 0);
}

TEST_P(EventLoopTest, SendGathersAndIsReceived) {
  SocketPair pair;
  std::string first = "ab", second = "cde";
  iovec pieces[] = {{first.data(), 2}, {second.data(), 3}};
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  EXPECT_EQ(AwaitCounted(*loop, [&](CountedCompletion* done) {
              loop->Send(pair.near.get(), &message, done);
            }), 5);
  char buffer[16];
  EXPECT_EQ(recv(pair.far.get(), buffer, sizeof buffer, 0), 5);
  EXPECT_EQ(std::string(buffer, 5), "abcde");
}

// A sender and a receiver on one loop move more than the socket's buffers hold.
TEST_P(EventLoopTest, LargeStreamPassesWhole) {
  SocketPair pair;
  Bytes source(4 << 20), target(source.size());
  for (size_t i = 0; i < source.size(); ++i) source[i] = static_cast<uint8_t>(i * 2654435761u >> 24);
  size_t sent = 0, received = 0;
  std::promise<void> end;
  iovec piece;
  msghdr message{};
  std::function<void()> send_more, receive_more;
  CallCounted on_sent([&](int64_t result) {
    ASSERT_GT(result, 0);
    sent += static_cast<size_t>(result);
    if (sent < source.size()) send_more();
  });
  CallCounted on_received([&](int64_t result) {
    ASSERT_GT(result, 0);
    received += static_cast<size_t>(result);
    if (received < target.size()) receive_more();
    else end.set_value();
  });
  send_more = [&] {
    piece = {source.data() + sent, source.size() - sent};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    loop->Send(pair.near.get(), &message, &on_sent);
  };
  receive_more = [&] {
    loop->Receive(pair.far.get(), target.data() + received, target.size() - received, &on_received);
  };
  loop->Post([&] {
    send_more();
    receive_more();
  });
  end.get_future().wait();
  RunOn(*loop, [] {});
  EXPECT_EQ(source, target);
  EXPECT_EQ(sent, source.size());
}

TEST_P(EventLoopTest, SendToAClosedPeerIsAnErrorNotASignal) {
  SocketPair pair;
  pair.far = UniqueFd();
  char byte = 0;
  iovec piece{&byte, 1};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  EXPECT_EQ(AwaitCounted(*loop, [&](CountedCompletion* done) {
              loop->Send(pair.near.get(), &message, done);
            }), -EPIPE);
}

UniqueFd Listen(sockaddr_in* address, int flags) {
  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  *address = {};
  address->sin_family = AF_INET;
  address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof *address;
  EXPECT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(address), length), 0);
  EXPECT_EQ(listen(listener.get(), 16), 0);
  EXPECT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(address), &length), 0);
  return listener;
}

TEST_P(EventLoopTest, AcceptGivesConnections) {
  for (int flags : {0, static_cast<int>(SOCK_NONBLOCK)}) {
    sockaddr_in address;
    UniqueFd listener = Listen(&address, flags);
    UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    std::promise<int64_t> accepted;
    CallCounted done([&](int64_t result) { accepted.set_value(result); });
    RunOn(*loop, [&] { loop->Accept(listener.get(), &done); });
    ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    UniqueFd connection(static_cast<int>(accepted.get_future().get()));
    ASSERT_TRUE(connection.valid());
    EXPECT_EQ(fcntl(connection.get(), F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(fcntl(connection.get(), F_GETFL) & O_NONBLOCK, 0);
  }
}

TEST_P(EventLoopTest, CancelSocketEndsWaitingOperationsOnce) {
  SocketPair pair;
  sockaddr_in address;
  UniqueFd listener = Listen(&address, 0);
  char buffer[16];
  int received = 0, accepted = 0;
  int64_t receive_result = 0, accept_result = 0;
  std::promise<void> first, second;
  CallCounted on_receive([&](int64_t result) { ++received; receive_result = result; first.set_value(); });
  CallCounted on_accept([&](int64_t result) { ++accepted; accept_result = result; second.set_value(); });
  RunOn(*loop, [&] {
    loop->Receive(pair.near.get(), buffer, sizeof buffer, &on_receive);
    loop->Accept(listener.get(), &on_accept);
  });
  RunOn(*loop, [&] {
    loop->CancelSocket(pair.near.get());
    loop->CancelSocket(listener.get());
    loop->CancelSocket(listener.get());
  });
  first.get_future().wait();
  second.get_future().wait();
  RunOn(*loop, [] {});
  EXPECT_EQ(received, 1);
  EXPECT_EQ(accepted, 1);
  EXPECT_EQ(receive_result, -ECANCELED);
  EXPECT_EQ(accept_result, -ECANCELED);
  // The descriptor's number may be used for something else afterwards.
  EXPECT_EQ(send(pair.far.get(), "x", 1, 0), 1);
  EXPECT_EQ(AwaitCounted(*loop, [&](CountedCompletion* done) {
              loop->Receive(pair.near.get(), buffer, sizeof buffer, done);
            }), 1);
}

TEST_P(EventLoopTest, PollTellsWhatIsReady) {
  SocketPair pair;
  auto poll = [&](short events) {
    return AwaitCounted(*loop, [&](CountedCompletion* done) { loop->Poll(pair.near.get(), events, done); });
  };
  EXPECT_EQ(poll(POLLOUT), POLLOUT);
  EXPECT_EQ(poll(POLLIN | POLLOUT), POLLOUT);
  EXPECT_EQ(send(pair.far.get(), "x", 1, 0), 1);
  EXPECT_EQ(poll(POLLIN), POLLIN);
  EXPECT_EQ(poll(POLLIN | POLLOUT), POLLIN | POLLOUT);
  pair.far = UniqueFd();
  EXPECT_EQ(poll(POLLIN) & (POLLIN | POLLHUP), POLLIN | POLLHUP);
  int closed = std::exchange(pair.near, UniqueFd()).get();
  EXPECT_EQ(AwaitCounted(*loop, [&](CountedCompletion* done) { loop->Poll(closed, POLLIN, done); }), -EBADF);
}

// One waits for input and one for room on the same descriptor: each gets what it waits for, once.
TEST_P(EventLoopTest, PollWaitsAndIsOneShot) {
  SocketPair pair;
  std::atomic<int> input_reports = 0, room_reports = 0;
  int64_t input = 0, room = 0;
  std::promise<void> readable, writable;
  CallCounted on_input([&](int64_t result) { ++input_reports; input = result; readable.set_value(); });
  CallCounted on_room([&](int64_t result) { ++room_reports; room = result; writable.set_value(); });
  Bytes chunk(1 << 20);
  while (send(pair.near.get(), chunk.data(), chunk.size(), MSG_DONTWAIT) > 0) {}
  RunOn(*loop, [&] {
    loop->Poll(pair.near.get(), POLLIN, &on_input);
    loop->Poll(pair.near.get(), POLLOUT, &on_room);
  });
  EXPECT_EQ(input_reports + room_reports, 0);
  EXPECT_EQ(send(pair.far.get(), "x", 1, 0), 1);
  readable.get_future().wait();
  EXPECT_EQ(input, POLLIN);
  RunOn(*loop, [] {});
  EXPECT_EQ(room_reports, 0);
  while (recv(pair.far.get(), chunk.data(), chunk.size(), MSG_DONTWAIT) > 0) {}
  writable.get_future().wait();
  EXPECT_EQ(room, POLLOUT);
  EXPECT_EQ(send(pair.far.get(), "y", 1, 0), 1);
  RunOn(*loop, [] {});
  EXPECT_EQ(input_reports, 1);
  EXPECT_EQ(room_reports, 1);
}

TEST_P(EventLoopTest, CancelSocketEndsPolls) {
  SocketPair pair;
  std::promise<int64_t> ended;
  CallCounted done([&](int64_t result) { ended.set_value(result); });
  RunOn(*loop, [&] { loop->Poll(pair.near.get(), POLLIN, &done); });
  RunOn(*loop, [&] { loop->CancelSocket(pair.near.get()); });
  EXPECT_EQ(ended.get_future().get(), -ECANCELED);
  EXPECT_EQ(send(pair.far.get(), "x", 1, 0), 1);
  EXPECT_EQ(AwaitCounted(*loop, [&](CountedCompletion* again) {
              loop->Poll(pair.near.get(), POLLIN, again);
            }), POLLIN);
}

// Who reads there knows a disk that was larger: zeroes would be taken for its content.
TEST_P(EventLoopTest, ReadBehindTheEndOfAFileFails) {
  UniqueFd file = MemoryFile(100);
  ASSERT_EQ(pwrite(file.get(), "abc", 3, 97), 3);
  Bytes data(8192, 0xee);
  iovec pieces[] = {{data.data(), 50}, {data.data() + 50, 0}, {data.data() + 50, 8142}};
  auto read = [&](int count) {
    return Await(*loop, [&](Completion* done) { loop->ReadFile(file.get(), pieces, count, 50, done); });
  };
  EXPECT_EQ(read(3).error(), EIO);
  EXPECT_TRUE(read(2).ok());
  EXPECT_EQ(memcmp(&data[47], "abc", 3), 0);
}

TEST_P(EventLoopTest, MorePiecesThanOneSystemCallTakesAreCarriedOn) {
  UniqueFd file = MemoryFile(0);
  constexpr int kPieces = 3000, kBytes = 7;
  Bytes source(kPieces * kBytes), target(source.size());
  std::iota(source.begin(), source.end(), 0);
  auto cut = [](Bytes& data) {
    std::vector<iovec> pieces;
    for (int i = 0; i < kPieces; ++i) pieces.push_back({&data[static_cast<size_t>(i * kBytes)], kBytes});
    return pieces;
  };
  std::vector<iovec> out = cut(source), in = cut(target);
  EXPECT_TRUE(Await(*loop, [&](Completion* done) {
                loop->WriteFile(file.get(), out.data(), kPieces, 5, done);
              }).ok());
  EXPECT_TRUE(Await(*loop, [&](Completion* done) {
                loop->ReadFile(file.get(), in.data(), kPieces, 5, done);
              }).ok());
  EXPECT_EQ(source, target);
}

TEST_P(EventLoopTest, LargeWritesSyncAndZeroes) {
  UniqueFd file = MemoryFile(0);
  Bytes source(3 << 20, 0x5a), target(source.size());
  iovec out{source.data(), source.size()}, in{target.data(), target.size()};
  EXPECT_TRUE(Await(*loop, [&](Completion* done) { loop->WriteFile(file.get(), &out, 1, 0, done); }).ok());
  EXPECT_TRUE(Await(*loop, [&](Completion* done) { loop->SyncFile(file.get(), done); }).ok());
  EXPECT_TRUE(Await(*loop, [&](Completion* done) {
                loop->ZeroFile(file.get(), 1 << 20, 1 << 20, true, done);
              }).ok());
  EXPECT_TRUE(Await(*loop, [&](Completion* done) { loop->ReadFile(file.get(), &in, 1, 0, done); }).ok());
  std::fill_n(source.begin() + (1 << 20), 1 << 20, 0);
  EXPECT_EQ(source, target);
}

TEST_P(EventLoopTest, FileErrorsAreReported) {
  uint8_t byte = 0;
  iovec piece{&byte, 1};
  EXPECT_EQ(Await(*loop, [&](Completion* done) { loop->ReadFile(-1, &piece, 1, 0, done); }).error(), EBADF);
  EXPECT_EQ(Await(*loop, [&](Completion* done) { loop->WriteFile(-1, &piece, 1, 0, done); }).error(), EBADF);
  EXPECT_EQ(Await(*loop, [&](Completion* done) { loop->SyncFile(-1, done); }).error(), EBADF);
  EXPECT_EQ(Await(*loop, [&](Completion* done) { loop->ZeroFile(-1, 0, 1, true, done); }).error(), EBADF);
}

// More at once than the ring has entries.
TEST_P(EventLoopTest, ThousandsInFlightAllComplete) {
  constexpr int kOperations = 5000;
  UniqueFd file = MemoryFile(kOperations);
  Bytes data(kOperations, 0xee);
  std::vector<iovec> pieces(kOperations);
  std::promise<void> end;
  int completed = 0;
  CallCompletion done([&](Status status) {
    EXPECT_TRUE(status.ok());
    if (++completed == kOperations) end.set_value();
  });
  loop->Post([&] {
    for (size_t i = 0; i < kOperations; ++i) {
      pieces[i] = {&data[i], 1};
      loop->ReadFile(file.get(), &pieces[i], 1, i, &done);
    }
  });
  end.get_future().wait();
  RunOn(*loop, [] {});
  EXPECT_EQ(done.runs, kOperations);
  EXPECT_EQ(data, Bytes(kOperations, 0));
}

TEST_P(EventLoopTest, BlockingWorkRunsElsewhereAndReportsHere) {
  std::atomic<bool> on_loop = true;
  bool reported_here = false;
  std::promise<Status> result;
  CallCompletion done([&](Status status) {
    reported_here = loop->OnLoopThread();
    result.set_value(status);
  });
  loop->Post([&] {
    loop->RunBlocking([&] {
      on_loop = loop->OnLoopThread();
      return Status(ENOSPC, "test");
    }, &done);
  });
  EXPECT_EQ(result.get_future().get().error(), ENOSPC);
  EXPECT_FALSE(on_loop);
  EXPECT_TRUE(reported_here);
}

INSTANTIATE_TEST_SUITE_P(Loops, EventLoopTest, testing::Values(LoopBackend::kUring, LoopBackend::kEpoll),
                         [](const auto& info) {
                           return info.param == LoopBackend::kUring ? "uring" : "epoll";
                         });

// From here on io_uring_setup answers EPERM on this thread, as in many containers.
void ForbidUring() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{std::size(program), program};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

TEST(CreateEventLoop, FallsBackWhenTheKernelRefusesAndSaysWhy) {
  std::thread([] {
    ForbidUring();
    std::string error;
    EXPECT_EQ(CreateEventLoop(LoopBackend::kUring, &error), nullptr);
    EXPECT_EQ(error, "the kernel refuses io_uring: Operation not permitted");
    error.clear();
    std::unique_ptr<EventLoop> loop = CreateEventLoop(LoopBackend::kAuto, &error);
    ASSERT_NE(loop, nullptr);
    EXPECT_STREQ(loop->backend(), "epoll");
    EXPECT_EQ(error, "the kernel refuses io_uring: Operation not permitted");
  }).join();
}

}  // namespace
}  // namespace varve
