// Test only: runs CUDA kernels on the CPU, one block after another, the threads of a block as fibres, and
// checks what they do. Kernel code is compiled with -fsanitize=thread but without its runtime: the calls that
// the compiler inserts before every memory access land in accesses.cpp. See README.md for what is found.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulator {

struct Size3 {
  unsigned x, y, z;
};

// CUDA's built-in variables, of the thread that is running.
struct Builtins {
  Size3 thread, block, block_size, grid_size;
  unsigned linear_thread;
};
extern Builtins builtins;

struct Site {
  const char* file;
  int line;
};

// ---- called by kernels
// --------------------------------------------------------------------------------------------

struct Votes {
  int yes, all;
};
Votes barrier(bool vote, Site site);

enum class WarpOp {
  kSync,
  kBallot,
  kShuffle,
  kMatchAny,
  kMaxUnsigned,
  kMinUnsigned,
  kMaxSigned,
  kMinSigned,
  kAdd
};
uint64_t collective(WarpOp op, unsigned mask, uint64_t value, int source, Site site);

enum class AtomicOp { kAdd, kMax, kMin, kOr, kExchange, kCompareAndSwap };
template <class T>
T atomic(T* address, AtomicOp op, T value, T expected = T{});

// Fails if the memory was written during this launch (ld.global.nc may return stale data then).
void check_read_only(const void* address, size_t bytes);

// Fails unless the address is a multiple of `bytes`: for instructions that take several words at once.
void check_aligned(const void* address, size_t bytes);

void* take_shared(int position, size_t bytes, size_t alignment);

// Stands in for the kernels' class of the same name: arrays lie apart, with guard zones between them.
class SharedMemory {
 public:
  template <class T>
  T* take(int64_t count) {
    return static_cast<T*>(take_shared(taken_++, static_cast<size_t>(count) * sizeof(T), alignof(T)));
  }

 private:
  int taken_ = 0;
};

// ---- called by launchers
// --------------------------------------------------------------------------------------------

struct Launch {
  Size3 grid, block;
  size_t shared_bytes;
  const void* kernel;
  void (*call)(const void* arguments);
  const void* arguments;
  size_t arguments_size;
};
enum class Outcome { kDone, kRefused, kFailed };
Outcome run(const Launch& launch);

bool allow_shared(const void* kernel, int bytes);
bool fill(void* address, int value, size_t bytes);

}  // namespace emulator

// ---- called by tests through ctypes
// -----------------------------------------------------------------------------------

extern "C" {
// Global memory of `bytes` with guard zones around it, `offset` bytes behind a multiple of 256. Initialised
// memory is an input: kernels must not write it.
void* emulator_allocate(int64_t bytes, int offset, int initialised);
void emulator_free_all();
// How many bytes of this allocation no kernel has written.
int64_t emulator_unwritten(const void* address);
// The order of threads: 0 ascending, else random. A thread also gives way before one in `yield_period`
// accesses.
void emulator_schedule(uint64_t seed, int yield_period);
// Why the last launch failed ("" if it did not).
const char* emulator_error();
}
