#include "src/text/pipeline.h"

#include <algorithm>
#include <utility>

#include "peft/base/error.h"
#include "peft/text/utf8.h"
#include "src/text/truncation.h"
#include "src/text/vocabulary.h"

namespace peft::text {
namespace {

/// Buffers of one call, kept between the calls of a thread.
struct Scratch {
  std::vector<Piece> raw, normalized;
  std::string text;
  std::vector<std::string_view> words;
};

class Pipeline : public Tokenizer {
 public:
  explicit Pipeline(TokenizerParts parts) : parts_(std::move(parts)) {
    size_ = parts_.model->vocabulary().size();
    for (const AddedToken& token : parts_.added->tokens()) {
      size_ = std::max(size_, int64_t{token.id} + 1);
      if (token.id >= parts_.model->vocabulary().size()) added_ids_.insert(token.content, token.id);
    }
    added_tokens_.resize(static_cast<std::size_t>(size_ - parts_.model->vocabulary().size()));
    for (const AddedToken& token : parts_.added->tokens()) {
      const int64_t index = token.id - parts_.model->vocabulary().size();
      if (index >= 0) added_tokens_[static_cast<std::size_t>(index)] = token.content;
    }
  }

  void encode_content(std::string_view text, std::vector<int32_t>& ids) const override {
    if (const auto bad = find_invalid_utf8(text)) throw DataError(describe_invalid_utf8(text, *bad));
    thread_local Scratch scratch;
    parts_.added->raw().split(text, scratch.raw);
    for (const Piece& piece : scratch.raw) {
      if (piece.id != Piece::kText) {
        ids.push_back(piece.id);
      } else {
        encode_between(piece.text, scratch, ids);
      }
    }
  }

  Encoding encode(std::string_view text, std::optional<std::string_view> text_pair,
                  const EncodeOptions& options) const override {
    Encoding out;
    std::vector<int32_t>& content = out.types;  // borrowed: the types are written last
    encode_content(text, content);
    const auto first = static_cast<int64_t>(content.size());
    if (text_pair) encode_content(*text_pair, content);
    const auto second = static_cast<int64_t>(content.size()) - first;

    const Template& pieces = text_pair ? parts_.post_processor.pair : parts_.post_processor.single;
    const int64_t special = options.add_special_tokens ? count_special(pieces) : 0;
    Kept kept{first, second};
    if (options.max_length > 0) {
      if (options.max_length < special)
        throw_error<DataError>("max_length {} has no room for {} special tokens", options.max_length, special);
      kept = truncate(first, text_pair ? std::optional(second) : std::nullopt, options.max_length - special,
                      options.truncation);
    }
    out.lost_tokens = first + second - kept.first - kept.second;

    const std::vector<int32_t> both = std::move(content);
    out.types.clear();
    for (const TemplatePiece& piece : pieces) {
      if (piece.kind == TemplatePiece::Kind::special) {
        if (options.add_special_tokens) out.ids.insert(out.ids.end(), piece.ids.begin(), piece.ids.end());
      } else {
        const bool is_first = piece.kind == TemplatePiece::Kind::first_text;
        const auto start = both.begin() + (is_first ? 0 : first);
        out.ids.insert(out.ids.end(), start, start + (is_first ? kept.first : kept.second));
      }
      out.types.resize(out.ids.size(), piece.type);
    }
    return out;
  }

  int64_t size() const override { return size_; }

  std::optional<int32_t> token_to_id(std::string_view token) const override {
    if (const auto id = parts_.model->vocabulary().find(token)) return id;
    return added_ids_.find(token);
  }

  std::string_view id_to_token(int32_t id) const override {
    if (id < 0 || id >= size_) throw_error<DataError>("token id {} is out of range, expected 0 to {}", id, size_ - 1);
    const int64_t index = id - parts_.model->vocabulary().size();
    return index < 0 ? parts_.model->vocabulary().token(id) : added_tokens_[static_cast<std::size_t>(index)];
  }

  std::optional<int32_t> pad_id() const override { return parts_.pad_id; }
  const std::string& fingerprint() const override { return parts_.fingerprint; }

 private:
  void encode_between(std::string_view text, Scratch& scratch, std::vector<int32_t>& ids) const {
    if (parts_.normalizer != nullptr) {
      parts_.normalizer->normalize(text, scratch.text);
      text = scratch.text;
    }
    if (parts_.added->normalized().empty()) return encode_words(text, scratch, ids);
    parts_.added->normalized().split(text, scratch.normalized);
    for (const Piece& piece : scratch.normalized) {
      if (piece.id != Piece::kText) {
        ids.push_back(piece.id);
      } else {
        encode_words(piece.text, scratch, ids);
      }
    }
  }

  void encode_words(std::string_view text, Scratch& scratch, std::vector<int32_t>& ids) const {
    parts_.pre_tokenizer->split(text, scratch.words);
    for (const std::string_view word : scratch.words) parts_.model->tokenize(word, ids);
  }

  TokenizerParts parts_;
  int64_t size_ = 0;
  TokenTable added_ids_;                   ///< of tokens that the model does not know
  std::vector<std::string> added_tokens_;  ///< by id - vocabulary size
};

}  // namespace

std::unique_ptr<Tokenizer> make_pipeline(TokenizerParts parts) { return std::make_unique<Pipeline>(std::move(parts)); }

}  // namespace peft::text
