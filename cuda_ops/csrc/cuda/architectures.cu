// What setup.py compiled this library for, such as sm_80:sm_90:compute_90 (compute: PTX, for later cards).
#define POINTNET2_QUOTE(words) #words
#define POINTNET2_QUOTED(words) POINTNET2_QUOTE(words)

// For `pointseg doctor`, through ctypes.
extern "C" __attribute__((visibility("default"))) const char* pointnet2_cuda_architectures() {
  return POINTNET2_QUOTED(POINTNET2_ARCHITECTURES);
}
