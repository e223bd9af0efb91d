// Vectors of 16 bytes, a GCC and clang extension with SSE2, NEON or scalars underneath. Included by pack.h.
template <class T>
struct Chunk;
template <>
struct Chunk<float> {
  typedef float Values __attribute__((vector_size(16)));
  typedef int32_t Flags __attribute__((vector_size(16)));
};
template <>
struct Chunk<double> {
  typedef double Values __attribute__((vector_size(16)));
  typedef int64_t Flags __attribute__((vector_size(16)));
};
template <>
struct Chunk<int32_t> {
  typedef int32_t Values __attribute__((vector_size(16)));
  typedef int32_t Flags __attribute__((vector_size(16)));
};

template <class T>
struct Pack {
  static constexpr int kWide = 16 / sizeof(T), kChunks = kLanes / kWide;
  typename Chunk<T>::Values v[kChunks];
};
template <class T>
struct Mask {
  static constexpr int kWide = Pack<T>::kWide, kChunks = Pack<T>::kChunks;
  typename Chunk<T>::Flags v[kChunks];  // all ones or all zeros in each lane
};

template <class T>
POINTNET2_INLINE Bits bits(const Mask<T>& a) {
  using M = Mask<T>;
  typename Chunk<T>::Flags sum = {};
  for (int c = 0; c < M::kChunks; ++c) {
    typename Chunk<T>::Flags weight;
    for (int i = 0; i < M::kWide; ++i) weight[i] = 1 << (c * M::kWide + i);
    sum |= a.v[c] & weight;
  }
  Bits bits = 0;
  for (int i = 0; i < M::kWide; ++i) bits |= static_cast<Bits>(sum[i]);
  return bits;
}
template <class T>
POINTNET2_INLINE Mask<T> from_bits(Bits bits) {
  using M = Mask<T>;
  Mask<T> a;
  for (int c = 0; c < M::kChunks; ++c)
    for (int i = 0; i < M::kWide; ++i) a.v[c][i] = bits >> (c * M::kWide + i) & 1 ? -1 : 0;
  return a;
}
template <class T>
POINTNET2_INLINE bool any(const Mask<T>& a) {
  typename Chunk<T>::Flags sum = a.v[0];
  for (int c = 1; c < Mask<T>::kChunks; ++c) sum |= a.v[c];
  bool found = false;
  for (int i = 0; i < Mask<T>::kWide; ++i) found |= sum[i] != 0;
  return found;
}
template <class T>
POINTNET2_INLINE Mask<T> operator|(Mask<T> a, const Mask<T>& b) {
  for (int c = 0; c < Mask<T>::kChunks; ++c) a.v[c] |= b.v[c];
  return a;
}
template <class T>
POINTNET2_INLINE Mask<T> operator&(Mask<T> a, const Mask<T>& b) {
  for (int c = 0; c < Mask<T>::kChunks; ++c) a.v[c] &= b.v[c];
  return a;
}

