// Attention of one unit of work (packed_attention.h). Included by the files of one instruction set behind the others,
// inside their namespace.
//
// Keys come in blocks of up to kKeyBlock columns, prefix pairs first, each part padded to whole vectors; queries in
// blocks of kQueryBlock rows. A block of keys is packed once for all query heads that share it, so the scores of a
// query block and all operands of its products stay in the cache.

constexpr int64_t kKeyBlock = 128;   // a multiple of 16
constexpr int64_t kQueryBlock = 48;  // of kRowGroup, which products take at a time
constexpr int64_t kRowGroup = 12;

/// Some columns: prefix pairs [pair, pair + pairs), padded to `pair_width`, then own keys [key, key + keys), padded to `key_width`.
struct KeyBlock {
  int64_t pair = 0, pairs = 0, pair_width = 0, key = 0, keys = 0, key_width = 0;
  int64_t width() const { return pair_width + key_width; }
};

/// What products read: the numbers of sums, or pairs of bfloat16 where the processor multiplies those.
template <class T, class E>
struct OperandOf {
  using Type = T;
};
#if defined(__AVX512BF16__)
template <>
struct OperandOf<float, Bfloat16> {
  using Type = Pair;
};
#endif

template <class T, class E, bool kDropped>
class Unit {
 public:
  Unit(const PackedAttention& a, int64_t range, int64_t key_head)
      : a_(a),
        range_(a.ranges[range]),
        number_(range),
        g_(key_head),
        share_(a.heads / a.key_heads),
        width_(padded(a.width, kCount)),
        // Queries carry the scale, but where bfloat16 would round it: then the scores get it.
        of_queries_(kPairs ? T(1) : static_cast<T>(a.scale * kLog2E)),
        of_scores_(kPairs ? static_cast<T>(a.scale * kLog2E) : T(1)),
        of_dk_(kPairs ? static_cast<T>(a.scale) : T(kLog2)) {
    for (int64_t b = range_.first; b < range_.last; ++b) {
      most_queries_ = larger(most_queries_, a.sequences[b].queries);
      most_keys_ = larger(most_keys_, a.sequences[b].keys);
    }
    block_ = smaller(kKeyBlock, padded(a.prefix, kAlign) + padded(most_keys_, kAlign));
    // Blocks of about equal size: the last one is not a few rows.
    const int64_t blocks = larger<int64_t>(1, (most_queries_ + kQueryBlock - 1) / kQueryBlock);
    rows_ = smaller(padded((most_queries_ + blocks - 1) / blocks, kRowGroup), most_queries_);
  }

  void forward(const AttentionResult& result, Scratch& scratch);
  void backward(const AttentionGradients& gradients, Scratch& scratch);

 private:
  using Operand = typename OperandOf<T, E>::Type;
  static constexpr bool kPairs = !is_same<Operand, T>;
  static constexpr int64_t kDepth = kPairs ? 2 : 1;  // numbers of an operand, along the depth of a product
  static constexpr int64_t kCount = Lanes<T>::kCount;
  static constexpr int64_t kAlign =
      kCount < 8 ? 8 : kCount;  // of a part's columns: whole vectors, and whole bytes of mask bits
  static constexpr T kNone = -T(INFINITY);

  void take_common(Pieces& pieces) {
    q_ = pieces.take<T>(share_ * most_queries_ * width_);
    kt_ = pieces.take<T>(width_ * block_);
    scores_ = pieces.take<T>(rows_ * block_);
    lanes_ = pieces.take<T>(padded(rows_, kCount) * kCount);
    first_pair_ = pieces.take<int64_t>(most_queries_);
    first_key_ = pieces.take<int64_t>(most_queries_);
    last_key_ = pieces.take<int64_t>(most_queries_);
    if constexpr (!kDropped) return;
    const int64_t bytes = padded(rows_ * block_ / 8, kMaskBlocks);
    kept_ = pieces.take<uint8_t>(bytes);
    chunk_ = pieces.take<uint32_t>(bytes);
    position_ = pieces.take<uint32_t>(bytes);
  }

