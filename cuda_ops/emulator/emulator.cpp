// The scheduler of fibres, the collectives, and the checks behind every memory access. See emulator.h and
// README.md.
#include "emulator.h"

#include <elf.h>
#include <link.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "memory.h"

namespace emulator {

Builtins builtins;

namespace {

constexpr size_t kStackBytes = 64 * 1024;
constexpr int kMaxThreads = 1024;
constexpr size_t kGuardBytes = 64 * 1024;  // around global allocations
constexpr size_t kSharedGuardBytes = 1024;
constexpr size_t kDefaultShared = 48 * 1024;

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
  size_t shared_limit = 227 * 1024;
  std::map<const void*, size_t> allowed_shared;
  std::string error;
} machine;

[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

std::string where() {
  char text[128];
  std::snprintf(text, sizeof(text), "block (%u, %u, %u) thread (%u, %u, %u): ", builtins.block.x,
                builtins.block.y, builtins.block.z, builtins.thread.x, builtins.thread.y, builtins.thread.z);
  return text;
}

// Ends the launch: back to the scheduler, which drops all fibres.
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

Thread& self() { return machine.threads[machine.current]; }

// Kernel code stops while the emulator works; run_thread() sets the flag again when it resumes a fibre.
struct Paused {
  Paused() { machine.in_kernel = false; }
  ~Paused() { machine.in_kernel = true; }
};

void give_way() {
  if (_setjmp(self().resume) == 0) _longjmp(machine.scheduler, 1);
}

void make_ready(int thread) {
  machine.threads[thread].state = State::kReady;
  machine.ready.push_back(thread);
}

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

// ---- memory accesses
// --------------------------------------------------------------------------------------------------

Region* find(std::vector<Region>& regions, const char* address) {
  for (Region& region : regions) {
    if (region.contains(address)) return &region;
  }
  return nullptr;
}

Region* find_region(const char* address) {
  for (Region& region : machine.global) {
    if (region.contains(address)) return &region;
  }
  return find(machine.shared, address);
}

// Constants of the program: the segments of this library that cannot be written.
bool is_constant(const char* address) {
  struct Search {
    const char* address;
    bool found;
  } search = {address, false};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto* s = static_cast<Search*>(data);
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& segment = info->dlpi_phdr[i];
          const char* begin = reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr);
          if (segment.p_type == PT_LOAD && !(segment.p_flags & PF_W) && s->address >= begin &&
              s->address < begin + segment.p_memsz) {
            s->found = true;
          }
        }
        return 0;
      },
      &search);
  return search.found;
}

const Region* nearest_region(const char* address) {
  const Region* nearest = nullptr;
  size_t best = kGuardBytes;
  const auto consider = [&](const Region& region) {
    const size_t gap =
        address < region.begin ? region.begin - address : address - (region.begin + region.bytes);
    if (gap < best) {
      best = gap;
      nearest = &region;
    }
  };
  for (const Region& region : machine.global) consider(region);
  for (const Region& region : machine.shared) consider(region);
  return nearest;
}

void check_access(const char* address, size_t bytes, Access access) {
  const char* begin = self().stack;
  if (address >= begin && address < begin + kStackBytes) return;
  const auto inside = [&](const void* start, size_t size) {
    const char* from = static_cast<const char*>(start);
    return address >= from && address + bytes <= from + size;
  };
  const char* verb = access == Access::kRead ? "read" : access == Access::kWrite ? "write" : "atomic";
  Region* region = find_region(address);
  if (region == nullptr) {
    if (access == Access::kRead &&
        (inside(&builtins, sizeof(builtins)) ||
         inside(machine.launch->arguments, machine.launch->arguments_size) || is_constant(address))) {
      return;
    }
    const Region* near = nearest_region(address);
    if (near == nullptr) fail("out of bounds: %s of %zu bytes at a wild address", verb, bytes);
    fail("out of bounds: %s of %zu bytes at byte %td of %s (%zu bytes)", verb, bytes, address - near->begin,
         near->name.c_str(), near->bytes);
  }
  const ptrdiff_t offset = address - region->begin;
  if (offset + bytes > region->bytes) {
    fail("out of bounds: %s of %zu bytes at byte %td of %s (%zu bytes)", verb, bytes, offset,
         region->name.c_str(), region->bytes);
  }
  if ((bytes & (bytes - 1)) == 0 && bytes <= 16 && reinterpret_cast<uintptr_t>(address) % bytes != 0) {
    fail("misaligned: %s of %zu bytes at byte %td of %s", verb, bytes, offset, region->name.c_str());
  }
  const Moment now = {machine.block, machine.current / 32, machine.current, machine.barriers,
                      self().warp_syncs};
  const std::string problem = touch(*region, address, bytes, access, now,
                                    region->shared ? machine.lifetime : machine.launch_lifetime);
  if (!problem.empty()) fail("%s (%s, byte %td)", problem.c_str(), region->name.c_str(), offset);
}

