// What kernels do to memory: every access is checked here before it happens. See emulator.h and README.md.
#include <elf.h>
#include <link.h>

#include <cstdlib>
#include <cstring>

#include "machine.h"

namespace emulator {

namespace {

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

}  // namespace

void on_access(const void* address, size_t bytes, Access access) {
  if (!machine.in_kernel) return;
  const Paused paused;
  check_access(static_cast<const char*>(address), bytes, access);
  if (machine.yield_period > 0 && machine.random() % machine.yield_period == 0) give_way();
}

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

void check_aligned(const void* address, size_t bytes) {
  const Paused paused;
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) fail("misaligned: atomic of %zu bytes", bytes);
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
