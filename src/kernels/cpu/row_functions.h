// Operations on rows (rows.h). Included by the files of one instruction set behind vector.h, elements.h and masks.h,
// inside their namespace.

/// Columns whose masks are drawn at a time.
constexpr int64_t kMaskColumns = 1024;

/// The mask bits of a row, from column 0 on in steps of kMaskColumns.
class RowBits {
 public:
  RowBits(const RowMasks& masks, int64_t row) : name_(masks.rows[row]), names_(masks.masks[name_.adapter]) {}
  template <class T>
  T scale() const {
    return T(65536) / (T(65536) - static_cast<T>(names_.limit));
  }
  const uint8_t* draw(int64_t first, int64_t columns) {
    Words lane;
#pragma GCC unroll 16
    for (int j = 0; j < kWords; ++j) lane[j] = static_cast<uint32_t>(j);
    const auto chunk = static_cast<uint32_t>(first / 8);
    mask_bits(bits_, (columns + 7) / 8, name_.ordinal, names_, [&](int64_t block, Words& c0, Words& c1) {
      c0 = lane + (chunk + static_cast<uint32_t>(block));
      c1 = Words{} + name_.position;
    });
    return bits_;
  }

 private:
  const RowName& name_;
  const MaskNames& names_;
  uint8_t bits_[kMaskColumns / 8];
};

template <class T, class E>
void dropout_rows(const RowMasks& masks, const E* x, E* y, int64_t columns, int64_t first, int64_t last) {
  constexpr int kCount = Lanes<T>::kCount;
  for (int64_t t = first; t < last; ++t) {
    RowBits row(masks, t);
    const T scale = row.template scale<T>();
    for (int64_t begin = 0; begin < columns; begin += kMaskColumns) {
      const int64_t count = smaller(kMaskColumns, columns - begin);
      const uint8_t* bits = row.draw(begin, count);
      const E* from = x + t * columns + begin;
      E* to = y + t * columns + begin;
      int64_t c = 0;
      for (; c + kCount <= count; c += kCount) store_narrow(to + c, kept_of<T>(load_wide(from + c), scale, bits, c));
      for (; c < count; ++c) narrow((bits[c / 8] >> (c % 8) & 1) != 0 ? widened(from[c]) * scale : T(0), to[c]);
    }
  }
}

template <class T>
PEFT_INLINE T sum_of(Vector<T> x) {
  T sum = T(0);
#pragma GCC unroll 16
  for (int i = 0; i < Lanes<T>::kCount; ++i) sum += x[i];
  return sum;
}

template <class E>
void norm_rows(const ResidualNorm& n, int64_t first, int64_t last) {
  constexpr int kCount = Lanes<float>::kCount;
  const int64_t columns = n.columns;
  for (int64_t t = first; t < last; ++t) {
    const E *x = static_cast<const E*>(n.x) + t * columns, *branch = static_cast<const E*>(n.branch) + t * columns;
    E *sum = static_cast<E*>(n.sum) + t * columns, *y = static_cast<E*>(n.y) + t * columns;
    Vector<float> total{}, squares{};
    if (n.branch != nullptr) {
      const bool drops = n.masks.masks != nullptr && n.masks.masks[n.masks.rows[t].adapter].limit > 0;
      for (int64_t begin = 0; begin < columns; begin += kMaskColumns) {
        const int64_t end = smaller(begin + kMaskColumns, columns);
        const auto add = [&](const auto& of_branch) {
          for (int64_t c = begin; c < end; c += kCount) {
            store_narrow(sum + c, load_wide(x + c) + of_branch(c));
            const Vector<float> s = load_wide(sum + c);  // as rounded
            total += s;
          }
        };
        if (drops) {
          RowBits row(n.masks, t);
          const uint8_t* bits = row.draw(begin, end - begin);
          const float scale = row.template scale<float>();
          add([&](int64_t c) { return kept_of<float>(load_wide(branch + c), scale, bits, c - begin); });
        } else {
          add([&](int64_t c) { return load_wide(branch + c); });
        }
      }
      x = sum;
    } else {
      for (int64_t c = 0; c < columns; c += kCount) total += load_wide(x + c);
    }
    const auto count = static_cast<float>(columns);
    const float mean = n.rms ? 0.0F : sum_of<float>(total) / count;
    for (int64_t c = 0; c < columns; c += kCount) {
      const Vector<float> d = load_wide(x + c) - mean;
      squares += d * d;
    }
    const float rstd = 1.0F / __builtin_sqrtf(sum_of<float>(squares) / count + static_cast<float>(n.eps));
    n.mean[t] = mean;
    n.rstd[t] = rstd;
    for (int64_t c = 0; c < columns; c += kCount) {
      Vector<float> out = (load_wide(x + c) - mean) * rstd * load(n.weight + c);
      if (n.bias != nullptr) out += load(n.bias + c);
      store_narrow(y + c, out);
    }
  }
}

/// With h = (s - mean) rstd and g = dy weight:     ds = dsum + rstd (g - mean(g) - h mean(g h)); rms: without mean(g)
template <class E>
void norm_rows_backward(const ResidualNorm& n, const ResidualNormGradients& g, int64_t first, int64_t last) {
  constexpr int kCount = Lanes<float>::kCount;
  const int64_t columns = n.columns;
  const auto count = static_cast<float>(columns);
  for (int64_t t = first; t < last; ++t) {
    const int64_t at = t * columns;
    const E* s = static_cast<const E*>(n.x) + at;
    const E* dy = static_cast<const E*>(g.dy) + at;
    const float mean = n.mean[t], rstd = n.rstd[t];
    Vector<float> sum{}, product{};
    for (int64_t c = 0; c < columns; c += kCount) {
      const Vector<float> d = load_wide(dy + c) * load(n.weight + c);
      sum += d;
      product += d * (load_wide(s + c) - mean);
    }
    const float of_mean = n.rms ? 0.0F : sum_of<float>(sum) / count,
                of_spread = sum_of<float>(product) * rstd * rstd / count;
    E* dx = static_cast<E*>(g.dx) + at;
    const E* dsum = static_cast<const E*>(g.dsum) + at;
    for (int64_t c = 0; c < columns; c += kCount) {
      const Vector<float> d = load_wide(dy + c) * load(n.weight + c), h = load_wide(s + c) - mean;
      Vector<float> ds = (d - of_mean - h * of_spread) * rstd;
      if (g.dsum != nullptr) ds += load_wide(dsum + c);
      store_narrow(dx + c, ds);
    }
    if (g.dbranch == nullptr) continue;
    E* dbranch = static_cast<E*>(g.dbranch) + at;
    RowBits row(n.masks, t);
    const float scale = row.template scale<float>();
    for (int64_t begin = 0; begin < columns; begin += kMaskColumns) {
      const int64_t end = smaller(begin + kMaskColumns, columns);
      const uint8_t* bits = row.draw(begin, end - begin);
      for (int64_t c = begin; c < end; c += kCount)
        store_narrow(dbranch + c, kept_of<float>(load_wide(dx + c), scale, bits, c - begin));
    }
  }
}
