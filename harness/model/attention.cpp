// Attention of one query per head to its row's cache, on CPUs with AVX-512: what a decode step does.
//
// The time is that of reading keys and values once, so the queries that share a key are answered
// together, and positions behind a row's own are never read. A row's positions are cut into chunks
// (flash-decoding, Dao et al. 2023): chunks of all rows and key heads are dealt out to the threads,
// each gives its greatest score, the sum of its weights and the weighted sum of its values, and what
// the chunks of one head gave is put together in the end. Sums are float32 throughout.

#include <immintrin.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "numbers.h"

namespace {

using torch::stable::Tensor;

constexpr int64_t kLanes = 16;          // sums in a register
constexpr int64_t kChunk = 128;         // positions that are looked at together
constexpr int64_t kTile = 4 * kLanes;   // numbers of a value that are summed together
constexpr int64_t kQueries = 4;         // queries whose sums of a tile stay in registers
constexpr int64_t kGrain = 32 * 1024;   // bytes of cache that make it worth waking a thread

struct Float32 {
  using Number = float;
  using Some = __m512;
  static constexpr int64_t kWide = 16;  // numbers in a register
  static Some load(const float* at, int64_t left) {
    return _mm512_maskz_loadu_ps(left >= kWide ? 0xffff : (1u << std::max<int64_t>(left, 0)) - 1, at);
  }
  static __m512 dot(__m512 sum, Some a, Some b) { return _mm512_fmadd_ps(a, b, sum); }
  static void load_tile(const float* at, int64_t left, __m512* parts) {
    for (int i = 0; i < 4; ++i) parts[i] = load(at + i * kLanes, left - i * kLanes);
  }
  static void store_tile(const __m512* sums, float* to) {
    for (int i = 0; i < 4; ++i) _mm512_storeu_ps(to + i * kLanes, sums[i]);
  }
};

struct BFloat16 {
  using Number = uint16_t;
  using Some = __m512i;
  static constexpr int64_t kWide = 32;
  static Some load(const uint16_t* at, int64_t left) {
    const __mmask32 mask = left >= kWide ? ~0u : (1u << std::max<int64_t>(left, 0)) - 1;
    return _mm512_maskz_loadu_epi16(mask, at);
  }
  static __m512 dot(__m512 sum, Some a, Some b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
  // Even numbers, then odd ones: a shift or a mask makes float32 of them, where order would cost more.
  static void load_tile(const uint16_t* at, int64_t left, __m512* parts) {
    for (int i = 0; i < 2; ++i) {
      const __m512i pairs = load(at + i * kWide, left - i * kWide);
      parts[2 * i] = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
      parts[2 * i + 1] = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(0xffff0000)));
    }
  }
  static void store_tile(const __m512* sums, float* to) {
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    for (int i = 0; i < 2; ++i) {
      _mm512_storeu_ps(to + i * kWide, _mm512_permutex2var_ps(sums[2 * i], low, sums[2 * i + 1]));
      _mm512_storeu_ps(to + i * kWide + kLanes, _mm512_permutex2var_ps(sums[2 * i], high, sums[2 * i + 1]));
    }
  }
};

// The 16 registers' own sums, in order: each step halves how many registers there are.
__m512 sums_of(const __m512* all) {
  __m512 by4[4];
  for (int i = 0; i < 4; ++i) {
    const __m512 *a = all + 4 * i, *b = a + 1, *c = a + 2, *d = a + 3;
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(*a, *b), _mm512_unpackhi_ps(*a, *b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(*c, *d), _mm512_unpackhi_ps(*c, *d));
    const __m512d x = _mm512_castps_pd(ab), y = _mm512_castps_pd(cd);
    by4[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  }
  const auto halves = [](__m512 x, __m512 y) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
  };
  return halves(halves(by4[0], by4[1]), halves(by4[2], by4[3]));
}

// e to the power of x, for x up to 0: Cody and Waite's reduction, Taylor's series to the sixth power.
__m512 exp_of(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x);  // in this order, so that NaN stays
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 y = _mm512_set1_ps(1 / 720.0f);
  for (const float c : {1 / 120.0f, 1 / 24.0f, 1 / 6.0f, 0.5f, 1.0f, 1.0f})
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(c));
  return _mm512_scalef_ps(y, n);
}

