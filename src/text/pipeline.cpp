#include "src/text/pipeline.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "peft/base/error.h"
#include "peft/text/utf8.h"
#include "src/text/span_writer.h"
#include "src/text/truncation.h"
#include "src/text/vocabulary.h"

namespace peft::text {
namespace {

/// Buffers of one call, kept between the calls of a thread.
struct Scratch {
  std::vector<Piece> raw, normalized;
  Storage storage;
  std::vector<std::string_view> words;
  std::vector<std::size_t> ends;
};

/// Where the ids of a text go, and their spans where they are asked for.
struct Output {
  std::vector<int32_t>& ids;
  SpanWriter* spans;
};

/// An added token as decode() writes it. As in the reference, that is the form it is looked for as, and one whose form is not the
/// content of a special token is not skipped.
struct DecodedToken {
  std::string_view text;
  bool special;
};

class Pipeline : public Tokenizer {
 public:
  explicit Pipeline(TokenizerParts parts) : parts_(std::move(parts)), size_(parts_.model->vocabulary().size()) {
    const int64_t known = size_;
    for (const AddedToken& token : parts_.added->tokens()) {
      size_ = std::max(size_, int64_t{token.id} + 1);
      if (token.id >= known) added_ids_.insert(token.content, token.id);
    }
    added_tokens_.resize(static_cast<std::size_t>(size_ - known));
    std::unordered_set<std::string_view> special;
    for (const AddedToken& token : parts_.added->tokens()) {
      if (token.id >= known) added_tokens_[static_cast<std::size_t>(token.id - known)] = token.content;
      if (token.special) special.insert(token.content);
    }
    for (std::size_t k = 0; k < parts_.added->tokens().size(); ++k) {
      const std::string_view text = parts_.added->decoded(k);
      decoded_.insert_or_assign(parts_.added->tokens()[k].id, DecodedToken{text, special.contains(text)});
    }
  }

  void encode_content(std::string_view text, std::vector<int32_t>& ids) const override {
    encode_text(text, {ids, nullptr});
  }

  Encoding encode(std::string_view text, std::optional<std::string_view> text_pair,
                  const EncodeOptions& options) const override {
    Encoding out;
    std::vector<int32_t>& content = out.types;  // borrowed: the types are written last
    std::vector<Span> spans;
    encode_part(text, options.offsets, content, spans);
    const auto first = static_cast<int64_t>(content.size());
    if (text_pair) encode_part(*text_pair, options.offsets, content, spans);
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
        if (options.offsets) out.offsets.resize(out.ids.size(), Span{0, 0});
      } else {
        const bool is_first = piece.kind == TemplatePiece::Kind::first_text;
        const int64_t count = is_first ? kept.first : kept.second;
        const int64_t lost = (is_first ? first : second) - count;
        const int64_t start = (is_first ? 0 : first) + (parts_.truncate_left ? lost : 0);
        out.ids.insert(out.ids.end(), both.begin() + start, both.begin() + start + count);
        if (options.offsets)
          out.offsets.insert(out.offsets.end(), spans.begin() + start, spans.begin() + start + count);
      }
      out.types.resize(out.ids.size(), piece.type);
    }
    return out;
  }

  std::string decode(std::span<const int32_t> ids, const DecodeOptions& options) const override {
    std::vector<std::string> tokens;
    for (const int32_t id : ids) {
      if (id < 0 || id >= size_) continue;
      const auto added = decoded_.find(id);
      if (added == decoded_.end()) {
        tokens.emplace_back(id_to_token(id));
      } else if (!options.skip_special_tokens || !added->second.special) {
        tokens.emplace_back(added->second.text);
      }
    }
    std::string text;
    if (parts_.decoder != nullptr) {
      parts_.decoder->decode(tokens);
      for (const std::string& piece : tokens) text += piece;
    } else {
      text = fmt::format("{}", fmt::join(tokens, " "));
    }
    if (options.clean_up_tokenization_spaces.value_or(parts_.clean_up_spaces)) clean_up_tokenization_spaces(text);
    return text;
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
  void encode_part(std::string_view text, bool offsets, std::vector<int32_t>& ids, std::vector<Span>& spans) const {
    if (!offsets) return encode_text(text, {ids, nullptr});
    SpanWriter writer(text, parts_.post_processor, spans);
    encode_text(text, {ids, &writer});
  }

  void encode_text(std::string_view text, Output out) const {
    if (const auto bad = find_invalid_utf8(text)) throw DataError(describe_invalid_utf8(text, *bad));
    thread_local Scratch scratch;
    parts_.added->raw().split(text, scratch.raw);
    for (const Piece& piece : scratch.raw) {
      scratch.storage.reset(text);
      if (piece.id != Piece::kText) {
        put_added(piece, scratch.storage, out);
      } else {
        encode_between(piece.text, scratch, out);
      }
    }
  }

  void encode_between(std::string_view text, Scratch& scratch, Output out) const {
    if (parts_.normalizer != nullptr) {
      Storage::Rewritten& normal = scratch.storage.add();
      parts_.normalizer->normalize(text, normal.text, out.spans != nullptr ? &normal.sources : nullptr);
      if (out.spans != nullptr) scratch.storage.trace(text, normal.sources);
      text = normal.text;
    }
    if (parts_.added->normalized().empty()) return encode_words(text, scratch, out);
    parts_.added->normalized().split(text, scratch.normalized);
    for (const Piece& piece : scratch.normalized) {
      if (piece.id != Piece::kText) {
        put_added(piece, scratch.storage, out);
      } else {
        encode_words(piece.text, scratch, out);
      }
    }
  }

  void encode_words(std::string_view text, Scratch& scratch, Output out) const {
    parts_.pre_tokenizer->split(text, scratch.storage, scratch.words);
    if (out.spans == nullptr) {
      for (const std::string_view word : scratch.words) parts_.model->tokenize(word, out.ids);
      return;
    }
    for (const std::string_view word : scratch.words) {
      scratch.ends.clear();
      std::size_t next = out.ids.size();
      parts_.model->tokenize(word, out.ids, &scratch.ends);
      std::size_t start = 0;
      for (const std::size_t end : scratch.ends) {
        out.spans->add(scratch.storage.source(word.substr(start, end - start)), id_to_token(out.ids[next++]));
        start = end;
      }
    }
  }

  void put_added(const Piece& piece, const Storage& storage, Output out) const {
    out.ids.push_back(piece.id);
    if (out.spans != nullptr) out.spans->add(storage.source(piece.text), piece.text);
  }

  TokenizerParts parts_;
  int64_t size_;
  TokenTable added_ids_;                   ///< of tokens that the model does not know
  std::vector<std::string> added_tokens_;  ///< by id - vocabulary size
  std::unordered_map<int32_t, DecodedToken> decoded_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_pipeline(TokenizerParts parts) { return std::make_unique<Pipeline>(std::move(parts)); }

}  // namespace peft::text
