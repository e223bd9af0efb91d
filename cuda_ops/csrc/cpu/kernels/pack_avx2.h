// Two registers for 16 float or int32, four for 16 double. Included by pack.h.
template <class T>
struct Mask;
template <>
struct Mask<float> {
  __m256 v[2];
};
template <>
struct Mask<double> {
  __m256d v[4];
};
template <class T>
struct Pack;
template <>
struct Pack<float> {
  __m256 v[2];
};
template <>
struct Pack<int32_t> {
  __m256i v[2];
};
template <>
struct Pack<double> {
  __m256d v[4];
};

POINTNET2_INLINE Bits bits(Mask<float> a) {
  return Bits(_mm256_movemask_ps(a.v[0])) | Bits(_mm256_movemask_ps(a.v[1])) << 8;
}
POINTNET2_INLINE Bits bits(Mask<double> a) {
  return Bits(_mm256_movemask_pd(a.v[0])) | Bits(_mm256_movemask_pd(a.v[1])) << 4 |
         Bits(_mm256_movemask_pd(a.v[2])) << 8 | Bits(_mm256_movemask_pd(a.v[3])) << 12;
}
template <class T>
POINTNET2_INLINE bool any(Mask<T> a) {
  return bits(a) != 0;
}
// All ones in the 32 bit (64 bit) lanes whose bit is set, for the lowest 8 (4) bits.
POINTNET2_INLINE __m256i mask8(Bits bits) {
  const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane), lane);
}
POINTNET2_INLINE __m256i mask4(Bits bits) {
  const __m256i lane = _mm256_setr_epi64x(1, 2, 4, 8);
  return _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(static_cast<int>(bits)), lane), lane);
}
template <class T>
POINTNET2_INLINE Mask<T> from_bits(Bits bits);
template <>
POINTNET2_INLINE Mask<float> from_bits<float>(Bits bits) {
  return {{_mm256_castsi256_ps(mask8(bits)), _mm256_castsi256_ps(mask8(bits >> 8))}};
}
template <>
POINTNET2_INLINE Mask<double> from_bits<double>(Bits bits) {
  return {{_mm256_castsi256_pd(mask4(bits)), _mm256_castsi256_pd(mask4(bits >> 4)),
           _mm256_castsi256_pd(mask4(bits >> 8)), _mm256_castsi256_pd(mask4(bits >> 12))}};
}
POINTNET2_INLINE Mask<float> operator|(Mask<float> a, Mask<float> b) {
  return {{_mm256_or_ps(a.v[0], b.v[0]), _mm256_or_ps(a.v[1], b.v[1])}};
}
POINTNET2_INLINE Mask<float> operator&(Mask<float> a, Mask<float> b) {
  return {{_mm256_and_ps(a.v[0], b.v[0]), _mm256_and_ps(a.v[1], b.v[1])}};
}
POINTNET2_INLINE Mask<double> operator|(Mask<double> a, Mask<double> b) {
  for (int i = 0; i < 4; ++i) a.v[i] = _mm256_or_pd(a.v[i], b.v[i]);
  return a;
}
POINTNET2_INLINE Mask<double> operator&(Mask<double> a, Mask<double> b) {
  for (int i = 0; i < 4; ++i) a.v[i] = _mm256_and_pd(a.v[i], b.v[i]);
  return a;
}