void on_access(const void* address, size_t bytes, Access access) {
  if (!machine.in_kernel) return;
  const Paused paused;
  check_access(static_cast<const char*>(address), bytes, access);
  if (machine.yield_period > 0 && machine.random() % machine.yield_period == 0) give_way();
}

// ---- warp collectives
// -------------------------------------------------------------------------------------------------

bool all_lanes_arrived(int first, unsigned mask, const Thread& caller) {
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    if (first + lane >= machine.block_threads) return false;
    const Thread& t = machine.threads[first + lane];
    if (t.state != State::kInCollective || t.mask != mask || t.op != caller.op ||
        t.site.line != caller.site.line || std::strcmp(t.site.file, caller.site.file) != 0) {
      return false;
    }
  }
  return true;
}

uint64_t result_for(int first, int own_lane, unsigned mask, WarpOp op) {
  const Thread& own = machine.threads[first + own_lane];
  if (op == WarpOp::kSync) return 0;
  if (op == WarpOp::kShuffle) {
    if (!(mask >> own.source & 1))
      fail("shuffle reads lane %d, which is not in the mask %08x", own.source, mask);
    return machine.threads[first + own.source].value;
  }
  uint64_t result = 0;
  bool any = false;
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const uint64_t value = machine.threads[first + lane].value;
    const auto sign = [](uint64_t x) { return static_cast<int32_t>(static_cast<uint32_t>(x)); };
    if (op == WarpOp::kBallot)
      result |= value << lane;
    else if (op == WarpOp::kMatchAny)
      result |= static_cast<uint64_t>(value == own.value) << lane;
    else if (op == WarpOp::kAdd)
      result = static_cast<uint32_t>(result + value);
    else if (!any)
      result = value;
    else if (op == WarpOp::kMaxUnsigned)
      result = value > result ? value : result;
    else if (op == WarpOp::kMinUnsigned)
      result = value < result ? value : result;
    else if (op == WarpOp::kMaxSigned)
      result = sign(value) > sign(result) ? value : result;
    else
      result = sign(value) < sign(result) ? value : result;
    any = true;
  }
  return result;
}

