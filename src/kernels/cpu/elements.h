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

#if defined(__AVX512BF16__)
/// Numbers of a row as pairs of neighbours.     [columns], a multiple of 16, -> [columns / 2]
PEFT_INLINE void pair_columns(Pair* to, const float* from, int64_t columns) {
  for (int64_t c = 0; c < columns; c += 16) {
    const __m256bh half = _mm512_cvtneps_pbh(load(from + c));
    memcpy(static_cast<void*>(to + c / 2), &half, sizeof(half));
  }
}
/// Numbers of two rows as pairs; no second row: zeros.     [columns], a multiple of 16
PEFT_INLINE void pair_rows(Pair* to, const float* first, const float* second, int64_t columns) {
  const auto half = [](const float* from) {
    return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(load(from))));
  };
  for (int64_t c = 0; c < columns; c += 16) {
    __m512i pair = half(first + c);
    if (second != nullptr) pair = _mm512_or_si512(pair, _mm512_slli_epi32(half(second + c), 16));
    memcpy(static_cast<void*>(to + c), &pair, sizeof(pair));
  }
}
#endif
