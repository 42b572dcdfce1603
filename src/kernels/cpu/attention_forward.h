// Included by the files of one instruction set behind attention_unit.h, inside their namespace.

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