POINTNET2_INLINE Pack<float> load(const float* p) { return {{_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}}; }
POINTNET2_INLINE void store(float* p, Pack<float> a) {
  _mm256_storeu_ps(p, a.v[0]);
  _mm256_storeu_ps(p + 8, a.v[1]);
}
POINTNET2_INLINE Pack<float> broadcast(float a) { return {{_mm256_set1_ps(a), _mm256_set1_ps(a)}}; }
POINTNET2_INLINE Pack<float> operator-(Pack<float> a, Pack<float> b) {
  return {{_mm256_sub_ps(a.v[0], b.v[0]), _mm256_sub_ps(a.v[1], b.v[1])}};
}
POINTNET2_INLINE Pack<float> operator+(Pack<float> a, Pack<float> b) {
  return {{_mm256_add_ps(a.v[0], b.v[0]), _mm256_add_ps(a.v[1], b.v[1])}};
}
POINTNET2_INLINE Pack<float> operator*(Pack<float> a, Pack<float> b) {
  return {{_mm256_mul_ps(a.v[0], b.v[0]), _mm256_mul_ps(a.v[1], b.v[1])}};
}
POINTNET2_INLINE Pack<float> multiply_add(Pack<float> a, Pack<float> b, Pack<float> c) {
  return {{_mm256_fmadd_ps(a.v[0], b.v[0], c.v[0]), _mm256_fmadd_ps(a.v[1], b.v[1], c.v[1])}};
}
POINTNET2_INLINE Pack<float> min(Pack<float> a, Pack<float> b) {
  return {{_mm256_min_ps(a.v[0], b.v[0]), _mm256_min_ps(a.v[1], b.v[1])}};
}
POINTNET2_INLINE Pack<float> max(Pack<float> a, Pack<float> b) {
  return {{_mm256_max_ps(a.v[0], b.v[0]), _mm256_max_ps(a.v[1], b.v[1])}};
}
template <int kind>
POINTNET2_INLINE Mask<float> compare(Pack<float> a, Pack<float> b) {
  return {{_mm256_cmp_ps(a.v[0], b.v[0], kind), _mm256_cmp_ps(a.v[1], b.v[1], kind)}};
}
POINTNET2_INLINE Pack<float> select(Mask<float> m, Pack<float> a, Pack<float> b) {
  return {{_mm256_blendv_ps(b.v[0], a.v[0], m.v[0]), _mm256_blendv_ps(b.v[1], a.v[1], m.v[1])}};
}
POINTNET2_INLINE Pack<float> max_everywhere(Pack<float> a) {
  __m256 m = _mm256_max_ps(a.v[0], a.v[1]);
  m = _mm256_max_ps(m, _mm256_permute2f128_ps(m, m, 1));
  m = _mm256_max_ps(m, _mm256_permute_ps(m, 0x4E));
  m = _mm256_max_ps(m, _mm256_permute_ps(m, 0xB1));
  return {{m, m}};
}
POINTNET2_INLINE Pack<float> min_everywhere(Pack<float> a) {
  __m256 m = _mm256_min_ps(a.v[0], a.v[1]);
  m = _mm256_min_ps(m, _mm256_permute2f128_ps(m, m, 1));
  m = _mm256_min_ps(m, _mm256_permute_ps(m, 0x4E));
  m = _mm256_min_ps(m, _mm256_permute_ps(m, 0xB1));
  return {{m, m}};
}
POINTNET2_INLINE float first_lane(Pack<float> a) { return _mm256_cvtss_f32(a.v[0]); }