  /// What of the keys each query of a sequence sees: pairs from first_pair_ on, own keys [first_key_, last_key_).
  void find_visible(const PackedSequence& s) {
    const int64_t *keys = a_.key_index + s.first_key, *queries = a_.query_index + s.first_query;
    int64_t first = 0, last = a_.causal ? 0 : s.keys;
    for (int64_t i = 0; i < s.queries; ++i) {
      const int64_t at = queries[i] + s.query_start - s.key_start;  // among the indices of the keys
      while (last < s.keys && keys[last] <= at) ++last;
      int64_t pair = 0;
      if (a_.window > 0) {
        while (first < s.keys && keys[first] <= at - a_.window) ++first;
        pair = smaller(a_.prefix, larger<int64_t>(0, at - a_.window + 1 + a_.prefix));
      }
      first_pair_[i] = pair;
      first_key_[i] = smaller(first, last);
      last_key_[i] = last;
    }
  }

  /// The first block, or the one behind `block`; false at the end.
  bool next_block(const PackedSequence& s, KeyBlock& block) const {
    const int64_t pair = block.pair + block.pairs, key = block.key + block.keys;
    if (pair >= a_.prefix && key >= s.keys) return false;
    block = {.pair = pair, .pairs = smaller(a_.prefix - pair, block_), .key = key};
    block.pair_width = padded(block.pairs, kAlign);
    block.keys = smaller(s.keys - key, block_ - block.pair_width);
    block.key_width = padded(block.keys, kAlign);
    return true;
  }

  /// Whether some query of [first, first + rows) sees some key of the block.
  bool sees(const KeyBlock& block, int64_t first, int64_t rows) const {
    for (int64_t i = first; i < first + rows; ++i) {
      if (first_pair_[i] < block.pair + block.pairs && block.pairs > 0) return true;
      if (first_key_[i] < block.key + block.keys && last_key_[i] > block.key && first_key_[i] < last_key_[i])
        return true;
    }
    return false;
  }

  const E* row_of(const HeadRows& rows, int64_t t, int64_t head) const {
    return static_cast<const E*>(rows.data) + t * rows.row + head * rows.head;
  }
  /// Row of a block's column c: of the prefix, or of a sequence's own keys; null for padding.
  const E* column_row(const PackedSequence& s, const KeyBlock& block, const HeadRows& rows, const void* prefix,
                      int64_t c) const {
    if (c < block.pairs) {
      const int64_t pair = (s.table * a_.prefix + block.pair + c) * a_.key_heads + g_;
      return static_cast<const E*>(prefix) + pair * a_.width;
    }
    c -= block.pair_width;
    return c >= 0 && c < block.keys ? row_of(rows, s.first_key + block.key + c, g_) : nullptr;
  }
  /// Rows of the block, zeros where it is padding.     [block, width_]
  void pack(T* to, const PackedSequence& s, const KeyBlock& block, const HeadRows& rows, const void* prefix) const {
    for (int64_t c = 0; c < block.width(); ++c, to += width_) {
      if (const E* from = column_row(s, block, rows, prefix, c)) {
        read_row(to, from, T(1), a_.width, width_);
      } else {
        clear(to, width_);
      }
    }
  }
  /// Packed rows transposed.     [block, width_] -> [width_, block_]
  void transpose(T* to, const T* from, const KeyBlock& block) const {
    for (int64_t c = 0; c < block.width(); c += kCount) {
      for (int64_t d = 0; d < width_; d += kCount)
        transpose_square(from + c * width_ + d, width_, to + d * block_ + c, block_);
    }
  }
  /// The rows of all query heads of the unit.     [S, n, width_]
  void pack_queries(T* to, const PackedSequence& s, const HeadRows& rows, T factor) const {
    for (int64_t h = 0; h < share_; ++h) {
      for (int64_t i = 0; i < s.queries; ++i, to += width_)
        read_row(to, row_of(rows, s.first_query + i, g_ * share_ + h), factor, a_.width, width_);
    }
  }

