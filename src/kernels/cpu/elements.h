// Numbers as memory holds them. Included by the files of one instruction set behind vector.h, inside their namespace.

struct Bfloat16 {
  uint16_t bits;
};

PEFT_INLINE float widened(float x) { return x; }
PEFT_INLINE double widened(double x) { return x; }
PEFT_INLINE float widened(_Float16 x) { return static_cast<float>(x); }
PEFT_INLINE float widened(Bfloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float y;
  memcpy(&y, &bits, sizeof(y));
  return y;
}

PEFT_INLINE void narrow(float x, float& y) { y = x; }
PEFT_INLINE void narrow(double x, double& y) { y = x; }
PEFT_INLINE void narrow(float x, _Float16& y) { y = static_cast<_Float16>(x); }
/// To the nearest, of two equally near ones the even.
PEFT_INLINE void narrow(float x, Bfloat16& y) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof(bits));
  const uint32_t rounded = (bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16;
  y.bits = static_cast<uint16_t>(x != x ? 0x7FC0U : rounded);
}

template <class E>
struct SumOf {
  using Type = float;
};
template <>
struct SumOf<double> {
  using Type = double;
};

/// As many numbers as a vector has lanes.
PEFT_INLINE Vector<float> load_wide(const float* from) { return load(from); }
PEFT_INLINE Vector<double> load_wide(const double* from) { return load(from); }
PEFT_INLINE Vector<float> load_wide(const Bfloat16* from) {
  typedef uint16_t Half __attribute__((vector_size(kVectorBytes / 2), aligned(2), may_alias));
  typedef uint32_t Whole __attribute__((vector_size(kVectorBytes)));
  const Whole bits = __builtin_convertvector(*reinterpret_cast<const Half*>(from), Whole) << 16;
  Vector<float> x;
  memcpy(&x, &bits, sizeof(x));
  return x;
}
PEFT_INLINE Vector<float> load_wide(const _Float16* from) {
  Vector<float> x;
  for (int i = 0; i < Lanes<float>::kCount; ++i) x[i] = static_cast<float>(from[i]);
  return x;
}
PEFT_INLINE void store_narrow(float* to, Vector<float> x) { store(to, x); }
PEFT_INLINE void store_narrow(double* to, Vector<double> x) { store(to, x); }
PEFT_INLINE void store_narrow(Bfloat16* to, Vector<float> x) {
  typedef uint16_t Half __attribute__((vector_size(kVectorBytes / 2), aligned(2), may_alias));
  typedef uint32_t Whole __attribute__((vector_size(kVectorBytes)));
  Whole bits;
  memcpy(&bits, &x, sizeof(x));
  bits = (bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16;
  const Whole nan = Whole{} + 0x7FC0U;
  *reinterpret_cast<Half*>(to) = __builtin_convertvector(x == x ? bits : nan, Half);
}
PEFT_INLINE void store_narrow(_Float16* to, Vector<float> x) {
  for (int i = 0; i < Lanes<float>::kCount; ++i) to[i] = static_cast<_Float16>(x[i]);
}

/// Numbers [0, width) of a row, times a factor, and zeros up to `stride`, a multiple of the lanes.
template <class T, class E>
PEFT_INLINE void read_row(T* to, const E* from, T factor, int64_t width, int64_t stride) {
  constexpr int kCount = Lanes<T>::kCount;
  int64_t d = 0;
  for (; d + kCount <= width; d += kCount) {
    __builtin_prefetch(from + width + d);
    store(to + d, load_wide(from + d) * factor);
  }
  if (d == stride) return;
  store(to + d, Vector<T>{});
  for (; d < width; ++d) to[d] = widened(from[d]) * factor;
}
template <class T, class E>
PEFT_INLINE void write_row(E* to, const T* from, T factor, int64_t width) {
  constexpr int kCount = Lanes<T>::kCount;
  int64_t d = 0;
  for (; d + kCount <= width; d += kCount) store_narrow(to + d, load(from + d) * factor);
  for (; d < width; ++d) narrow(from[d] * factor, to[d]);
}
