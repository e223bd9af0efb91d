// Warp collectives and atomics. See emulator.h.
#include <cstring>

#include "machine.h"

namespace emulator {

namespace {

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
    case AtomicOp::kOr:
      if constexpr (std::is_integral_v<T>) return old | value;
      fail("atomicOr of a floating point number");
    case AtomicOp::kExchange:
      return value;
    default:
      return old == expected ? value : old;
  }
}

}  // namespace

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

}  // namespace emulator
