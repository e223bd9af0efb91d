// The scheduler of fibres, barriers, and launches. See emulator.h and README.md.
#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "machine.h"

namespace emulator {

Builtins builtins;
Machine machine;

namespace {

constexpr size_t kDefaultShared = 48 * 1024;

std::string where() {
  char text[128];
  std::snprintf(text, sizeof(text), "block (%u, %u, %u) thread (%u, %u, %u): ", builtins.block.x,
                builtins.block.y, builtins.block.z, builtins.thread.x, builtins.thread.y, builtins.thread.z);
  return text;
}

}  // namespace

void fail(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  machine.error = where() + text;
  machine.in_kernel = false;
  _longjmp(machine.scheduler, 2);
}

void give_way() {
  if (_setjmp(self().resume) == 0) _longjmp(machine.scheduler, 1);
}

namespace {

void fibre_main() {
  for (;;) {
    machine.launch->call(machine.launch->arguments);
    machine.in_kernel = false;
    self().state = State::kExited;
    give_way();
    machine.in_kernel = true;
  }
}

void run_thread(int thread) {
  machine.current = thread;
  Thread& t = self();
  builtins.thread = t.index;
  builtins.linear_thread = static_cast<unsigned>(thread);
  machine.in_kernel = true;
  if (t.started) _longjmp(t.resume, 1);
  t.started = true;
  getcontext(&t.context);
  t.context.uc_stack.ss_sp = t.stack;
  t.context.uc_stack.ss_size = kStackBytes;
  t.context.uc_link = nullptr;
  makecontext(&t.context, fibre_main, 0);
  setcontext(&t.context);
}

// Ascending order for seed 0. Odd seeds pick at random; even ones favour warps of high random priority, so
// that some run far ahead of others.
int next_ready() {
  std::vector<int>& ready = machine.ready;
  size_t pick = 0;
  if (machine.seed == 0) {
    for (size_t i = 1; i < ready.size(); ++i) {
      if (ready[i] < ready[pick]) pick = i;
    }
  } else {
    pick = machine.random() % ready.size();
    for (int tries = 0; machine.seed % 2 == 0 && tries < 4; ++tries) {
      const size_t other = machine.random() % ready.size();
      if (machine.warp_priority[ready[other] / 32] > machine.warp_priority[ready[pick] / 32]) pick = other;
    }
  }
  const int thread = ready[pick];
  ready[pick] = ready.back();
  ready.pop_back();
  return thread;
}

std::string describe_state(int thread) {
  const Thread& t = machine.threads[thread];
  char text[256];
  if (thread >= machine.block_threads) {
    std::snprintf(text, sizeof(text), "thread %d does not exist", thread);
  } else if (t.state == State::kExited) {
    std::snprintf(text, sizeof(text), "thread %d has exited", thread);
  } else {
    const char* file = std::strrchr(t.site.file, '/');
    std::snprintf(text, sizeof(text), "thread %d waits at %s %s:%d (mask %08x)", thread,
                  t.state == State::kAtBarrier ? "the barrier" : "the warp collective",
                  file ? file + 1 : t.site.file, t.site.line,
                  t.state == State::kAtBarrier ? 0xffffffffu : t.mask);
  }
  return text;
}

// No thread can go on: says why.
void report_deadlock() {
  std::string states;
  int kinds = 0;
  std::string last_kind;
  for (int i = 0; i < machine.block_threads && kinds < 4; ++i) {
    const Thread& t = machine.threads[i];
    const std::string kind = std::to_string(static_cast<int>(t.state)) + std::to_string(t.site.line);
    if (kind == last_kind) continue;
    last_kind = kind;
    ++kinds;
    states += (states.empty() ? "" : "; ") + describe_state(i);
  }
  bool collective = false;
  for (int i = 0; i < machine.block_threads; ++i)
    collective |= machine.threads[i].state == State::kInCollective;
  machine.error =
      std::string(collective ? "warp collective without all lanes of its mask: " : "barrier divergence: ") +
      "block " + std::to_string(machine.block) + ": " + states;
}

// All threads wait at the barrier: lets them go. False if they wait at different ones, or some have exited.
bool release_barrier() {
  Votes votes = {0, machine.block_threads};
  const Site site = machine.threads[0].site;
  for (int i = 0; i < machine.block_threads; ++i) {
    const Thread& t = machine.threads[i];
    if (t.state != State::kAtBarrier || t.site.line != site.line ||
        std::strcmp(t.site.file, site.file) != 0) {
      return false;
    }
    votes.yes += t.vote;
  }
  ++machine.barriers;
  for (int i = 0; i < machine.block_threads; ++i) {
    machine.threads[i].votes = votes;
    make_ready(i);
  }
  return true;
}

// Runs the block to its end; false if machine.error says what went wrong.
bool run_block() {
  machine.ready.clear();
  for (int i = 0; i < machine.block_threads; ++i) {
    machine.threads[i].warp_syncs = 0;
    make_ready(i);
  }
  for (;;) {
    const int jumped = _setjmp(machine.scheduler);
    if (jumped == 2) return false;
    if (jumped == 1 && self().state == State::kReady) machine.ready.push_back(machine.current);
    if (machine.ready.empty()) {
      bool all_exited = true;
      for (int i = 0; i < machine.block_threads; ++i)
        all_exited &= machine.threads[i].state == State::kExited;
      if (all_exited) return true;
      if (!release_barrier()) {
        report_deadlock();
        return false;
      }
    }
    run_thread(next_ready());
  }
}

Outcome refuse(const char* text) {
  machine.error = text;
  return Outcome::kRefused;
}

}  // namespace

Votes barrier(bool vote, Site site) {
  const Paused paused;
  Thread& t = self();
  t.state = State::kAtBarrier;
  t.site = site;
  t.vote = vote;
  give_way();
  return self().votes;
}

bool allow_shared(const void* kernel, int bytes) {
  if (bytes < 0 || static_cast<size_t>(bytes) > kSharedLimit) return false;
  machine.allowed_shared[kernel] = static_cast<size_t>(bytes);
  return true;
}

Outcome run(const Launch& launch) {
  machine.error.clear();
  const auto count = [](Size3 s) { return static_cast<uint64_t>(s.x) * s.y * s.z; };
  if (count(launch.grid) == 0 || launch.grid.x > 0x7fffffffu || launch.grid.y > 65535 ||
      launch.grid.z > 65535) {
    return refuse("launch refused: the grid is empty or too large");
  }
  if (count(launch.block) == 0 || count(launch.block) > kMaxThreads || launch.block.z > 64) {
    return refuse("launch refused: the block is empty or has more than 1024 threads");
  }
  const auto allowed = machine.allowed_shared.find(launch.kernel);
  if (launch.shared_bytes > (allowed == machine.allowed_shared.end() ? kDefaultShared : allowed->second)) {
    return refuse("launch refused: more shared memory than the kernel may have");
  }
  if (machine.stacks == nullptr) {
    machine.stacks = static_cast<char*>(mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (machine.stacks == MAP_FAILED) std::abort();
    for (int i = 0; i < kMaxThreads; ++i) machine.threads[i].stack = machine.stacks + i * kStackBytes;
  }
  machine.launch = &launch;
  machine.block_threads = static_cast<int>(count(launch.block));
  machine.launch_lifetime = ++machine.lifetimes;
  machine.random.seed(machine.seed);
  machine.warp_priority.resize(kMaxThreads / 32);
  for (unsigned& priority : machine.warp_priority) priority = static_cast<unsigned>(machine.random());
  machine.arena.resize(launch.shared_bytes + 64 * kSharedGuardBytes);
  builtins.grid_size = launch.grid;
  builtins.block_size = launch.block;
  for (int i = 0; i < machine.block_threads; ++i) {
    const unsigned x = i % launch.block.x, yz = i / launch.block.x;
    machine.threads[i].index = {x, yz % launch.block.y, yz / launch.block.y};
  }
  for (uint64_t block = 0; block < count(launch.grid); ++block) {
    const uint64_t yz = block / launch.grid.x;
    builtins.block = {static_cast<unsigned>(block % launch.grid.x), static_cast<unsigned>(yz % launch.grid.y),
                      static_cast<unsigned>(yz / launch.grid.y)};
    machine.block = static_cast<int64_t>(block);
    machine.lifetime = ++machine.lifetimes;
    machine.barriers = 0;
    machine.shared.clear();
    machine.arena_used = kSharedGuardBytes;
    machine.shared_taken = 0;
    const bool good = run_block();
    machine.in_kernel = false;
    if (!good) {
      for (Thread& t : machine.threads) t.started = false;  // their stacks hold a dead kernel
      return Outcome::kFailed;
    }
    if (machine.shared_taken != launch.shared_bytes) {
      machine.error = "the launch gave " + std::to_string(launch.shared_bytes) +
                      " bytes of shared memory, the kernel took " + std::to_string(machine.shared_taken);
      return Outcome::kFailed;
    }
  }
  return Outcome::kDone;
}

}  // namespace emulator

using emulator::machine;

void emulator_schedule(uint64_t seed, int yield_period) {
  machine.seed = seed;
  machine.yield_period = yield_period;
}

const char* emulator_error() { return machine.error.c_str(); }
