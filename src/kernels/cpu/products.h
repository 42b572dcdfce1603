// Products of small matrices from packed rows. Included by the files of one instruction set behind vector.h, inside
// their namespace.

/// How many rows of results stay in registers beside so many vectors of columns: as many as leave room for the operands.
constexpr int block_rows(int vectors) {
#if defined(__AVX512F__)
  return vectors == 4 ? 6 : vectors == 3 ? 8 : 12;
#else
  return vectors == 2 ? 6 : 8;
#endif
}
#if defined(__AVX512F__)
constexpr int kBlockVectors = 4;
#else
constexpr int kBlockVectors = 2;
#endif

/// Two bfloat16, neighbours along the depth of a product, the first in the lower half.
struct Pair {
  uint32_t bits;
};

PEFT_INLINE Vector<float> spread(float x) { return all(x); }
PEFT_INLINE Vector<double> spread(double x) { return all(x); }
template <class V>
PEFT_INLINE V with_product(V sum, V left, V right) {
  return sum + left * right;
}
#if defined(__AVX512BF16__)
PEFT_INLINE Words load(const Pair* from) {
  Words x;
  memcpy(&x, from, sizeof(x));
  return x;
}
PEFT_INLINE Words spread(Pair x) { return Words{} + x.bits; }
PEFT_INLINE Vector<float> with_product(Vector<float> sum, Words left, Words right) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(left), reinterpret_cast<__m512bh>(right));
}
#endif

/// The left side: operand (i, k) at data[i * row + k * column]. A transposed matrix is one with these exchanged.
template <class O>
struct Left {
  const O* data;
  int64_t row, column;
};

template <class O, int kRows, int kVectors, class T>
PEFT_INLINE void product_block(const Left<O>& a, const O* b, int64_t b_row, T* c, int64_t c_row, int64_t depth,
                               bool add) {
  constexpr int kCount = Lanes<T>::kCount;
  Vector<T> sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) sum[i][j] = add ? load(c + i * c_row + j * kCount) : Vector<T>{};
  }
  for (int64_t k = 0; k < depth; ++k) {
    decltype(load(b)) right[kVectors];
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) right[j] = load(b + k * b_row + j * kCount);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const auto left = spread(a.data[i * a.row + k * a.column]);
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) sum[i][j] = with_product(sum[i][j], left, right[j]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) store(c + i * c_row + j * kCount, sum[i][j]);
  }
}

template <class O, int kVectors, class T>
void product_columns(Left<O> a, const O* b, int64_t b_row, T* c, int64_t c_row, int64_t rows, int64_t depth, bool add) {
  constexpr int kRows = block_rows(kVectors);
  const auto pass = [&](int64_t done) {
    a.data += done * a.row;
    c += done * c_row;
    rows -= done;
  };
  for (; rows >= kRows; pass(kRows)) product_block<O, kRows, kVectors>(a, b, b_row, c, c_row, depth, add);
  for (; rows >= 4; pass(4)) product_block<O, 4, kVectors>(a, b, b_row, c, c_row, depth, add);
  if (rows >= 2) {
    product_block<O, 2, kVectors>(a, b, b_row, c, c_row, depth, add);
    pass(2);
  }
  if (rows == 1) product_block<O, 1, kVectors>(a, b, b_row, c, c_row, depth, add);
}

/// c = a b, or c += a b.     a [rows, depth], b [depth, columns] of operands, c [rows, columns]; rows of b and c are whole vectors
template <class O, class T>
void product(Left<O> a, const O* b, int64_t b_row, T* c, int64_t c_row, int64_t rows, int64_t columns, int64_t depth,
             bool add) {
  constexpr int kCount = Lanes<T>::kCount;
  for (int64_t vectors = columns / kCount; vectors > 0;) {
    const int now = vectors == kBlockVectors + 1 ? kBlockVectors - 1  // not one vector alone behind it
                                                 : static_cast<int>(smaller<int64_t>(vectors, kBlockVectors));
#if defined(__AVX512F__)
    if (now == 4) product_columns<O, 4>(a, b, b_row, c, c_row, rows, depth, add);
    if (now == 3) product_columns<O, 3>(a, b, b_row, c, c_row, rows, depth, add);
#endif
    if (now == 2) product_columns<O, 2>(a, b, b_row, c, c_row, rows, depth, add);
    if (now == 1) product_columns<O, 1>(a, b, b_row, c, c_row, rows, depth, add);
    b += now * kCount;
    c += now * kCount;
    vectors -= now;
  }
}