  /// Bits of the block's columns for queries [first, first + rows) of a head.     kept_ [rows, width / 8]
  void draw_masks(const PackedSequence& s, const KeyBlock& block, int64_t head, int64_t first, int64_t rows) {
    int64_t at = 0;
    const auto base = static_cast<uint32_t>(head) << 20;
    for (int64_t i = first; i < first + rows; ++i) {
      const auto position = static_cast<uint32_t>(a_.query_index[s.first_query + i]);
      for (int64_t c = 0; c < block.pair_width / 8; ++c, ++at) {
        chunk_[at] = base | 1U << 19 | static_cast<uint32_t>(block.pair / 8 + c);
        position_[at] = position;
      }
      for (int64_t c = 0; c < block.key_width / 8; ++c, ++at) {
        chunk_[at] = base | static_cast<uint32_t>(block.key / 8 + c);
        position_[at] = position;
      }
    }
    mask_bits(kept_, at, s.ordinal, a_.masks[s.adapter], [&](int64_t block_number, Words& chunk, Words& position) {
      memcpy(&chunk, chunk_ + block_number, sizeof(chunk));
      memcpy(&position, position_ + block_number, sizeof(position));
    });
  }
  /// The bias of a query's row by key position, and nothing without one.
  const T* bias_of(const PackedSequence& s, int64_t head, int64_t i) const {
    if (a_.bias == nullptr) return nullptr;
    return static_cast<const T*>(a_.bias) + head * (a_.span + kBiasMargin) + a_.zero -
           (a_.query_index[s.first_query + i] + s.query_start);
  }
  /// body(first column, columns, position of the first, or of each: null where they lie one after another) for the parts that have a bias.
  template <class Body>
  PEFT_INLINE void for_biased(const PackedSequence& s, const KeyBlock& block, const Body& body) const {
    if (block.pairs > 0 && a_.bias_of_prefix)
      body(int64_t{0}, block.pairs, s.key_start - a_.prefix + block.pair, static_cast<const int64_t*>(nullptr));
    if (block.keys == 0) return;
    const int64_t* index = a_.key_index + s.first_key + block.key;
    const bool whole = index[block.keys - 1] - index[0] == block.keys - 1;
    body(block.pair_width, block.keys, s.key_start + (whole ? index[0] : 0), whole ? nullptr : index);
  }
  /// Products become scores of powers of 2: the bias is added, what the query does not see is hidden.
  PEFT_INLINE void finish_scores(T* row, const PackedSequence& s, const KeyBlock& block, int64_t head,
                                 int64_t i) const {
    if constexpr (kPairs) {
      for (int64_t c = 0; c < block.width(); c += kCount) store(row + c, load(row + c) * of_scores_);
    }
    if (const T* bias = bias_of(s, head, i)) {
      for_biased(s, block, [&](int64_t first, int64_t count, int64_t position, const int64_t* index) {
        T* part = row + first;
        if (index == nullptr) {
          for (int64_t c = 0; c < count; c += kCount)
            store(part + c, load(part + c) + load(bias + position + c) * T(kLog2E));
        } else {
          for (int64_t c = 0; c < count; ++c) part[c] += bias[position + index[c]] * T(kLog2E);
        }
      });
    }
    hide(row, block, i);
  }

  /// -infinity where query i does not see a column, padding included.
  PEFT_INLINE void hide(T* row, const KeyBlock& block, int64_t i) const {
    const auto fill = [&](int64_t from, int64_t to) {
      for (int64_t c = from; c < to; ++c) row[c] = kNone;
    };
    const auto inside = [](int64_t x, int64_t most) { return smaller(larger<int64_t>(x, 0), most); };
    if (block.pairs > 0) {
      fill(0, inside(first_pair_[i] - block.pair, block.pairs));
      fill(block.pairs, block.pair_width);
    }
    if (block.keys > 0) {
      const int64_t first = inside(first_key_[i] - block.key, block.keys),
                    last = inside(last_key_[i] - block.key, block.keys);
      fill(block.pair_width, block.pair_width + first);
      fill(block.pair_width + larger(first, last), block.pair_width + block.key_width);
    }
  }

  /// Rows as operands, pairs along the row.     [rows, columns] -> [rows, columns / kDepth]
  static const Operand* along(const T* from, Operand* room, int64_t rows, int64_t stride, int64_t columns) {
    if constexpr (!kPairs) {
      return from;
    } else {
      for (int64_t i = 0; i < rows; ++i) pair_columns(room + i * stride / 2, from + i * stride, columns);
      return room;
    }
  }
  /// The same, pairs of rows; a last row without a partner gets zeros.     [rows, columns] -> [rows / kDepth, columns]
  static const Operand* stacked(const T* from, Operand* room, int64_t rows, int64_t stride, int64_t columns) {
    if constexpr (!kPairs) {
      return from;
    } else {
      for (int64_t i = 0; i < rows; i += 2)
        pair_rows(room + i / 2 * stride, from + i * stride, i + 1 < rows ? from + (i + 1) * stride : nullptr, columns);
      return room;
    }
  }
  static int64_t depth_of(int64_t numbers) { return (numbers + kDepth - 1) / kDepth; }
  Operand* take_operands(Pieces& pieces, int64_t count) const { return pieces.take<Operand>(kPairs ? count : 0); }

