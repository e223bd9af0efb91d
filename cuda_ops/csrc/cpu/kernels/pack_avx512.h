// One register for 16 float or int32, two for 16 double. Included by pack.h.
template <class T>
struct Mask {
  __mmask16 m;
};
template <class T>
struct Pack;
template <>
struct Pack<float> {
  __m512 v;
};
template <>
struct Pack<int32_t> {
  __m512i v;
};
template <>
struct Pack<double> {
  __m512d lo, hi;
};

template <class T>
POINTNET2_INLINE Bits bits(Mask<T> a) {
  return a.m;
}
template <class T>
POINTNET2_INLINE Mask<T> from_bits(Bits bits) {
  return {static_cast<__mmask16>(bits)};
}
template <class T>
POINTNET2_INLINE bool any(Mask<T> a) {
  return a.m != 0;
}
template <class T>
POINTNET2_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) {
  return {_kor_mask16(a.m, b.m)};
}
template <class T>
POINTNET2_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) {
  return {_kand_mask16(a.m, b.m)};
}

POINTNET2_INLINE Pack<float> load(const float* p) { return {_mm512_loadu_ps(p)}; }
POINTNET2_INLINE void store(float* p, Pack<float> a) { _mm512_storeu_ps(p, a.v); }
POINTNET2_INLINE Pack<float> broadcast(float a) { return {_mm512_set1_ps(a)}; }
POINTNET2_INLINE Pack<float> operator-(Pack<float> a, Pack<float> b) { return {_mm512_sub_ps(a.v, b.v)}; }
POINTNET2_INLINE Pack<float> operator+(Pack<float> a, Pack<float> b) { return {_mm512_add_ps(a.v, b.v)}; }
POINTNET2_INLINE Pack<float> operator*(Pack<float> a, Pack<float> b) { return {_mm512_mul_ps(a.v, b.v)}; }
POINTNET2_INLINE Pack<float> multiply_add(Pack<float> a, Pack<float> b, Pack<float> c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
POINTNET2_INLINE Pack<float> min(Pack<float> a, Pack<float> b) { return {_mm512_min_ps(a.v, b.v)}; }
POINTNET2_INLINE Pack<float> max(Pack<float> a, Pack<float> b) { return {_mm512_max_ps(a.v, b.v)}; }
template <int kind>
POINTNET2_INLINE Mask<float> compare(Pack<float> a, Pack<float> b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, kind)};
}
POINTNET2_INLINE Pack<float> select(Mask<float> m, Pack<float> a, Pack<float> b) {
  return {_mm512_mask_blend_ps(m.m, b.v, a.v)};
}
POINTNET2_INLINE Pack<float> max_everywhere(Pack<float> a) {
  __m512 m = _mm512_max_ps(a.v, _mm512_shuffle_f32x4(a.v, a.v, 0x4E));
  m = _mm512_max_ps(m, _mm512_shuffle_f32x4(m, m, 0xB1));
  m = _mm512_max_ps(m, _mm512_permute_ps(m, 0x4E));
  return {_mm512_max_ps(m, _mm512_permute_ps(m, 0xB1))};
}
POINTNET2_INLINE Pack<float> min_everywhere(Pack<float> a) {
  __m512 m = _mm512_min_ps(a.v, _mm512_shuffle_f32x4(a.v, a.v, 0x4E));
  m = _mm512_min_ps(m, _mm512_shuffle_f32x4(m, m, 0xB1));
  m = _mm512_min_ps(m, _mm512_permute_ps(m, 0x4E));
  return {_mm512_min_ps(m, _mm512_permute_ps(m, 0xB1))};
}
POINTNET2_INLINE float first_lane(Pack<float> a) { return _mm512_cvtss_f32(a.v); }