// One query times the keys of `count` positions, scaled: out [count].
template <class Kind>
void score(const typename Kind::Number* query, const typename Kind::Number* keys, int64_t count, int64_t width,
           float scale, float* out) {
  const int64_t whole = count >= kLanes ? count : 0;
  for (int64_t next = 0; next < whole; next += kLanes) {
    const int64_t s = std::min(next, count - kLanes);  // the last block goes over some once more
    __m512 sum[kLanes];
    for (int j = 0; j < kLanes; ++j) sum[j] = _mm512_setzero_ps();
    for (int64_t d = 0; d < width; d += Kind::kWide) {
      const auto q = Kind::load(query + d, width - d);
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) sum[j] = Kind::dot(sum[j], q, Kind::load(keys + (s + j) * width + d, width - d));
    }
    _mm512_storeu_ps(out + s, _mm512_mul_ps(sums_of(sum), _mm512_set1_ps(scale)));
  }
  for (int64_t s = whole; s < count; ++s) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t d = 0; d < width; d += Kind::kWide)
      sum = Kind::dot(sum, Kind::load(query + d, width - d), Kind::load(keys + s * width + d, width - d));
    out[s] = _mm512_reduce_add_ps(sum) * scale;
  }
}

// Makes weights of scores [count], in place; gives their greatest and the sum of the weights.
void weigh(float* scores, int64_t count, float* greatest, float* total) {
  const float lowest = -std::numeric_limits<float>::infinity();
  std::fill(scores + count, scores + (count + kLanes - 1) / kLanes * kLanes, lowest);
  __m512 most = _mm512_set1_ps(lowest), sum = _mm512_setzero_ps();
  for (int64_t s = 0; s < count; s += kLanes) most = _mm512_max_ps(most, _mm512_loadu_ps(scores + s));
  *greatest = _mm512_reduce_max_ps(most);
  for (int64_t s = 0; s < count; s += kLanes) {
    const __m512 weights = exp_of(_mm512_sub_ps(_mm512_loadu_ps(scores + s), _mm512_set1_ps(*greatest)));
    _mm512_storeu_ps(scores + s, weights);
    sum = _mm512_add_ps(sum, _mm512_maskz_mov_ps(count - s >= kLanes ? 0xffff : (1u << (count - s)) - 1, weights));
  }
  *total = _mm512_reduce_add_ps(sum);
}

// Values of `count` positions, summed by the weights [kCount][kChunk] of each query: out [kCount][padded].
template <class Kind, int kCount>
void sum_values(const float* weights, const typename Kind::Number* values, int64_t count, int64_t width,
                float* out, int64_t padded) {
  for (int64_t d = 0; d < width; d += kTile) {
    __m512 sum[kCount][4];
    for (int q = 0; q < kCount; ++q)
      for (int i = 0; i < 4; ++i) sum[q][i] = _mm512_setzero_ps();
    for (int64_t s = 0; s < count; ++s) {
      __m512 parts[4];
      Kind::load_tile(values + s * width + d, width - d, parts);
      for (int q = 0; q < kCount; ++q) {
        const __m512 weight = _mm512_set1_ps(weights[q * kChunk + s]);
        for (int i = 0; i < 4; ++i) sum[q][i] = _mm512_fmadd_ps(weight, parts[i], sum[q][i]);
      }
    }
    for (int q = 0; q < kCount; ++q) Kind::store_tile(sum[q], out + q * padded + d);
  }
}

// What one chunk gave for one head: two numbers, and sums of values [padded] behind them.
struct Part {
  float* data;
  float& greatest() const { return data[0]; }
  float& total() const { return data[1]; }
  float* sums() const { return data + 2; }
};

template <class Kind>
void look_at_chunk(const typename Kind::Number* queries, int64_t group, const typename Kind::Number* keys,
                   const typename Kind::Number* values, int64_t count, int64_t width, float* parts, int64_t size) {
  static_assert(kQueries == 4);
  const float scale = 1.0f / std::sqrt(float(width));
  alignas(64) float weights[kQueries * kChunk];
  for (int64_t first = 0; first < group; first += kQueries) {
    const int64_t some = std::min(kQueries, group - first);
    for (int64_t q = 0; q < some; ++q) {
      const Part part{parts + (first + q) * size};
      score<Kind>(queries + (first + q) * width, keys, count, width, scale, weights + q * kChunk);
      weigh(weights + q * kChunk, count, &part.greatest(), &part.total());
    }
    float* sums = Part{parts + first * size}.sums();
    switch (some) {
      case 1: sum_values<Kind, 1>(weights, values, count, width, sums, size); break;
      case 2: sum_values<Kind, 2>(weights, values, count, width, sums, size); break;
      case 3: sum_values<Kind, 3>(weights, values, count, width, sums, size); break;
      default: sum_values<Kind, 4>(weights, values, count, width, sums, size);
    }
  }
}

