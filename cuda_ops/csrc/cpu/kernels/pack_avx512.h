// One register for 16 float or int32, two for 16 double. Included by pack.h.
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

POINTNET2_INLINE Pack<float> load(const float* p) { return {_mm512_loadu_ps(p)}; }
POINTNET2_INLINE void store(float* p, Pack<float> a) { _mm512_storeu_ps(p, a.v); }
POINTNET2_INLINE Pack<float> broadcast(float a) { return {_mm512_set1_ps(a)}; }
POINTNET2_INLINE Pack<float> operator-(Pack<float> a, Pack<float> b) { return {_mm512_sub_ps(a.v, b.v)}; }
POINTNET2_INLINE Pack<float> operator+(Pack<float> a, Pack<float> b) { return {_mm512_add_ps(a.v, b.v)}; }
POINTNET2_INLINE Pack<float> operator*(Pack<float> a, Pack<float> b) { return {_mm512_mul_ps(a.v, b.v)}; }
POINTNET2_INLINE Pack<float> min(Pack<float> a, Pack<float> b) { return {_mm512_min_ps(a.v, b.v)}; }
POINTNET2_INLINE Pack<float> max(Pack<float> a, Pack<float> b) { return {_mm512_max_ps(a.v, b.v)}; }
POINTNET2_INLINE Bits less(Pack<float> a, Pack<float> b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
POINTNET2_INLINE Bits less_equal(Pack<float> a, Pack<float> b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ);
}
POINTNET2_INLINE Bits equal(Pack<float> a, Pack<float> b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
// Lanes of `a` where the bit is set, of `b` elsewhere.
POINTNET2_INLINE Pack<float> select(Bits bits, Pack<float> a, Pack<float> b) {
  return {_mm512_mask_blend_ps(static_cast<__mmask16>(bits), b.v, a.v)};
}
// The largest lane, in every lane.
POINTNET2_INLINE Pack<float> max_everywhere(Pack<float> a) {
  __m512 m = _mm512_max_ps(a.v, _mm512_shuffle_f32x4(a.v, a.v, 0x4E));
  m = _mm512_max_ps(m, _mm512_shuffle_f32x4(m, m, 0xB1));
  m = _mm512_max_ps(m, _mm512_permute_ps(m, 0x4E));
  return {_mm512_max_ps(m, _mm512_permute_ps(m, 0xB1))};
}
POINTNET2_INLINE float first_lane(Pack<float> a) { return _mm512_cvtss_f32(a.v); }

POINTNET2_INLINE Pack<int32_t> load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
POINTNET2_INLINE void store(int32_t* p, Pack<int32_t> a) { _mm512_storeu_si512(p, a.v); }
POINTNET2_INLINE Pack<int32_t> broadcast(int32_t a) { return {_mm512_set1_epi32(a)}; }
POINTNET2_INLINE Bits less(Pack<int32_t> a, Pack<int32_t> b) { return _mm512_cmplt_epi32_mask(a.v, b.v); }
POINTNET2_INLINE Pack<int32_t> select(Bits bits, Pack<int32_t> a, Pack<int32_t> b) {
  return {_mm512_mask_blend_epi32(static_cast<__mmask16>(bits), b.v, a.v)};
}

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
POINTNET2_INLINE Bits join(__mmask8 lo, __mmask8 hi) { return Bits(lo) | Bits(hi) << 8; }
POINTNET2_INLINE Bits less(Pack<double> a, Pack<double> b) {
  return join(_mm512_cmp_pd_mask(a.lo, b.lo, _CMP_LT_OQ), _mm512_cmp_pd_mask(a.hi, b.hi, _CMP_LT_OQ));
}
POINTNET2_INLINE Bits less_equal(Pack<double> a, Pack<double> b) {
  return join(_mm512_cmp_pd_mask(a.lo, b.lo, _CMP_LE_OQ), _mm512_cmp_pd_mask(a.hi, b.hi, _CMP_LE_OQ));
}
POINTNET2_INLINE Bits equal(Pack<double> a, Pack<double> b) {
  return join(_mm512_cmp_pd_mask(a.lo, b.lo, _CMP_EQ_OQ), _mm512_cmp_pd_mask(a.hi, b.hi, _CMP_EQ_OQ));
}
POINTNET2_INLINE Pack<double> select(Bits bits, Pack<double> a, Pack<double> b) {
  return {_mm512_mask_blend_pd(static_cast<__mmask8>(bits), b.lo, a.lo),
          _mm512_mask_blend_pd(static_cast<__mmask8>(bits >> 8), b.hi, a.hi)};
}
POINTNET2_INLINE Pack<double> max_everywhere(Pack<double> a) {
  __m512d m = _mm512_max_pd(a.lo, a.hi);
  m = _mm512_max_pd(m, _mm512_shuffle_f64x2(m, m, 0x4E));
  m = _mm512_max_pd(m, _mm512_shuffle_f64x2(m, m, 0xB1));
  m = _mm512_max_pd(m, _mm512_permute_pd(m, 0x55));
  return {m, m};
}
POINTNET2_INLINE double first_lane(Pack<double> a) { return _mm512_cvtsd_f64(a.lo); }
