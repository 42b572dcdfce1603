// Memory of a thread that is used again. Included by the files of one instruction set behind vector.h, inside their
// namespace.

/// Hands out pieces of one block. Without a block it only counts.
class Pieces {
 public:
  explicit Pieces(char* block) : block_(block) {}
  template <class T>
  T* take(int64_t count) {
    T* piece = block_ == nullptr ? nullptr : reinterpret_cast<T*>(block_ + used_);
    used_ += padded(count * static_cast<int64_t>(sizeof(T)), 64);
    return piece;
  }
  int64_t used() const { return used_; }

 private:
  char* block_;
  int64_t used_ = 0;
};

class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { free(block_); }
  /// Calls take(pieces) twice: to count, then to hand out.
  template <class Take>
  void lay_out(const Take& take) {
    Pieces counting(nullptr);
    take(counting);
    if (counting.used() > size_) {
      free(block_);
      size_ = 0;
      block_ = static_cast<char*>(aligned_alloc(64, static_cast<size_t>(counting.used())));
      if (block_ == nullptr) throw std::bad_alloc();
      size_ = counting.used();
    }
    Pieces pieces(block_);
    take(pieces);
  }

 private:
  char* block_ = nullptr;
  int64_t size_ = 0;
};
