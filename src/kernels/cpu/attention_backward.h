// Included by the files of one instruction set behind attention_unit.h, inside their namespace.

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