POINTNET2_INLINE Pack<double> load(const double* p) {
  return {{_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4), _mm256_loadu_pd(p + 8), _mm256_loadu_pd(p + 12)}};
}
POINTNET2_INLINE void store(double* p, Pack<double> a) {
  for (int i = 0; i < 4; ++i) _mm256_storeu_pd(p + 4 * i, a.v[i]);
}
POINTNET2_INLINE Pack<double> broadcast(double a) {
  const __m256d v = _mm256_set1_pd(a);
  return {{v, v, v, v}};
}
POINTNET2_INLINE Pack<double> operator-(Pack<double> a, Pack<double> b) {
  for (int i = 0; i < 4; ++i) a.v[i] = _mm256_sub_pd(a.v[i], b.v[i]);
  return a;
}
POINTNET2_INLINE Pack<double> operator+(Pack<double> a, Pack<double> b) {
  for (int i = 0; i < 4; ++i) a.v[i] = _mm256_add_pd(a.v[i], b.v[i]);
  return a;
}
POINTNET2_INLINE Pack<double> operator*(Pack<double> a, Pack<double> b) {
  for (int i = 0; i < 4; ++i) a.v[i] = _mm256_mul_pd(a.v[i], b.v[i]);
  return a;
}
POINTNET2_INLINE Pack<double> min(Pack<double> a, Pack<double> b) {
  for (int i = 0; i < 4; ++i) a.v[i] = _mm256_min_pd(a.v[i], b.v[i]);
  return a;
}
POINTNET2_INLINE Pack<double> max(Pack<double> a, Pack<double> b) {
  for (int i = 0; i < 4; ++i) a.v[i] = _mm256_max_pd(a.v[i], b.v[i]);
  return a;
}
template <int kind>
POINTNET2_INLINE Mask<double> compare(Pack<double> a, Pack<double> b) {
  return {{_mm256_cmp_pd(a.v[0], b.v[0], kind), _mm256_cmp_pd(a.v[1], b.v[1], kind),
           _mm256_cmp_pd(a.v[2], b.v[2], kind), _mm256_cmp_pd(a.v[3], b.v[3], kind)}};
}
POINTNET2_INLINE Pack<double> select(Mask<double> m, Pack<double> a, Pack<double> b) {
  for (int i = 0; i < 4; ++i) a.v[i] = _mm256_blendv_pd(b.v[i], a.v[i], m.v[i]);
  return a;
}
POINTNET2_INLINE Pack<double> max_everywhere(Pack<double> a) {
  __m256d m = _mm256_max_pd(_mm256_max_pd(a.v[0], a.v[1]), _mm256_max_pd(a.v[2], a.v[3]));
  m = _mm256_max_pd(m, _mm256_permute2f128_pd(m, m, 1));
  m = _mm256_max_pd(m, _mm256_permute_pd(m, 5));
  return {{m, m, m, m}};
}
POINTNET2_INLINE Pack<double> min_everywhere(Pack<double> a) {
  __m256d m = _mm256_min_pd(_mm256_min_pd(a.v[0], a.v[1]), _mm256_min_pd(a.v[2], a.v[3]));
  m = _mm256_min_pd(m, _mm256_permute2f128_pd(m, m, 1));
  m = _mm256_min_pd(m, _mm256_permute_pd(m, 5));
  return {{m, m, m, m}};
}
POINTNET2_INLINE double first_lane(Pack<double> a) { return _mm256_cvtsd_f64(a.v[0]); }

template <class T>
POINTNET2_INLINE Mask<T> less(Pack<T> a, Pack<T> b) {
  return compare<_CMP_LT_OQ>(a, b);
}
template <class T>
POINTNET2_INLINE Mask<T> less_equal(Pack<T> a, Pack<T> b) {
  return compare<_CMP_LE_OQ>(a, b);
}
template <class T>
POINTNET2_INLINE Mask<T> equal(Pack<T> a, Pack<T> b) {
  return compare<_CMP_EQ_OQ>(a, b);
}

POINTNET2_INLINE Pack<int32_t> load(const int32_t* p) {
  return {{_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
           _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))}};
}
POINTNET2_INLINE void store(int32_t* p, Pack<int32_t> a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v[0]);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), a.v[1]);
}
POINTNET2_INLINE Pack<int32_t> broadcast(int32_t a) { return {{_mm256_set1_epi32(a), _mm256_set1_epi32(a)}}; }
// For lanes of T: index lanes compared, index lanes selected.
template <class T>
POINTNET2_INLINE Mask<T> less_index(Pack<int32_t> a, Pack<int32_t> b) {
  return from_bits<T>(bits(Mask<float>{{_mm256_castsi256_ps(_mm256_cmpgt_epi32(b.v[0], a.v[0])),
                                        _mm256_castsi256_ps(_mm256_cmpgt_epi32(b.v[1], a.v[1]))}}));
}
POINTNET2_INLINE Pack<int32_t> select_index(Mask<float> m, Pack<int32_t> a, Pack<int32_t> b) {
  return {{_mm256_blendv_epi8(b.v[0], a.v[0], _mm256_castps_si256(m.v[0])),
           _mm256_blendv_epi8(b.v[1], a.v[1], _mm256_castps_si256(m.v[1]))}};
}
POINTNET2_INLINE Pack<int32_t> select_index(Mask<double> m, Pack<int32_t> a, Pack<int32_t> b) {
  return select_index(from_bits<float>(bits(m)), a, b);
}
POINTNET2_INLINE Pack<int32_t> count_less(Pack<int32_t> sum, Pack<int32_t> a, Pack<int32_t> b) {
  return {{_mm256_sub_epi32(sum.v[0], _mm256_cmpgt_epi32(b.v[0], a.v[0])),
           _mm256_sub_epi32(sum.v[1], _mm256_cmpgt_epi32(b.v[1], a.v[1]))}};
}