POINTNET2_INLINE Pack<double> load(const double* p) { return {_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)}; }
POINTNET2_INLINE void store(double* p, Pack<double> a) {
  _mm512_storeu_pd(p, a.lo);
  _mm512_storeu_pd(p + 8, a.hi);
}
POINTNET2_INLINE Pack<double> broadcast(double a) { return {_mm512_set1_pd(a), _mm512_set1_pd(a)}; }
POINTNET2_INLINE Pack<double> operator-(Pack<double> a, Pack<double> b) {
  return {_mm512_sub_pd(a.lo, b.lo), _mm512_sub_pd(a.hi, b.hi)};
}
POINTNET2_INLINE Pack<double> operator+(Pack<double> a, Pack<double> b) {
  return {_mm512_add_pd(a.lo, b.lo), _mm512_add_pd(a.hi, b.hi)};
}
POINTNET2_INLINE Pack<double> operator*(Pack<double> a, Pack<double> b) {
  return {_mm512_mul_pd(a.lo, b.lo), _mm512_mul_pd(a.hi, b.hi)};
}
POINTNET2_INLINE Pack<double> min(Pack<double> a, Pack<double> b) {
  return {_mm512_min_pd(a.lo, b.lo), _mm512_min_pd(a.hi, b.hi)};
}
POINTNET2_INLINE Pack<double> max(Pack<double> a, Pack<double> b) {
  return {_mm512_max_pd(a.lo, b.lo), _mm512_max_pd(a.hi, b.hi)};
}
template <int kind>
POINTNET2_INLINE Mask<double> compare(Pack<double> a, Pack<double> b) {
  return {_mm512_kunpackb(_mm512_cmp_pd_mask(a.hi, b.hi, kind), _mm512_cmp_pd_mask(a.lo, b.lo, kind))};
}
POINTNET2_INLINE Pack<double> select(Mask<double> m, Pack<double> a, Pack<double> b) {
  return {_mm512_mask_blend_pd(static_cast<__mmask8>(m.m), b.lo, a.lo),
          _mm512_mask_blend_pd(static_cast<__mmask8>(m.m >> 8), b.hi, a.hi)};
}
POINTNET2_INLINE Pack<double> max_everywhere(Pack<double> a) {
  __m512d m = _mm512_max_pd(a.lo, a.hi);
  m = _mm512_max_pd(m, _mm512_shuffle_f64x2(m, m, 0x4E));
  m = _mm512_max_pd(m, _mm512_shuffle_f64x2(m, m, 0xB1));
  m = _mm512_max_pd(m, _mm512_permute_pd(m, 0x55));
  return {m, m};
}
POINTNET2_INLINE Pack<double> min_everywhere(Pack<double> a) {
  __m512d m = _mm512_min_pd(a.lo, a.hi);
  m = _mm512_min_pd(m, _mm512_shuffle_f64x2(m, m, 0x4E));
  m = _mm512_min_pd(m, _mm512_shuffle_f64x2(m, m, 0xB1));
  m = _mm512_min_pd(m, _mm512_permute_pd(m, 0x55));
  return {m, m};
}
POINTNET2_INLINE double first_lane(Pack<double> a) { return _mm512_cvtsd_f64(a.lo); }

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

POINTNET2_INLINE Pack<int32_t> load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
POINTNET2_INLINE void store(int32_t* p, Pack<int32_t> a) { _mm512_storeu_si512(p, a.v); }
POINTNET2_INLINE Pack<int32_t> broadcast(int32_t a) { return {_mm512_set1_epi32(a)}; }
// For lanes of T: index lanes compared, index lanes selected.
template <class T>
POINTNET2_INLINE Mask<T> less_index(Pack<int32_t> a, Pack<int32_t> b) {
  return {_mm512_cmplt_epi32_mask(a.v, b.v)};
}
template <class T>
POINTNET2_INLINE Pack<int32_t> select_index(Mask<T> m, Pack<int32_t> a, Pack<int32_t> b) {
  return {_mm512_mask_blend_epi32(m.m, b.v, a.v)};
}
POINTNET2_INLINE Pack<int32_t> count_less(Pack<int32_t> sum, Pack<int32_t> a, Pack<int32_t> b) {
  return {_mm512_mask_add_epi32(sum.v, _mm512_cmplt_epi32_mask(a.v, b.v), sum.v, _mm512_set1_epi32(1))};
}
