// Test only: the state of the emulated machine, shared by the scheduler, the collectives and the memory
// checks.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "emulator.h"
#include "memory.h"

namespace emulator {

constexpr size_t kStackBytes = 64 * 1024;
constexpr int kMaxThreads = 1024;
constexpr size_t kGuardBytes = 64 * 1024;  // around global allocations
constexpr size_t kSharedGuardBytes = 1024;
constexpr size_t kSharedLimit = 227 * 1024;

enum class State { kReady, kAtBarrier, kInCollective, kExited };

struct Thread {
  State state = State::kExited;
  bool started = false;
  jmp_buf resume;
  ucontext_t context;
  char* stack = nullptr;
  Size3 index = {};
  Site site = {};
  bool vote = false;
  Votes votes = {};
  WarpOp op = WarpOp::kSync;
  unsigned mask = 0;
  int source = 0;
  uint64_t value = 0, result = 0;
  uint32_t warp_syncs = 0;
};

struct Machine {
  std::vector<Thread> threads{kMaxThreads};
  char* stacks = nullptr;
  jmp_buf scheduler;
  int current = -1;
  bool in_kernel = false;  // kernel code is running, not the emulator's own
  const Launch* launch = nullptr;
  int block_threads = 0;
  int64_t block = 0;
  uint64_t lifetime = 0;         // of shared memory: counts blocks
  uint64_t launch_lifetime = 0;  // of global memory: counts launches; both from one counter
  uint64_t lifetimes = 0;
  uint32_t barriers = 0;
  std::vector<int> ready;
  std::vector<unsigned> warp_priority;
  std::mt19937_64 random;
  uint64_t seed = 0;
  int yield_period = 0;
  std::deque<Region> global;
  std::vector<Region> shared;
  std::vector<char> arena;
  size_t arena_used = 0, shared_taken = 0;
  std::map<const void*, size_t> allowed_shared;
  std::string error;
};
extern Machine machine;

// Ends the launch with this error: back to the scheduler, which drops all fibres.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// The thread that is running.
inline Thread& self() { return machine.threads[machine.current]; }

// Back to the scheduler; returns when this thread's turn comes again.
void give_way();

inline void make_ready(int thread) {
  machine.threads[thread].state = State::kReady;
  machine.ready.push_back(thread);
}

// Kernel code stops while the emulator works; the scheduler sets the flag again when it resumes a fibre.
struct Paused {
  Paused() { machine.in_kernel = false; }
  ~Paused() { machine.in_kernel = true; }
};

// Checks one access of the running kernel, and may give way to another thread.
void on_access(const void* address, size_t bytes, Access access);

}  // namespace emulator
