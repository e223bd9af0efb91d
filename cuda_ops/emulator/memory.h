// Test only: what is known about every piece of memory a kernel may touch, and the rules for touching it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emulator {

// The thread that makes an access, and how many barriers its block and its warp have passed.
struct Moment {
  int64_t block, warp, thread;  // linear, warp and thread within the block
  uint32_t barriers, warp_syncs;
};

enum class Access { kRead, kWrite, kAtomic };

// Two bytes' history. Accesses count only within one `lifetime` (a launch for global memory, a block for
// shared).
struct Cell {
  uint64_t read_lifetime = 0, write_lifetime = 0, initialised = 0;
  Moment read = {}, write = {};
  bool write_was_atomic = false;
  bool readers = false, reader_warps = false, reader_blocks = false;  // several since the last ordering event
};
constexpr size_t kCellBytes = 2;

struct Region {
  char* begin = nullptr;
  size_t bytes = 0;
  size_t offset = 0;  // of begin, behind an aligned address
  bool shared = false, read_only = false;
  std::string name;
  std::vector<Cell> cells = {};

  bool contains(const char* address) const { return address >= begin && address < begin + bytes; }
};

// Records the access; returns what is wrong with it, or "". `bytes` lie within the region.
std::string touch(Region& region, const char* address, size_t bytes, Access access, const Moment& now,
                  uint64_t lifetime);

}  // namespace emulator