template <class T>
POINTNET2_INLINE Pack<T> load(const T* p) {
  Pack<T> a;
  std::memcpy(&a, p, sizeof a);
  return a;
}
template <class T>
POINTNET2_INLINE void store(T* p, const Pack<T>& a) {
  std::memcpy(p, &a, sizeof a);
}
template <class T>
POINTNET2_INLINE Pack<T> broadcast(T value) {
  Pack<T> a;
  for (int c = 0; c < Pack<T>::kChunks; ++c)
    for (int i = 0; i < Pack<T>::kWide; ++i) a.v[c][i] = value;
  return a;
}
template <class T>
POINTNET2_INLINE Pack<T> operator-(Pack<T> a, const Pack<T>& b) {
  for (int c = 0; c < Pack<T>::kChunks; ++c) a.v[c] -= b.v[c];
  return a;
}
template <class T>
POINTNET2_INLINE Pack<T> operator+(Pack<T> a, const Pack<T>& b) {
  for (int c = 0; c < Pack<T>::kChunks; ++c) a.v[c] += b.v[c];
  return a;
}
template <class T>
POINTNET2_INLINE Pack<T> operator*(Pack<T> a, const Pack<T>& b) {
  for (int c = 0; c < Pack<T>::kChunks; ++c) a.v[c] *= b.v[c];
  return a;
}
POINTNET2_INLINE Pack<float> multiply_add(const Pack<float>& a, const Pack<float>& b, const Pack<float>& c) {
  return a * b + c;
}
template <class T>
POINTNET2_INLINE Mask<T> less(const Pack<T>& a, const Pack<T>& b) {
  Mask<T> m;
  for (int c = 0; c < Pack<T>::kChunks; ++c) m.v[c] = (typename Chunk<T>::Flags)(a.v[c] < b.v[c]);
  return m;
}
template <class T>
POINTNET2_INLINE Mask<T> less_equal(const Pack<T>& a, const Pack<T>& b) {
  Mask<T> m;
  for (int c = 0; c < Pack<T>::kChunks; ++c) m.v[c] = (typename Chunk<T>::Flags)(a.v[c] <= b.v[c]);
  return m;
}
template <class T>
POINTNET2_INLINE Mask<T> equal(const Pack<T>& a, const Pack<T>& b) {
  Mask<T> m;
  for (int c = 0; c < Pack<T>::kChunks; ++c) m.v[c] = (typename Chunk<T>::Flags)(a.v[c] == b.v[c]);
  return m;
}
template <class T>
POINTNET2_INLINE Pack<T> select(const Mask<T>& m, Pack<T> a, const Pack<T>& b) {
  using Flags = typename Chunk<T>::Flags;
  using Values = typename Chunk<T>::Values;
  for (int c = 0; c < Pack<T>::kChunks; ++c)
    a.v[c] = (Values)((m.v[c] & (Flags)a.v[c]) | (~m.v[c] & (Flags)b.v[c]));
  return a;
}
template <class T>
POINTNET2_INLINE Pack<T> min(const Pack<T>& a, const Pack<T>& b) {
  return select(less(a, b), a, b);
}
template <class T>
POINTNET2_INLINE Pack<T> max(const Pack<T>& a, const Pack<T>& b) {
  return select(less(b, a), a, b);
}
template <class T>
POINTNET2_INLINE T first_lane(const Pack<T>& a) {
  return a.v[0][0];
}
template <class T>
POINTNET2_INLINE Pack<T> max_everywhere(const Pack<T>& a) {
  using Values = typename Chunk<T>::Values;
  Values m = a.v[0];
  for (int c = 1; c < Pack<T>::kChunks; ++c) m = m > a.v[c] ? m : a.v[c];
  T most = m[0];
  for (int i = 1; i < Pack<T>::kWide; ++i) most = most > m[i] ? most : m[i];
  return broadcast(most);
}
template <class T>
POINTNET2_INLINE Pack<T> min_everywhere(const Pack<T>& a) {
  using Values = typename Chunk<T>::Values;
  Values m = a.v[0];
  for (int c = 1; c < Pack<T>::kChunks; ++c) m = m < a.v[c] ? m : a.v[c];
  T least = m[0];
  for (int i = 1; i < Pack<T>::kWide; ++i) least = least < m[i] ? least : m[i];
  return broadcast(least);
}

// For lanes of T: index lanes compared, index lanes selected.
template <class T>
POINTNET2_INLINE Mask<T> less_index(const Pack<int32_t>& a, const Pack<int32_t>& b) {
  return from_bits<T>(bits(less(a, b)));
}
template <class T>
POINTNET2_INLINE Pack<int32_t> select_index(const Mask<T>& m, const Pack<int32_t>& a,
                                            const Pack<int32_t>& b) {
  if constexpr (sizeof(T) == sizeof(int32_t)) {
    Mask<int32_t> same;
    std::memcpy(&same, &m, sizeof m);
    return select(same, a, b);
  } else {
    return select(from_bits<int32_t>(bits(m)), a, b);
  }
}
POINTNET2_INLINE Pack<int32_t> count_less(Pack<int32_t> sum, const Pack<int32_t>& a, const Pack<int32_t>& b) {
  for (int c = 0; c < Pack<int32_t>::kChunks; ++c) sum.v[c] -= (Chunk<int32_t>::Flags)(a.v[c] < b.v[c]);
  return sum;
}
