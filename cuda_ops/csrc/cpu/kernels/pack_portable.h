// Plain loops over 16 lanes that any compiler turns into the vectors of its baseline. Included by pack.h.
template <class T>
struct Pack {
  T v[kLanes];
};

template <class T>
POINTNET2_INLINE Pack<T> load(const T* p) {
  Pack<T> a;
  for (int i = 0; i < kLanes; ++i) a.v[i] = p[i];
  return a;
}
template <class T>
POINTNET2_INLINE void store(T* p, const Pack<T>& a) {
  for (int i = 0; i < kLanes; ++i) p[i] = a.v[i];
}
template <class T>
POINTNET2_INLINE Pack<T> broadcast(T value) {
  Pack<T> a;
  for (int i = 0; i < kLanes; ++i) a.v[i] = value;
  return a;
}
template <class T>
POINTNET2_INLINE Pack<T> operator-(Pack<T> a, const Pack<T>& b) {
  for (int i = 0; i < kLanes; ++i) a.v[i] -= b.v[i];
  return a;
}
template <class T>
POINTNET2_INLINE Pack<T> operator+(Pack<T> a, const Pack<T>& b) {
  for (int i = 0; i < kLanes; ++i) a.v[i] += b.v[i];
  return a;
}
template <class T>
POINTNET2_INLINE Pack<T> operator*(Pack<T> a, const Pack<T>& b) {
  for (int i = 0; i < kLanes; ++i) a.v[i] *= b.v[i];
  return a;
}
template <class T>
POINTNET2_INLINE Pack<T> min(Pack<T> a, const Pack<T>& b) {
  for (int i = 0; i < kLanes; ++i) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
template <class T>
POINTNET2_INLINE Pack<T> max(Pack<T> a, const Pack<T>& b) {
  for (int i = 0; i < kLanes; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
template <class T>
POINTNET2_INLINE Bits less(const Pack<T>& a, const Pack<T>& b) {
  Bits bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= Bits(a.v[i] < b.v[i]) << i;
  return bits;
}
template <class T>
POINTNET2_INLINE Bits less_equal(const Pack<T>& a, const Pack<T>& b) {
  Bits bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= Bits(a.v[i] <= b.v[i]) << i;
  return bits;
}
template <class T>
POINTNET2_INLINE Bits equal(const Pack<T>& a, const Pack<T>& b) {
  Bits bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= Bits(a.v[i] == b.v[i]) << i;
  return bits;
}
// Lanes of `a` where the bit is set, of `b` elsewhere.
template <class T>
POINTNET2_INLINE Pack<T> select(Bits bits, Pack<T> a, const Pack<T>& b) {
  for (int i = 0; i < kLanes; ++i) a.v[i] = bits >> i & 1 ? a.v[i] : b.v[i];
  return a;
}
// The largest lane, in every lane.
template <class T>
POINTNET2_INLINE Pack<T> max_everywhere(const Pack<T>& a) {
  T m = a.v[0];
  for (int i = 1; i < kLanes; ++i) m = m > a.v[i] ? m : a.v[i];
  return broadcast(m);
}
template <class T>
POINTNET2_INLINE T first_lane(const Pack<T>& a) {
  return a.v[0];
}
