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