  /// The largest scores with those of the block, whose lanes stand in lanes_, and 2^(before - now).     top [rows], before [rows]
  void raise_top(T* top, T* before, int64_t rows) const {
    for (int64_t i = 0; i < rows; i += kCount) {
      const Vector<T> largest = reduced<T>(lanes_ + i * kCount, [](Vector<T> x, Vector<T> y) { return x > y ? x : y; }),
                      old = load(top + i), now = largest > old ? largest : old;
      store(before + i, exp2_of<T>(now == kNone ? Vector<T>{} + kNone : old - now));
      store_some(top + i, now, rows - i);
    }
  }
  void add_totals(T* total, const T* before, int64_t rows) const {
    for (int64_t i = 0; i < rows; i += kCount) {
      const Vector<T> sum = reduced<T>(lanes_ + i * kCount, [](Vector<T> x, Vector<T> y) { return x + y; });
      store_some(total + i, load(total + i) * load(before + i) + sum, rows - i);
    }
  }
  /// rowsum(dO * O) of all rows of the unit; `out` is room for O.     delta [S, n]
  void find_deltas(T* delta, const T* dout, T* out, const PackedSequence& s, const HeadRows& rows) const {
    pack_queries(out, s, rows, T(1));
    const int64_t count = share_ * s.queries;
    for (int64_t first = 0; first < count; first += kCount) {
      T sums[kCount * kCount] = {};
      for (int64_t i = first; i < smaller(first + kCount, count); ++i) {
        Vector<T> sum{};
        for (int64_t d = 0; d < width_; d += kCount) sum += load(dout + i * width_ + d) * load(out + i * width_ + d);
        store(sums + (i - first) * kCount, sum);
      }
      store_some(delta + first, reduced<T>(sums, [](Vector<T> x, Vector<T> y) { return x + y; }), count - first);
    }
  }
  /// Numbers behind the rows belong to others.
  static void store_some(T* to, Vector<T> x, int64_t count) {
    if (count >= kCount) return store(to, x);
    T all[kCount];
    memcpy(all, &x, sizeof(x));
    for (int64_t i = 0; i < count; ++i) to[i] = all[i];
  }

  const PackedAttention& a_;
  SequenceRange range_;
  int64_t number_, g_, share_, width_;
  T of_queries_, of_scores_, of_dk_;
  int64_t most_queries_ = 0, most_keys_ = 0, block_ = 0, rows_ = 0;
  T *q_ = nullptr, *kt_ = nullptr, *scores_ = nullptr, *lanes_ = nullptr;
  int64_t *first_pair_ = nullptr, *first_key_ = nullptr, *last_key_ = nullptr;
  uint8_t* kept_ = nullptr;
  uint32_t *chunk_ = nullptr, *position_ = nullptr;
};

