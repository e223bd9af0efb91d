// Scratch memory of the kernels.
#pragma once

#include <cstdint>
#include <new>

namespace pointnet2 {

// Uninitialised, aligned for any vector, kept from one cloud to the next and replaced when more is needed.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { release(); }

  // Room for n values; what was there is lost.
  T* resize(int64_t n) {
    if (n > capacity_) {
      release();
      data_ = static_cast<T*>(::operator new(static_cast<size_t>(n) * sizeof(T), std::align_val_t(64)));
      capacity_ = n;
    }
    return data_;
  }
  T* data() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  void release() {
    if (data_ != nullptr) ::operator delete(data_, std::align_val_t(64));
    data_ = nullptr;
    capacity_ = 0;
  }
  T* data_ = nullptr;
  int64_t capacity_ = 0;
};

}  // namespace pointnet2
