#include "memory.h"

#include <cstdio>

namespace emulator {
namespace {

std::string describe(const Moment& m) {
  char text[96];
  std::snprintf(text, sizeof(text), "block %lld thread %lld", static_cast<long long>(m.block),
                static_cast<long long>(m.warp * 32 + m.thread % 32));
  return text;
}

bool same_thread(const Moment& a, const Moment& b) {
  return a.block == b.block && a.warp == b.warp && a.thread == b.thread;
}

// True if a barrier of the block, or of the warp, lies between `earlier` and `now`.
bool ordered(const Moment& earlier, const Moment& now) {
  if (earlier.block != now.block) return false;
  if (same_thread(earlier, now) || earlier.barriers < now.barriers) return true;
  return earlier.warp == now.warp && earlier.warp_syncs < now.warp_syncs;
}

bool reads_ordered(const Cell& cell, const Moment& now) {
  if (cell.reader_blocks || cell.read.block != now.block) return false;
  if (cell.read.barriers < now.barriers) return true;
  if (cell.reader_warps || cell.read.warp != now.warp) return false;
  if (cell.read.warp_syncs < now.warp_syncs) return true;
  return !cell.readers && same_thread(cell.read, now);
}

void remember_read(Cell& cell, const Moment& now, uint64_t lifetime) {
  if (cell.read_lifetime != lifetime) {
    cell.readers = cell.reader_warps = cell.reader_blocks = false;
  } else if (cell.read.block != now.block) {
    cell.reader_blocks = true;
  } else if (cell.read.barriers < now.barriers) {
    cell.readers = cell.reader_warps = false;
  } else if (cell.read.warp != now.warp) {
    cell.reader_warps = true;
  } else if (cell.read.warp_syncs < now.warp_syncs) {
    cell.readers = false;
  } else if (!same_thread(cell.read, now)) {
    cell.readers = true;
  }
  cell.read = now;
  cell.read_lifetime = lifetime;
}

std::string touch_cell(Cell& cell, Access access, const Moment& now, uint64_t lifetime, bool shared) {
  const bool written = cell.write_lifetime == lifetime;
  const bool both_atomic = access == Access::kAtomic && cell.write_was_atomic;
  if (access != Access::kWrite && (shared ? cell.initialised != lifetime : cell.initialised == 0)) {
    return "reads memory that nothing has written";
  }
  if (written && !both_atomic && !ordered(cell.write, now)) {
    return std::string("race: ") + (access == Access::kRead ? "reads" : "writes") + " what " +
           describe(cell.write) + " wrote, with no barrier between them";
  }
  if (access == Access::kRead) {
    remember_read(cell, now, lifetime);
    return "";
  }
  if (cell.read_lifetime == lifetime && !reads_ordered(cell, now)) {
    return "race: writes what " + describe(cell.read) +
           " (or a neighbour) read, with no barrier between them";
  }
  cell.write = now;
  cell.write_lifetime = lifetime;
  cell.write_was_atomic = access == Access::kAtomic;
  cell.initialised = lifetime;
  cell.read_lifetime = 0;
  return "";
}

}  // namespace

std::string touch(Region& region, const char* address, size_t bytes, Access access, const Moment& now,
                  uint64_t lifetime) {
  if (access != Access::kRead && region.read_only) return "writes an input";
  const size_t first = (address - region.begin) / kCellBytes,
               last = (address - region.begin + bytes - 1) / kCellBytes;
  for (size_t i = first; i <= last; ++i) {
    std::string problem = touch_cell(region.cells[i], access, now, lifetime, region.shared);
    if (!problem.empty()) return problem;
  }
  return "";
}

}  // namespace emulator