/// The softmax of the rows so far, for each query head and row: its output before the division, largest score and sum.
template <class T, class E, bool kDropped>
void Unit<T, E, kDropped>::forward(const AttentionResult& result, Scratch& scratch) {
  T *v = nullptr, *out = nullptr, *top = nullptr, *total = nullptr, *before = nullptr;
  Operand *q_room = nullptr, *kt_room = nullptr, *v_room = nullptr, *p_room = nullptr;
  scratch.lay_out([&](Pieces& pieces) {
    take_common(pieces);
    v = pieces.take<T>(block_ * width_);
    out = pieces.take<T>(share_ * most_queries_ * width_);
    top = pieces.take<T>(share_ * most_queries_ + kCount);
    total = pieces.take<T>(share_ * most_queries_ + kCount);
    before = pieces.take<T>(padded(rows_, kCount));
    q_room = take_operands(pieces, share_ * most_queries_ * width_ / 2);
    kt_room = take_operands(pieces, width_ * block_ / 2);
    v_room = take_operands(pieces, block_ * width_ / 2);
    p_room = take_operands(pieces, rows_ * block_ / 2);
  });
  for (int64_t b = range_.first; b < range_.last; ++b) {
    const PackedSequence& s = a_.sequences[b];
    const int64_t n = s.queries, all_rows = share_ * n;
    if (n == 0) continue;
    find_visible(s);
    pack_queries(q_, s, a_.q, of_queries_);
    const Operand* q = along(q_, q_room, all_rows, width_, width_);
    clear(out, all_rows * width_);
    for (int64_t i = 0; i < all_rows; ++i) {
      top[i] = kNone;
      total[i] = T(0);
    }
    const T keep_scale = kDropped ? static_cast<T>(a_.masks[s.adapter].scale) : T(1);
    for (KeyBlock block; next_block(s, block);) {
      pack(v, s, block, a_.k, a_.prefix_k);
      transpose(kt_, v, block);
      pack(v, s, block, a_.v, a_.prefix_v);
      const int64_t width = block.width();
      const Operand *kt = stacked(kt_, kt_room, width_, block_, width),
                    *values = stacked(v, v_room, width, width_, width_);
      for (int64_t h = 0; h < share_; ++h) {
        for (int64_t first = 0; first < n; first += rows_) {
          const int64_t rows = smaller(rows_, n - first), at = h * n + first, head = g_ * share_ + h;
          if (!sees(block, first, rows)) continue;
          product<Operand, T>({q + at * width_ / kDepth, width_ / kDepth, 1}, kt, block_, scores_, block_, rows, width,
                              depth_of(a_.width), false);
          if constexpr (kDropped) draw_masks(s, block, head, first, rows);
          for (int64_t i = 0; i < rows; ++i) {
            T* row = scores_ + i * block_;
            finish_scores(row, s, block, head, first + i);
            Vector<T> best = load(row);
            for (int64_t c = kCount; c < width; c += kCount) {
              const Vector<T> x = load(row + c);
              best = x > best ? x : best;
            }
            store(lanes_ + i * kCount, best);
          }
          raise_top(top + at, before, rows);
          for (int64_t i = 0; i < rows; ++i) {
            T* row = scores_ + i * block_;
            const T base = top[at + i] == kNone ? T(0) : top[at + i];
            Vector<T> sum{};
            for (int64_t c = 0; c < width; c += kCount) {
              const Vector<T> p = exp2_of<T>(load(row + c) - base);
              sum += p;
              store(row + c, kDropped ? kept_of(p, keep_scale, kept_ + i * width / 8, c) : p);
            }
            store(lanes_ + i * kCount, sum);
          }
          add_totals(total + at, before, rows);
          if (block.pair > 0 || block.key > 0) {  // not the first
            for (int64_t i = 0; i < rows; ++i) {
              T* sums = out + (at + i) * width_;
              for (int64_t d = 0; d < width_; d += kCount) store(sums + d, load(sums + d) * before[i]);
            }
          }
          product<Operand, T>({along(scores_, p_room, rows, block_, width), block_ / kDepth, 1}, values, width_,
                              out + at * width_, width_, rows, width_, width / kDepth, true);
        }
      }
    }
    for (int64_t h = 0; h < share_; ++h) {
      for (int64_t i = 0; i < n; ++i) {
        const int64_t at = h * n + i, to = (s.first_query + i) * a_.heads + g_ * share_ + h;
        const T sum = total[at];
        write_row(static_cast<E*>(result.out) + to * a_.width, out + at * width_, sum == T(0) ? T(0) : T(1) / sum,
                  a_.width);
        static_cast<T*>(result.lse)[to] = sum == T(0) ? kNone : top[at] * T(kLog2) + static_cast<T>(__builtin_log(sum));
      }
    }
  }
}

