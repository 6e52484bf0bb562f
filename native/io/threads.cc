#include "io/threads.h"

#include <pthread.h>
#include <signal.h>

#include <utility>

namespace varve {

std::thread StartThread(std::string name, std::function<void()> body) {
  // A new thread inherits the mask, so no signal can reach it in between.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread([name = std::move(name), body = std::move(body)] {
    pthread_setname_np(pthread_self(), name.c_str());
    body();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace varve
