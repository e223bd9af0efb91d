// Test only: kernels that each break one rule, and their sound counterparts. The emulator must tell them
// apart.
#include "../csrc/cuda/common.cuh"

using namespace pointnet2::cuda;

namespace {

// ---- barriers
// -----------------------------------------------------------------------------------------------------

// Sum of the block by a tree in shared memory. Threads that have nothing to add still meet at every barrier.
__global__ void tree_sum(const int* in, int* out) {
  SharedMemory shared;
  int* part = shared.take<int>(blockDim.x);
  part[threadIdx.x] = in[threadIdx.x];
  for (unsigned width = blockDim.x / 2; width > 0; width /= 2) {
    __syncthreads();
    if (threadIdx.x < width) part[threadIdx.x] += part[threadIdx.x + width];
  }
  if (threadIdx.x == 0) *out = part[0];
}

__global__ void tree_sum_without_barrier(const int* in, int* out) {
  SharedMemory shared;
  int* part = shared.take<int>(blockDim.x);
  part[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  for (unsigned width = blockDim.x / 2; width > 0; width /= 2) {
    if (threadIdx.x < width) part[threadIdx.x] += part[threadIdx.x + width];
  }
  if (threadIdx.x == 0) *out = part[0];
}

__global__ void barrier_after_exit(const int* in, int* out) {
  SharedMemory shared;
  int* part = shared.take<int>(blockDim.x);
  part[threadIdx.x] = in[threadIdx.x];
  if (threadIdx.x >= 40) return;
  __syncthreads();
  if (threadIdx.x == 0) *out = part[0];
}

__global__ void different_barriers(const int* in, int* out) {
  SharedMemory shared;
  int* part = shared.take<int>(blockDim.x);
  part[threadIdx.x] = in[threadIdx.x];
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  if (threadIdx.x == 0) *out = part[0];
}

// A slot without the second buffer: the next round's writer may overtake this round's readers.
template <bool kDoubleBuffered>
__global__ void rounds(const int* in, int* out) {
  SharedMemory shared;
  int* slot = shared.take<int>(2);
  int sum = 0;
  for (int round = 0; round < 8; ++round) {
    int* now = slot + (kDoubleBuffered ? round & 1 : 0);
    if (threadIdx.x == 0) *now = in[round];
    if (!kDoubleBuffered && threadIdx.x == 1) slot[1] = round;
    __syncthreads();
    sum += *now;
  }
  if (threadIdx.x == 0) *out = sum + 0 * slot[1];
}

// ---- warps
// --------------------------------------------------------------------------------------------------------

template <bool kSynchronised>
__global__ void pass_to_next_lane(const int* in, int* out) {
  SharedMemory shared;
  int* value = shared.take<int>(blockDim.x);
  value[threadIdx.x] = in[threadIdx.x];
  if (kSynchronised) __syncwarp();
  const int next = threadIdx.x / kWarp * kWarp + (threadIdx.x + 1) % kWarp;
  const int sum = warp_inclusive_sum(value[next], threadIdx.x % kWarp);
  if (threadIdx.x == kWarp - 1) *out = sum;
}

__global__ void lane_missing(const int* in, int* out) {
  if (threadIdx.x == 7) return;
  const unsigned ballot = __ballot_sync(kAllLanes, in[threadIdx.x] > 0);
  if (threadIdx.x == 0) *out = static_cast<int>(ballot);
}

__global__ void lane_elsewhere(const int* in, int* out) {
  unsigned ballot;
  if (threadIdx.x % kWarp < 16) {
    ballot = __ballot_sync(kAllLanes, in[threadIdx.x] > 0);
  } else {
    ballot = __ballot_sync(kAllLanes, in[threadIdx.x] > 1);
  }
  if (threadIdx.x == 0) *out = static_cast<int>(ballot);
}

__global__ void different_masks(const int* in, int* out) {
  const unsigned mask = threadIdx.x % kWarp < 16 ? kAllLanes : 0xffff0000u;
  const unsigned ballot = __ballot_sync(mask, in[threadIdx.x] > 0);
  if (threadIdx.x == 0) *out = static_cast<int>(ballot);
}

__global__ void half_warps(const int* in, int* out) {
  const unsigned mask = threadIdx.x % kWarp < 16 ? 0x0000ffffu : 0xffff0000u;
  const unsigned ballot = __ballot_sync(mask, in[threadIdx.x] >= 0);
  if (threadIdx.x == 0) *out = static_cast<int>(ballot);
}

__global__ void caller_not_in_mask(const int* in, int* out) {
  const unsigned ballot = __ballot_sync(0x0000ffffu, in[threadIdx.x] > 0);
  if (threadIdx.x == 0) *out = static_cast<int>(ballot);
}

__global__ void shuffle_from_outside_mask(const int* in, int* out) {
  if (threadIdx.x % kWarp >= 16) return;
  const int other = __shfl_xor_sync(0x0000ffffu, in[threadIdx.x], 16);
  if (threadIdx.x == 0) *out = other;
}

// ---- memory
// -------------------------------------------------------------------------------------------------------

template <int kOffset>
__global__ void shared_at(const int* in, int* out) {
  SharedMemory shared;
  int* first = shared.take<int>(blockDim.x);
  int* second = shared.take<int>(blockDim.x);
  first[threadIdx.x] = in[threadIdx.x];
  second[threadIdx.x] = 0;
  __syncthreads();
  if (threadIdx.x == 0) *out = first[static_cast<int>(blockDim.x) - 1 + kOffset];
}

__global__ void shared_never_written(const int* in, int* out) {
  SharedMemory shared;
  int* part = shared.take<int>(blockDim.x);
  if (threadIdx.x != 3) part[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  if (threadIdx.x == 0) *out = part[3];
}

__global__ void takes_too_much(const int* in, int* out) {
  SharedMemory shared;
  int* part = shared.take<int>(2 * blockDim.x);
  part[threadIdx.x] = in[threadIdx.x];
  if (threadIdx.x == 0) *out = part[0];
}

template <int kOffset>
__global__ void global_read_at(const int* in, int* out) {
  if (threadIdx.x == 0) *out = in[static_cast<int>(blockDim.x) - 1 + kOffset];
}

template <int kOffset>
__global__ void global_write_at(const int* in, int* out) {
  if (threadIdx.x == 0) out[kOffset] = in[0];
}

__global__ void reads_output(const int*, int* out) {
  if (threadIdx.x == 0) *out = *out + 1;
}

__global__ void writes_input(const int* in, int*) {
  if (threadIdx.x == 0) *const_cast<int*>(in) = 1;
}

__global__ void misaligned(const int* in, int* out) {
  if (threadIdx.x == 0) {
    const uint2 pair = *reinterpret_cast<const uint2*>(in + 1);  // 4 bytes off
    *out = static_cast<int>(pair.x + pair.y);
  }
}

template <bool kAtomic>
__global__ void count_blocks(const int*, int* out) {
  if (blockIdx.x == 0 && threadIdx.x == 0 && gridDim.x == 1) *out = 0;
  if (threadIdx.x != 0 || gridDim.x == 1) return;
  if (kAtomic)
    atomicAdd(out, 1);
  else
    *out += 1;
}

__global__ void read_only_load_of_own_write(const int* in, int* out) {
  if (threadIdx.x == 0) *out = in[0];
  __syncthreads();
  if (threadIdx.x == 1) *out = __ldg(out) + 1;
}

struct Case {
  void (*kernel)(const int*, int*);
  int arrays;  // of shared memory, blockDim.x ints each; -1: two ints
  bool twice;  // first with one block, then with many
};

// In the order of the tests.
const Case kCases[] = {
    {tree_sum, 1, false},
    {tree_sum_without_barrier, 1, false},
    {barrier_after_exit, 1, false},
    {different_barriers, 1, false},
    {rounds<true>, -1, false},
    {rounds<false>, -1, false},
    {pass_to_next_lane<true>, 1, false},
    {pass_to_next_lane<false>, 1, false},
    {lane_missing, 0, false},
    {lane_elsewhere, 0, false},
    {different_masks, 0, false},
    {half_warps, 0, false},
    {caller_not_in_mask, 0, false},
    {shuffle_from_outside_mask, 0, false},
    {shared_at<0>, 2, false},
    {shared_at<1>, 2, false},
    {shared_at<-64>, 2, false},
    {shared_never_written, 1, false},
    {takes_too_much, 1, false},
    {global_read_at<0>, 0, false},
    {global_read_at<1>, 0, false},
    {global_read_at<-64>, 0, false},
    {global_write_at<1>, 0, false},
    {global_write_at<-1>, 0, false},
    {reads_output, 0, false},
    {writes_input, 0, false},
    {misaligned, 0, false},
    {count_blocks<true>, 0, true},
    {count_blocks<false>, 0, true},
    {read_only_load_of_own_write, 0, false},
};

}  // namespace

extern "C" {

// in: 64 ints, out: one int.
int selftest(int number, const int* in, int* out) {
  constexpr int kThreads = 64;
  const Case& test = kCases[number];
  const size_t shared = test.arrays < 0 ? shared_bytes<int>(2) : test.arrays * shared_bytes<int>(kThreads);
  const int error = launch(test.kernel, dim3(1), dim3(kThreads), shared, nullptr, in, out);
  if (error != cudaSuccess || !test.twice) return error;
  return launch(test.kernel, dim3(5), dim3(kThreads), shared, nullptr, in, out);
}

int selftest_launch(unsigned grid_x, unsigned grid_y, unsigned threads, int64_t shared, int opt_in,
                    const int* in, int* out) {
  if (opt_in) return launch(tree_sum, dim3(grid_x, grid_y), dim3(threads), shared, nullptr, in, out);
  cudaLaunchConfig_t config = {dim3(grid_x, grid_y), dim3(threads), static_cast<size_t>(shared), nullptr};
  return cudaLaunchKernelEx(&config, tree_sum, in, out);
}
}