template <class T>
T apply(AtomicOp op, T old, T value, T expected) {
  switch (op) {
    case AtomicOp::kAdd:
      return old + value;
    case AtomicOp::kMax:
      return value > old ? value : old;
    case AtomicOp::kMin:
      return value < old ? value : old;
    case AtomicOp::kExchange:
      return value;
    default:
      return old == expected ? value : old;
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

uint64_t collective(WarpOp op, unsigned mask, uint64_t value, int source, Site site) {
  const Paused paused;
  Thread& t = self();
  const int lane = machine.current % 32, first = machine.current - lane;
  if (!(mask >> lane & 1))
    fail("warp collective at line %d: the caller is not in its mask %08x", site.line, mask);
  t.state = State::kInCollective;
  t.op = op;
  t.mask = mask;
  t.value = value;
  t.source = source;
  t.site = site;
  if (all_lanes_arrived(first, mask, t)) {
    for (int i = 0; i < 32; ++i) {
      if (mask >> i & 1) machine.threads[first + i].result = result_for(first, i, mask, op);
    }
    for (int i = 0; i < 32; ++i) {
      if (!(mask >> i & 1)) continue;
      if (op == WarpOp::kSync && mask == 0xffffffffu) ++machine.threads[first + i].warp_syncs;
      if (i != lane) make_ready(first + i);
    }
    t.state = State::kReady;
  }
  give_way();
  return self().result;
}

template <class T>
T atomic(T* address, AtomicOp op, T value, T expected) {
  on_access(address, sizeof(T), Access::kAtomic);
  const T old = *address;
  *address = apply(op, old, value, expected);
  return old;
}
template int atomic(int*, AtomicOp, int, int);
template unsigned atomic(unsigned*, AtomicOp, unsigned, unsigned);
template unsigned long long atomic(unsigned long long*, AtomicOp, unsigned long long, unsigned long long);
template float atomic(float*, AtomicOp, float, float);
template double atomic(double*, AtomicOp, double, double);

void check_read_only(const void* address, size_t bytes) {
  if (!machine.in_kernel) return;
  const Paused paused;
  const Region* region = find_region(static_cast<const char*>(address));
  if (region == nullptr) return;  // the access itself will be reported
  if (region->shared) fail("__ldg of shared memory");
  const size_t first = (static_cast<const char*>(address) - region->begin) / kCellBytes;
  for (size_t i = first; i < first + (bytes + 1) / kCellBytes && i < region->cells.size(); ++i) {
    if (region->cells[i].write_lifetime == machine.launch_lifetime) {
      fail("__ldg of memory that this launch has written (%s)", region->name.c_str());
    }
  }
}

void* take_shared(int position, size_t bytes, size_t alignment) {
  const Paused paused;
  if (position < static_cast<int>(machine.shared.size())) {
    const Region& region = machine.shared[position];
    if (region.bytes != bytes) fail("threads disagree about the size of shared array %d", position);
    return region.begin;
  }
  machine.shared_taken += (bytes + 15) / 16 * 16;
  if (machine.shared_taken > machine.launch->shared_bytes) {
    fail("out of bounds: the kernel takes %zu bytes of shared memory, the launch gave %zu",
         machine.shared_taken, machine.launch->shared_bytes);
  }
  if (alignment > 16) fail("shared array %d asks for an alignment of %zu", position, alignment);
  Region region;
  region.begin = machine.arena.data() + (machine.arena_used + 15) / 16 * 16;
  region.bytes = bytes;
  region.shared = true;
  region.name = "shared array " + std::to_string(position);
  region.cells.resize((bytes + kCellBytes - 1) / kCellBytes);
  machine.arena_used += (bytes + 15) / 16 * 16 + kSharedGuardBytes;
  machine.shared.push_back(std::move(region));
  return machine.shared.back().begin;
}

size_t shared_limit() { return machine.shared_limit; }

bool allow_shared(const void* kernel, int bytes) {
  if (bytes < 0 || static_cast<size_t>(bytes) > machine.shared_limit) return false;
  machine.allowed_shared[kernel] = static_cast<size_t>(bytes);
  return true;
}

bool fill(void* address, int value, size_t bytes) {
  char* begin = static_cast<char*>(address);
  Region* region = find_region(begin);
  if (region == nullptr || begin + bytes > region->begin + region->bytes || region->read_only) {
    machine.error = "out of bounds: memset of memory that is not the kernel's to write";
    return false;
  }
  std::memset(begin, value, bytes);
  const size_t first = (begin - region->begin) / kCellBytes;
  for (size_t i = first; i < first + bytes / kCellBytes; ++i) region->cells[i].initialised = 1;
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

using emulator::Access;
using emulator::machine;
using emulator::Region;

void* emulator_allocate(int64_t bytes, int offset, int initialised) {
  const size_t size = static_cast<size_t>(bytes);
  Region region;
  void* block = std::aligned_alloc(256, (size + 2 * emulator::kGuardBytes + 511) / 256 * 256);
  if (block == nullptr) std::abort();
  region.begin = static_cast<char*>(block) + emulator::kGuardBytes + offset;
  std::memset(region.begin, 0xcd, size);
  region.bytes = size;
  region.offset = static_cast<size_t>(offset);
  region.read_only = initialised != 0;
  region.name = (initialised ? "input " : "output ") + std::to_string(machine.global.size());
  region.cells.resize((size + emulator::kCellBytes - 1) / emulator::kCellBytes);
  for (emulator::Cell& cell : region.cells) cell.initialised = initialised != 0;
  machine.global.push_back(std::move(region));
  return machine.global.back().begin;
}

void emulator_free_all() {
  for (Region& region : machine.global) std::free(region.begin - emulator::kGuardBytes - region.offset);
  machine.global.clear();
  machine.shared.clear();
}

int64_t emulator_unwritten(const void* address) {
  const Region* region = emulator::find_region(static_cast<const char*>(address));
  int64_t cells = 0;
  if (region != nullptr) {
    for (const emulator::Cell& cell : region->cells) cells += cell.initialised == 0;
  }
  return cells * static_cast<int64_t>(emulator::kCellBytes);
}

void emulator_schedule(uint64_t seed, int yield_period) {
  machine.seed = seed;
  machine.yield_period = yield_period;
}

void emulator_set_shared_limit(int64_t bytes) { machine.shared_limit = static_cast<size_t>(bytes); }

const char* emulator_error() { return machine.error.c_str(); }

// ---- what -fsanitize=thread calls before memory accesses
// ------------------------------------------------------------

#define EMULATOR_HOOKS(size)                                                                 \
  void __tsan_read##size(void* p) { emulator::on_access(p, size, Access::kRead); }           \
  void __tsan_write##size(void* p) { emulator::on_access(p, size, Access::kWrite); }         \
  void __tsan_unaligned_read##size(void* p) { emulator::on_access(p, size, Access::kRead); } \
  void __tsan_unaligned_write##size(void* p) { emulator::on_access(p, size, Access::kWrite); }

extern "C" {
EMULATOR_HOOKS(1)
EMULATOR_HOOKS(2)
EMULATOR_HOOKS(4)
EMULATOR_HOOKS(8)
EMULATOR_HOOKS(16)
void __tsan_read_range(void* p, size_t bytes) { emulator::on_access(p, bytes, Access::kRead); }
void __tsan_write_range(void* p, size_t bytes) { emulator::on_access(p, bytes, Access::kWrite); }
// What -fsanitize=alignment calls for a misaligned access; the arguments describe the place and the pointer.
struct MisalignedPlace {
  const char* file;
  uint32_t line, column;
};
void __ubsan_handle_type_mismatch_v1(const MisalignedPlace* place, const void*) {
  if (!machine.in_kernel) return;
  emulator::fail("misaligned access at %s:%u", place->file, place->line);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
}
