// Named dropout masks as bits. Included by the files of one instruction set behind vector.h, inside their namespace.

typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));
typedef uint16_t Draws __attribute__((vector_size(kVectorBytes)));
constexpr int kWords = kVectorBytes / 4;

/// Blocks of Philox4x32-10 [Salmon et al. 2011] that are computed together.
constexpr int kMaskBlocks = 16;

/// Both halves of the products of 32-bit numbers.
PEFT_INLINE void multiply(Words x, uint32_t by, Words& high, Words& low) {
#if defined(__AVX512F__)
  const __m512i v = reinterpret_cast<__m512i>(x), m = _mm512_set1_epi64(by), even = _mm512_mul_epu32(v, m),
                odd = _mm512_mul_epu32(_mm512_srli_epi64(v, 32), m);
  high = reinterpret_cast<Words>(_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd));
  low = reinterpret_cast<Words>(_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32)));
#elif defined(__AVX2__)
  const __m256i v = reinterpret_cast<__m256i>(x), m = _mm256_set1_epi64x(by), even = _mm256_mul_epu32(v, m),
                odd = _mm256_mul_epu32(_mm256_srli_epi64(v, 32), m);
  high = reinterpret_cast<Words>(_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA));
  low = reinterpret_cast<Words>(_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA));
#else
  for (int j = 0; j < kWords; ++j) {
    const uint64_t product = uint64_t{by} * x[j];
    high[j] = static_cast<uint32_t>(product >> 32);
    low[j] = static_cast<uint32_t>(product);
  }
#endif
}

/// A bit for each of the eight draws of 16 bits of a block: 1 where it is at or above the limit. counter(block, chunk, position) gives two
/// words of the counters of blocks block, block + 1, ...; the others are the same for all.     [count], rounded up to whole kMaskBlocks
template <class Counter>
PEFT_INLINE void mask_bits(uint8_t* bits, int64_t count, uint32_t ordinal, const MaskNames& names,
                           const Counter& counter) {
  const Draws limit = Draws{} + static_cast<uint16_t>(names.limit);
  Words even_half{};  // bits 0 and 1 for the lower and the upper draw of a word
  for (int j = 0; j < kWords; ++j) even_half[j] = 0x00020001U;
  Draws bit;
  memcpy(&bit, &even_half, sizeof(bit));
  for (int64_t first = 0; first < count; first += kWords) {
    Words c0, c1, c2 = Words{} + ordinal, c3 = Words{} + names.step;
    counter(first, c0, c1);
    uint32_t k0 = names.key[0], k1 = names.key[1];
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      Words a_high, a_low, b_high, b_low;
      multiply(c0, 0xD2511F53U, a_high, a_low);
      multiply(c2, 0xCD9E8D57U, b_high, b_low);
      c0 = b_high ^ c1 ^ k0;
      c1 = b_low;
      c2 = a_high ^ c3 ^ k1;
      c3 = a_low;
      k0 += 0x9E3779B9U;
      k1 += 0xBB67AE85U;
    }
    const auto kept = [&](const Words& word) {
      Draws draws;
      memcpy(&draws, &word, sizeof(draws));
      return reinterpret_cast<Draws>(draws >= limit) & bit;
    };
    const Draws halves = kept(c0) | kept(c1) << 2 | kept(c2) << 4 | kept(c3) << 6;
    Words whole;
    memcpy(&whole, &halves, sizeof(whole));
    whole |= whole >> 16;
    typedef uint8_t Bytes __attribute__((vector_size(kWords)));
    const Bytes bytes = __builtin_convertvector(whole, Bytes);
    memcpy(bits + first, &bytes, sizeof(bytes));
  }
}

/// x times a factor where the bit of its column is set, else 0.
template <class T>
PEFT_INLINE Vector<T> kept_of(Vector<T> x, T factor, const uint8_t* bits, int64_t c) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    uint16_t mask;
    memcpy(&mask, bits + c / 8, sizeof(mask));
    return _mm512_maskz_mul_ps(mask, x, _mm512_set1_ps(factor));
  } else {
    return _mm512_maskz_mul_pd(bits[c / 8], x, _mm512_set1_pd(factor));
  }
#else
  typename Lanes<T>::Integers lane;
#pragma GCC unroll 16
  for (int i = 0; i < Lanes<T>::kCount; ++i) lane[i] = typename Lanes<T>::Integer(1) << i;
  const auto word = static_cast<typename Lanes<T>::Integer>(bits[c / 8] >> (c % 8));
  return (lane & word) != 0 ? x * factor : Vector<T>{};
#endif
}
