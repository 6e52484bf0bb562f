#include "test/call_counter.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdlib>
#include <new>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

namespace varve {
int CallCounter::Begin() { return 0; }
void CallCounter::End() {}
CallCounts CallCounter::counts() { return {}; }
}  // namespace varve

#else

namespace varve {
namespace {

constexpr char kLetPass = 0, kCatch = 1;  // the kernel's SYSCALL_DISPATCH_FILTER_ALLOW and _BLOCK

thread_local CallCounts thread_counts;
volatile char selector = kLetPass;

}  // namespace
}  // namespace varve

#if defined(__x86_64__)

// What calls made from here do is not caught: the handler's own, and its return.
extern "C" long varve_pass(long number, const long* arguments);
extern "C" void varve_return();
extern "C" const char varve_pass_begin[], varve_pass_end[];
asm(R"(
  .text
  .globl varve_pass_begin, varve_pass_end, varve_pass, varve_return
varve_pass_begin:
varve_pass:
  mov %rdi, %rax
  mov %rsi, %r11
  mov 0(%r11), %rdi
  mov 16(%r11), %rdx
  mov 24(%r11), %r10
  mov 32(%r11), %r8
  mov 40(%r11), %r9
  mov 8(%r11), %rsi
  syscall
  ret
varve_return:
  mov $15, %eax
  syscall
  nop  # the kernel looks at the address behind the call
varve_pass_end:
)");

namespace varve {
namespace {

void OnSystemCall(int, siginfo_t*, void* context) {
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const long number = registers[REG_RAX];
  if (number != SYS_futex) thread_counts.system_calls++;
  const long arguments[] = {registers[REG_RDI], registers[REG_RSI], registers[REG_RDX],
                            registers[REG_R10], registers[REG_R8],  registers[REG_R9]};
  registers[REG_RAX] = varve_pass(number, arguments);
}

// As the kernel has it: libc's sigaction would put its own way back, whose system call would be caught.
struct KernelAction {
  void (*handler)(int, siginfo_t*, void*);
  unsigned long flags;
  void (*restorer)();
  uint64_t mask;
};
constexpr unsigned long kHasRestorer = 0x04000000;

}  // namespace

int CallCounter::Begin() {
  thread_counts = {};
  const KernelAction action{&OnSystemCall, SA_SIGINFO | SA_NODEFER | kHasRestorer, &varve_return, 0};
  if (syscall(SYS_rt_sigaction, SIGSYS, &action, nullptr, sizeof action.mask) != 0) return errno;
  sigset_t caught;
  sigemptyset(&caught);
  sigaddset(&caught, SIGSYS);
  // Threads of the data plane block every signal.
  pthread_sigmask(SIG_UNBLOCK, &caught, nullptr);
  const auto length = static_cast<unsigned long>(varve_pass_end - varve_pass_begin);
  if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, varve_pass_begin, length, &selector) != 0) return errno;
  selector = kCatch;
  return 0;
}

void CallCounter::End() {
  selector = kLetPass;
  prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0);
}

}  // namespace varve

#else

namespace varve {
int CallCounter::Begin() { return ENOSYS; }
void CallCounter::End() {}
}  // namespace varve

#endif

namespace varve {
CallCounts CallCounter::counts() { return thread_counts; }
}  // namespace varve

void* operator new(size_t bytes) {
  varve::thread_counts.allocations++;
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

#endif  // no sanitizer
