#include "kernels/isa.h"

// For the tests, through ctypes: forces an instruction set, see set_isa.
extern "C" __attribute__((visibility("default"))) int pointnet2_set_isa(int isa) {
  return pointnet2::set_isa(isa);
}
