// Two registers for 16 float or int32, four for 16 double. Included by pack.h.
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

// All ones in the lanes whose bit is set, for the lowest 8 (4) bits.
POINTNET2_INLINE __m256i mask8(Bits bits) {
  const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane), lane);
}
POINTNET2_INLINE __m256i mask4(Bits bits) {
  const __m256i lane = _mm256_setr_epi64x(1, 2, 4, 8);
  return _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(static_cast<int>(bits)), lane), lane);
}
POINTNET2_INLINE Bits join(__m256 lo, __m256 hi) {
  return Bits(_mm256_movemask_ps(lo)) | Bits(_mm256_movemask_ps(hi)) << 8;
}
POINTNET2_INLINE Bits join(__m256d a, __m256d b, __m256d c, __m256d d) {
  return Bits(_mm256_movemask_pd(a)) | Bits(_mm256_movemask_pd(b)) << 4 | Bits(_mm256_movemask_pd(c)) << 8 |
         Bits(_mm256_movemask_pd(d)) << 12;
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
POINTNET2_INLINE Pack<float> min(Pack<float> a, Pack<float> b) {
  return {{_mm256_min_ps(a.v[0], b.v[0]), _mm256_min_ps(a.v[1], b.v[1])}};
}
POINTNET2_INLINE Pack<float> max(Pack<float> a, Pack<float> b) {
  return {{_mm256_max_ps(a.v[0], b.v[0]), _mm256_max_ps(a.v[1], b.v[1])}};
}
POINTNET2_INLINE Bits less(Pack<float> a, Pack<float> b) {
  return join(_mm256_cmp_ps(a.v[0], b.v[0], _CMP_LT_OQ), _mm256_cmp_ps(a.v[1], b.v[1], _CMP_LT_OQ));
}
POINTNET2_INLINE Bits less_equal(Pack<float> a, Pack<float> b) {
  return join(_mm256_cmp_ps(a.v[0], b.v[0], _CMP_LE_OQ), _mm256_cmp_ps(a.v[1], b.v[1], _CMP_LE_OQ));
}
POINTNET2_INLINE Bits equal(Pack<float> a, Pack<float> b) {
  return join(_mm256_cmp_ps(a.v[0], b.v[0], _CMP_EQ_OQ), _mm256_cmp_ps(a.v[1], b.v[1], _CMP_EQ_OQ));
}
// Lanes of `a` where the bit is set, of `b` elsewhere.
POINTNET2_INLINE Pack<float> select(Bits bits, Pack<float> a, Pack<float> b) {
  return {{_mm256_blendv_ps(b.v[0], a.v[0], _mm256_castsi256_ps(mask8(bits))),
           _mm256_blendv_ps(b.v[1], a.v[1], _mm256_castsi256_ps(mask8(bits >> 8)))}};
}
// The largest lane, in every lane.
POINTNET2_INLINE Pack<float> max_everywhere(Pack<float> a) {
  __m256 m = _mm256_max_ps(a.v[0], a.v[1]);
  m = _mm256_max_ps(m, _mm256_permute2f128_ps(m, m, 1));
  m = _mm256_max_ps(m, _mm256_permute_ps(m, 0x4E));
  m = _mm256_max_ps(m, _mm256_permute_ps(m, 0xB1));
  return {{m, m}};
}
POINTNET2_INLINE float first_lane(Pack<float> a) { return _mm256_cvtss_f32(a.v[0]); }

POINTNET2_INLINE Pack<int32_t> load(const int32_t* p) {
  return {{_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
           _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))}};
}
POINTNET2_INLINE void store(int32_t* p, Pack<int32_t> a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v[0]);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), a.v[1]);
}
POINTNET2_INLINE Pack<int32_t> broadcast(int32_t a) { return {{_mm256_set1_epi32(a), _mm256_set1_epi32(a)}}; }
POINTNET2_INLINE Bits less(Pack<int32_t> a, Pack<int32_t> b) {
  return join(_mm256_castsi256_ps(_mm256_cmpgt_epi32(b.v[0], a.v[0])),
              _mm256_castsi256_ps(_mm256_cmpgt_epi32(b.v[1], a.v[1])));
}
POINTNET2_INLINE Pack<int32_t> select(Bits bits, Pack<int32_t> a, Pack<int32_t> b) {
  return {{_mm256_blendv_epi8(b.v[0], a.v[0], mask8(bits)),
           _mm256_blendv_epi8(b.v[1], a.v[1], mask8(bits >> 8))}};
}

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
POINTNET2_INLINE Bits compare(Pack<double> a, Pack<double> b) {
  return join(_mm256_cmp_pd(a.v[0], b.v[0], kind), _mm256_cmp_pd(a.v[1], b.v[1], kind),
              _mm256_cmp_pd(a.v[2], b.v[2], kind), _mm256_cmp_pd(a.v[3], b.v[3], kind));
}
POINTNET2_INLINE Bits less(Pack<double> a, Pack<double> b) { return compare<_CMP_LT_OQ>(a, b); }
POINTNET2_INLINE Bits less_equal(Pack<double> a, Pack<double> b) { return compare<_CMP_LE_OQ>(a, b); }
POINTNET2_INLINE Bits equal(Pack<double> a, Pack<double> b) { return compare<_CMP_EQ_OQ>(a, b); }
POINTNET2_INLINE Pack<double> select(Bits bits, Pack<double> a, Pack<double> b) {
  for (int i = 0; i < 4; ++i)
    a.v[i] = _mm256_blendv_pd(b.v[i], a.v[i], _mm256_castsi256_pd(mask4(bits >> 4 * i)));
  return a;
}
POINTNET2_INLINE Pack<double> max_everywhere(Pack<double> a) {
  __m256d m = _mm256_max_pd(_mm256_max_pd(a.v[0], a.v[1]), _mm256_max_pd(a.v[2], a.v[3]));
  m = _mm256_max_pd(m, _mm256_permute2f128_pd(m, m, 1));
  m = _mm256_max_pd(m, _mm256_permute_pd(m, 5));
  return {{m, m, m, m}};
}
POINTNET2_INLINE double first_lane(Pack<double> a) { return _mm256_cvtsd_f64(a.v[0]); }
