// Goal: what a helper leaves for itself wakes no other one.
// Method: real threads; work notes on which of them it ran.
#include "io/helper_threads.h"

#include <gtest/gtest.h>

#include <barrier>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>

namespace varve {
namespace {

constexpr int kAtOnce = 4;
constexpr int kSteps = 10'000;

// None of them ends before all have begun.
void RunAtOnce(HelperThreads* helpers) {
  auto all = std::make_shared<std::barrier<>>(kAtOnce + 1);
  for (int i = 0; i < kAtOnce; ++i) helpers->Run([all] { all->arrive_and_wait(); });
  all->arrive_and_wait();
}

TEST(HelperThreads, WhatAHelperRunsNextWakesNoOther) {
  std::promise<void> ended;
  std::thread::id last{};
  int left = kSteps, changes = 0;
  HelperThreads* all = nullptr;
  std::function<void()> step = [&] {
    const std::thread::id now = std::this_thread::get_id();
    if (std::exchange(last, now) != now) changes++;
    if (--left > 0) all->RunNext(step);
    else ended.set_value();
  };
  HelperThreads helpers;
  all = &helpers;
  RunAtOnce(&helpers);
  helpers.Run(step);
  ended.get_future().wait();
  // Some may still have been on their way back, and a step of theirs sent another one there.
  EXPECT_LE(changes, kSteps / 100);
}

}  // namespace
}  // namespace varve
