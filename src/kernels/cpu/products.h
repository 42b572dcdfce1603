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

/// The left side: element (i, k) at data[i * row + k * column]. A transposed matrix is one with these exchanged.
template <class T>
struct Left {
  const T* data;
  int64_t row, column;
};

template <class T, int kRows, int kVectors>
PEFT_INLINE void product_block(const Left<T>& a, const T* b, int64_t b_row, T* c, int64_t c_row, int64_t depth,
                               bool add) {
  constexpr int kCount = Lanes<T>::kCount;
  Vector<T> sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) sum[i][j] = add ? load(c + i * c_row + j * kCount) : Vector<T>{};
  }
  for (int64_t k = 0; k < depth; ++k) {
    Vector<T> right[kVectors];
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) right[j] = load(b + k * b_row + j * kCount);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vector<T> left = all(a.data[i * a.row + k * a.column]);
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) sum[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) store(c + i * c_row + j * kCount, sum[i][j]);
  }
}

template <class T, int kVectors>
void product_columns(Left<T> a, const T* b, int64_t b_row, T* c, int64_t c_row, int64_t rows, int64_t depth, bool add) {
  constexpr int kRows = block_rows(kVectors);
  const auto pass = [&](int64_t done) {
    a.data += done * a.row;
    c += done * c_row;
    rows -= done;
  };
  for (; rows >= kRows; pass(kRows)) product_block<T, kRows, kVectors>(a, b, b_row, c, c_row, depth, add);
  for (; rows >= 4; pass(4)) product_block<T, 4, kVectors>(a, b, b_row, c, c_row, depth, add);
  if (rows >= 2) {
    product_block<T, 2, kVectors>(a, b, b_row, c, c_row, depth, add);
    pass(2);
  }
  if (rows == 1) product_block<T, 1, kVectors>(a, b, b_row, c, c_row, depth, add);
}

/// c = a b, or c += a b.     a [rows, depth], b [depth, columns], c [rows, columns]; rows of b and c are whole vectors
template <class T>
void product(Left<T> a, const T* b, int64_t b_row, T* c, int64_t c_row, int64_t rows, int64_t columns, int64_t depth,
             bool add) {
  constexpr int kCount = Lanes<T>::kCount;
  for (int64_t vectors = columns / kCount; vectors > 0;) {
    const int now = vectors == kBlockVectors + 1 ? kBlockVectors - 1  // not one vector alone behind it
                                                 : static_cast<int>(smaller<int64_t>(vectors, kBlockVectors));
#if defined(__AVX512F__)
    if (now == 4) product_columns<T, 4>(a, b, b_row, c, c_row, rows, depth, add);
    if (now == 3) product_columns<T, 3>(a, b, b_row, c, c_row, rows, depth, add);
#endif
    if (now == 2) product_columns<T, 2>(a, b, b_row, c, c_row, rows, depth, add);
    if (now == 1) product_columns<T, 1>(a, b, b_row, c, c_row, rows, depth, add);
    b += now * kCount;
    c += now * kCount;
    vectors -= now;
  }
}
