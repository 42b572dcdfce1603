// What one instruction set does with a vector of numbers. Included by the files of one instruction set (kernels.h),
// inside their namespace, after <cstdint>, <cstring> and <cmath>: nothing here may be shared between them. Private to
// src/kernels/cpu.

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

#define PEFT_INLINE inline __attribute__((always_inline))

/// Lanes of a number type: its vector, integers of the same width, and the polynomial of 2^r for |r| <= 1/2, which interpolates at Chebyshev's
/// points: relative error 3e-9 for float, 5e-18 for double.
template <class T>
struct Lanes;

template <>
struct Lanes<float> {
  typedef float Vector __attribute__((vector_size(kVectorBytes)));
  typedef float Unaligned __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
  typedef int32_t Integers __attribute__((vector_size(kVectorBytes)));
  using Integer = int32_t;
  static constexpr int kCount = kVectorBytes / 4, kMantissa = 23;
  static constexpr float kRound = 12582912.0F, kLeast = -126.0F;
  static constexpr float kPowers[] = {1.0F,           0.6931472067F,  0.24022650922F, 0.05550327227F,
                                      0.00961805668F, 0.00134004282F, 0.00015461445F};
};

template <>
struct Lanes<double> {
  typedef double Vector __attribute__((vector_size(kVectorBytes)));
  typedef double Unaligned __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
  typedef int64_t Integers __attribute__((vector_size(kVectorBytes)));
  using Integer = int64_t;
  static constexpr int kCount = kVectorBytes / 8, kMantissa = 52;
  static constexpr double kRound = 6755399441055744.0, kLeast = -1022.0;
  static constexpr double kPowers[] = {1.0,
                                       0.693147180559945309,
                                       0.240226506959101596,
                                       0.055504108664821627,
                                       0.00961812910758725667,
                                       0.00133335581464064707,
                                       0.000154035304637243542,
                                       0.0000152527338415567726,
                                       1.32154325359123762e-6,
                                       1.01780570877339411e-7,
                                       7.07419429728852101e-9,
                                       4.45581790833606449e-10};
};
constexpr double kLog2E = 1.44269504088896340736, kLog2 = 0.693147180559945309417;

template <class T>
using Vector = typename Lanes<T>::Vector;

template <class T>
PEFT_INLINE Vector<T> load(const T* from) {
  return *reinterpret_cast<const typename Lanes<T>::Unaligned*>(from);
}
template <class T>
PEFT_INLINE void store(T* to, Vector<T> x) {
  *reinterpret_cast<typename Lanes<T>::Unaligned*>(to) = x;
}
template <class T>
PEFT_INLINE Vector<T> all(T x) {
  return x - Vector<T>{};  // x + 0 would be an addition: it changes -0
}
template <class T>
PEFT_INLINE void clear(T* to, int64_t count) {  // whole vectors
  for (int64_t i = 0; i < count; i += Lanes<T>::kCount) store(to + i, Vector<T>{});
}

template <class A, class B>
constexpr bool is_same = false;
template <class A>
constexpr bool is_same<A, A> = true;

constexpr int64_t padded(int64_t count, int64_t to) { return (count + to - 1) / to * to; }
template <class T>
PEFT_INLINE T larger(T a, T b) {
  return a > b ? a : b;
}
template <class T>
PEFT_INLINE T smaller(T a, T b) {
  return a < b ? a : b;
}

template <class T>
PEFT_INLINE Vector<T> power_series(Vector<T> r) {
  constexpr int kTerms = sizeof(Lanes<T>::kPowers) / sizeof(T);
  Vector<T> y = all<T>(Lanes<T>::kPowers[kTerms - 1]);
#pragma GCC unroll 16
  for (int i = kTerms - 2; i >= 0; --i) y = y * r + Lanes<T>::kPowers[i];
  return y;
}

/// 2^x for x below 128 (1024): 2^n 2^r with |r| <= 1/2. Results that are no normal numbers may be 0; a NaN stays one.
template <class T>
PEFT_INLINE Vector<T> exp2_of(Vector<T> x) {
  using Integers = typename Lanes<T>::Integers;
  const Vector<T> shifted = x + Lanes<T>::kRound, n = shifted - Lanes<T>::kRound;
  Vector<T> y = power_series<T>(x - n);
  Integers exponent, bits;
  memcpy(&exponent, &shifted, sizeof(exponent));
  memcpy(&bits, &y, sizeof(bits));
  bits += exponent << Lanes<T>::kMantissa;  // the low bits of `shifted` are n
  memcpy(&y, &bits, sizeof(y));
  y = x < Lanes<T>::kLeast ? Vector<T>{} : y;
  return x == x ? y : x;
}
#if defined(__AVX512F__)
constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
template <>
PEFT_INLINE Vector<float> exp2_of<float>(Vector<float> x) {
  x = _mm512_max_ps(_mm512_set1_ps(-200.0F), x);  // the second operand where one is a NaN
  const Vector<float> n = _mm512_roundscale_ps(x, kNearest);
  return _mm512_scalef_ps(power_series<float>(x - n), n);
}
template <>
PEFT_INLINE Vector<double> exp2_of<double>(Vector<double> x) {
  x = _mm512_max_pd(_mm512_set1_pd(-2000.0), x);
  const Vector<double> n = _mm512_roundscale_pd(x, kNearest);
  return _mm512_scalef_pd(power_series<double>(x - n), n);
}
#endif

/// Lanes of the i-th of two vectors whose rows stand `kStep` rows apart, after one step of a transposition.
template <class T, int kStep>
PEFT_INLINE void exchange(Vector<T>& a, Vector<T>& b) {
  constexpr int kCount = Lanes<T>::kCount;
  typename Lanes<T>::Integers first, second;
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
    first[i] = (i & kStep) != 0 ? i - kStep + kCount : i;
    second[i] = (i & kStep) != 0 ? i + kCount : i + kStep;
  }
  const Vector<T> x = __builtin_shuffle(a, b, first);
  b = __builtin_shuffle(a, b, second);
  a = x;
}
template <class T, int kStep>
PEFT_INLINE void exchange_all(Vector<T>* rows) {
  constexpr int kCount = Lanes<T>::kCount;
  if constexpr (kStep < kCount) {
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      if ((i & kStep) == 0) exchange<T, kStep>(rows[i], rows[i + kStep]);
    }
    exchange_all<T, 2 * kStep>(rows);
  }
}
/// A square of as many rows as a vector has lanes.
template <class T>
PEFT_INLINE void transpose_square(const T* from, int64_t from_row, T* to, int64_t to_row) {
  constexpr int kCount = Lanes<T>::kCount;
  Vector<T> rows[kCount];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) rows[i] = load(from + i * from_row);
  exchange_all<T, 1>(rows);
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) store(to + i * to_row, rows[i]);
}

/// What the lanes of each vector come to, for as many vectors as there are lanes.     [lanes, lanes] -> [lanes]
template <class T, class Combine>
PEFT_INLINE Vector<T> reduced(const T* rows, const Combine& combine) {
  constexpr int kCount = Lanes<T>::kCount;
  Vector<T> x[kCount];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) x[i] = load(rows + i * kCount);
  exchange_all<T, 1>(x);
#pragma GCC unroll 4
  for (int width = kCount / 2; width > 0; width /= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) x[i] = combine(x[i], x[i + width]);
  }
  return x[0];
}