/// With P from the scores and lse, P~ the dropped one, dP~ = dO V^T and delta = rowsum(dO * O):
/// (Where q_ holds scale log2(e) Q, as the scores want it, dK gets log(2) back.)
///   dS = P * (mask * dP~ - delta)     dV = P~^T dO     dK = scale dS^T Q     dQ = scale dS K     dbias = sums of dS by distance
template <class T, class E, bool kDropped>
void Unit<T, E, kDropped>::backward(const AttentionGradients& gradients, Scratch& scratch) {
  T *vt = nullptr, *k = nullptr, *dscores = nullptr, *dout = nullptr, *dq = nullptr, *dk = nullptr, *dv = nullptr,
    *lse = nullptr, *delta = nullptr, *dbias = nullptr;
  Operand *q_room = nullptr, *dout_room = nullptr, *kt_room = nullptr, *vt_room = nullptr, *k_room = nullptr,
          *q_stack = nullptr, *dout_stack = nullptr, *p_stack = nullptr, *ds_stack = nullptr, *ds_room = nullptr;
  const int64_t reach = a_.span + kBiasMargin;
  scratch.lay_out([&](Pieces& pieces) {
    take_common(pieces);
    vt = pieces.take<T>(width_ * block_);
    k = pieces.take<T>(block_ * width_);
    dk = pieces.take<T>(block_ * width_);
    dv = pieces.take<T>(block_ * width_);
    dscores = pieces.take<T>(rows_ * block_);
    dout = pieces.take<T>(share_ * most_queries_ * width_);
    dq = pieces.take<T>(share_ * most_queries_ * width_);
    lse = pieces.take<T>(share_ * most_queries_);
    delta = pieces.take<T>(share_ * most_queries_);
    for (Operand** room : {&q_room, &dout_room}) *room = take_operands(pieces, share_ * most_queries_ * width_ / 2);
    for (Operand** room : {&kt_room, &vt_room, &k_room}) *room = take_operands(pieces, width_ * block_ / 2);
    for (Operand** room : {&q_stack, &dout_stack}) *room = take_operands(pieces, (rows_ + 1) / 2 * width_);
    for (Operand** room : {&p_stack, &ds_stack, &ds_room}) *room = take_operands(pieces, (rows_ + 1) / 2 * block_);
    dbias = pieces.take<T>(gradients.dbias != nullptr ? padded(share_ * reach, kCount) : 0);
  });
  if (gradients.dbias != nullptr) clear(dbias, padded(share_ * reach, kCount));
  const T scale = static_cast<T>(a_.scale);
  for (int64_t b = range_.first; b < range_.last; ++b) {
    const PackedSequence& s = a_.sequences[b];
    const int64_t n = s.queries;
    find_visible(s);
    pack_queries(q_, s, a_.q, of_queries_);
    pack_queries(dout, s, gradients.dout, T(1));
    const Operand *q = along(q_, q_room, share_ * n, width_, width_),
                  *dout_left = along(dout, dout_room, share_ * n, width_, width_);
    find_deltas(delta, dout, dq, s, gradients.out);
    for (int64_t h = 0; h < share_; ++h) {
      for (int64_t i = 0; i < n; ++i) {
        const T found = static_cast<const T*>(gradients.lse)[(s.first_query + i) * a_.heads + g_ * share_ + h];
        lse[h * n + i] = found == kNone ? T(INFINITY) : found * T(kLog2E);  // sees nothing: every probability is 0
      }
    }
    clear(dq, share_ * n * width_);
    const T keep_scale = kDropped ? static_cast<T>(a_.masks[s.adapter].scale) : T(1);
    for (KeyBlock block; next_block(s, block);) {
      pack(k, s, block, a_.v, a_.prefix_v);
      transpose(vt, k, block);
      pack(k, s, block, a_.k, a_.prefix_k);
      transpose(kt_, k, block);
      const int64_t width = block.width();
      const Operand *kt = stacked(kt_, kt_room, width_, block_, width),
                    *values = stacked(vt, vt_room, width_, block_, width),
                    *keys = stacked(k, k_room, width, width_, width_);
      clear(dk, width * width_);
      clear(dv, width * width_);
      for (int64_t h = 0; h < share_; ++h) {
        for (int64_t first = 0; first < n; first += rows_) {
          const int64_t rows = smaller(rows_, n - first), at = h * n + first, head = g_ * share_ + h;
          if (!sees(block, first, rows)) continue;
          const int64_t depth = depth_of(a_.width);
          product<Operand, T>({q + at * width_ / kDepth, width_ / kDepth, 1}, kt, block_, scores_, block_, rows, width,
                              depth, false);
          product<Operand, T>({dout_left + at * width_ / kDepth, width_ / kDepth, 1}, values, block_, dscores, block_,
                              rows, width, depth, false);
          if constexpr (kDropped) draw_masks(s, block, head, first, rows);
          for (int64_t i = 0; i < rows; ++i) {
            T *row = scores_ + i * block_, *drow = dscores + i * block_;
            finish_scores(row, s, block, head, first + i);
            const T shift = lse[at + i], less = delta[at + i];
            for (int64_t c = 0; c < width; c += kCount) {
              const Vector<T> p = exp2_of<T>(load(row + c) - shift);
              Vector<T> dropped = p, dp = load(drow + c);
              if constexpr (kDropped) {
                dropped = kept_of(p, keep_scale, kept_ + i * width / 8, c);
                dp = kept_of(dp, keep_scale, kept_ + i * width / 8, c);
              }
              store(row + c, dropped);
              store(drow + c, p * (dp - less));
            }
            if (gradients.dbias != nullptr) {
              T* sums = dbias + h * reach + a_.zero - (a_.query_index[s.first_query + first + i] + s.query_start);
              for_biased(s, block, [&](int64_t from, int64_t count, int64_t position, const int64_t* index) {
                for (int64_t c = 0; c < count; ++c)
                  sums[position + (index != nullptr ? index[c] : c)] += drow[from + c];
              });
            }
          }
          const Operand *queries = stacked(q_ + at * width_, q_stack, rows, width_, width_),
                        *douts = stacked(dout + at * width_, dout_stack, rows, width_, width_),
                        *p = stacked(scores_, p_stack, rows, block_, width),
                        *ds = stacked(dscores, ds_stack, rows, block_, width);
          const auto add_keys = [&](int64_t from, int64_t count) {  // rows of one part: its padding has none
            if (count == 0) return;
            product<Operand, T>({p + from, 1, block_}, douts, width_, dv + from * width_, width_, count, width_,
                                depth_of(rows), true);
            product<Operand, T>({ds + from, 1, block_}, queries, width_, dk + from * width_, width_, count, width_,
                                depth_of(rows), true);
          };
          add_keys(0, block.pairs);
          add_keys(block.pair_width, block.keys);
          product<Operand, T>({along(dscores, ds_room, rows, block_, width), block_ / kDepth, 1}, keys, width_,
                              dq + at * width_, width_, rows, width_, width / kDepth, true);
        }
      }
      for (int64_t c = 0; c < block.pairs; ++c) {
        const int64_t to = ((number_ * a_.prefix + block.pair + c) * a_.key_heads + g_) * a_.width;
        T *pair_k = static_cast<T*>(gradients.dprefix_k) + to, *pair_v = static_cast<T*>(gradients.dprefix_v) + to;
        for (int64_t d = 0; d < a_.width; ++d) {
          pair_k[d] += dk[c * width_ + d] * of_dk_;
          pair_v[d] += dv[c * width_ + d];
        }
      }
      for (int64_t c = 0; c < block.keys; ++c) {
        const int64_t to = ((s.first_key + block.key + c) * a_.key_heads + g_) * a_.width,
                      from = (block.pair_width + c) * width_;
        write_row(static_cast<E*>(gradients.dk) + to, dk + from, of_dk_, a_.width);
        write_row(static_cast<E*>(gradients.dv) + to, dv + from, T(1), a_.width);
      }
    }
    for (int64_t h = 0; h < share_; ++h) {
      for (int64_t i = 0; i < n; ++i) {
        const int64_t to = ((s.first_query + i) * a_.heads + g_ * share_ + h) * a_.width;
        const T* from = dq + (h * n + i) * width_;
        if (gradients.wide_dq) {
          write_row(static_cast<T*>(gradients.dq) + to, from, scale, a_.width);
        } else {
          write_row(static_cast<E*>(gradients.dq) + to, from, scale, a_.width);
        }
      }
    }
  }
  if (gradients.dbias == nullptr) return;
  for (int64_t h = 0; h < share_; ++h) {
    T* to = static_cast<T*>(gradients.dbias) + number_ * gradients.buckets * a_.heads + g_ * share_ + h;
    for (int64_t d = 0; d < a_.span; ++d) to[gradients.buckets_of[d] * a_.heads] += dbias[h * reach + d];
  }
}