// Puts together what the chunks of one head gave, `apart` floats from one to the next: out [width].
template <class Number>
void join(float* parts, int64_t chunks, int64_t apart, int64_t width, Number* out) {
  float greatest = Part{parts}.greatest(), total = 0;
  for (int64_t c = 1; c < chunks; ++c) greatest = std::max(greatest, Part{parts + c * apart}.greatest());
  float* sums = Part{parts}.sums();
  for (int64_t c = 0; c < chunks; ++c) {
    const Part part{parts + c * apart};
    const float share = std::exp(part.greatest() - greatest);
    total += share * part.total();
    for (int64_t d = 0; d < width; ++d) sums[d] = (c ? sums[d] : 0.0f) + share * part.sums()[d];
  }
  for (int64_t d = 0; d < width; ++d) out[d] = narrow_to<Number>(sums[d] / total);
}

template <class Kind>
void look(const Tensor& queries, const Tensor& slots, const int64_t* positions, int64_t kv_heads, const Tensor& out) {
  using Number = typename Kind::Number;
  const int64_t batch = queries.size(0), heads = queries.size(1), width = queries.size(2), group = heads / kv_heads;
  const int64_t context = slots.size(0) / (batch * 2 * kv_heads);
  const auto* asked = static_cast<const Number*>(queries.const_data_ptr());
  const auto* cache = static_cast<const Number*>(slots.const_data_ptr());
  auto* result = static_cast<Number*>(out.mutable_data_ptr());
  int64_t longest = 0;
  for (int64_t b = 0; b < batch; ++b) {
    STD_TORCH_CHECK(positions[b] >= 0 && positions[b] < context, "a row's position lies outside of its cache");
    longest = std::max(longest, positions[b] + 1);
  }
  const int64_t chunks = (longest + kChunk - 1) / kChunk;
  const int64_t size = 2 + (width + kTile - 1) / kTile * kTile, apart = group * size;
  std::vector<float> parts(batch * kv_heads * chunks * apart);
  const int64_t bytes = 2 * std::min(longest, kChunk) * width * sizeof(Number);
  const int64_t grain = std::max<int64_t>(1, kGrain / bytes);
  torch::stable::parallel_for(0, batch * kv_heads * chunks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t c = i % chunks, k = i / chunks % kv_heads, b = i / chunks / kv_heads, from = c * kChunk;
      const int64_t count = std::min(kChunk, positions[b] + 1 - from);
      if (count <= 0) continue;
      const Number* keys = cache + ((b * 2 * kv_heads + k) * context + from) * width;
      const Number* values = keys + kv_heads * context * width;
      look_at_chunk<Kind>(asked + b * queries.stride(0) + k * group * width, group, keys, values, count, width,
                          parts.data() + i * apart, size);
    }
  });
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < heads; ++h) {
      float* mine = parts.data() + (b * kv_heads + h / group) * chunks * apart + h % group * size;
      join(mine, (positions[b] + kChunk) / kChunk, apart, width, result + (b * heads + h) * width);
    }
}

// queries [B, H, Dh], slots [B·2·K·C, Dh], positions int64 [B]: what each head saw, [B, H, Dh].
// A row's slots are its keys, head after head, and then its values likewise.
Tensor decode_attention(const Tensor& given, const Tensor& slots, const Tensor& positions, int64_t kv_heads) {
  const int64_t batch = given.size(0), heads = given.size(1), width = given.size(2);
  const bool packed = given.stride(2) == 1 && given.stride(1) == width;
  const Tensor queries = packed ? given : torch::stable::contiguous(given);
  STD_TORCH_CHECK(slots.is_contiguous() && slots.size(1) == width, "slots of the cache lie apart");
  STD_TORCH_CHECK(heads % kv_heads == 0, "query heads must share key heads evenly");
  STD_TORCH_CHECK(positions.is_contiguous() && positions.numel() == batch, "one position for each row");
  const Tensor out = torch::stable::new_empty(queries, {batch, heads, width});
  const auto* last = static_cast<const int64_t*>(positions.const_data_ptr());
  if (queries.scalar_type() == torch::headeronly::ScalarType::Float)
    look<Float32>(queries, slots, last, kv_heads, out);
  else
    look<BFloat16>(queries, slots, last, kv_heads, out);
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(inference_harness, library) {
  library.def("decode_attention(Tensor queries, Tensor slots, Tensor positions, int kv_heads) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(inference_harness, CPU, library) {
  library.impl("decode_attention", TORCH_BOX(&decode_attention));
}
