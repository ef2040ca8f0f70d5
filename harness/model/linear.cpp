// A linear layer for inference on CPUs with AVX-512: x @ weight.T + bias, for any number of rows.
//
// With one row the time is that of reading the weight, so the weight lies in the order in which it
// is read: panels of 32 outputs, and within a panel one step after the other. A step is four bytes
// for every output: one input in float32, two in bfloat16. Each thread walks through panels of its
// own from front to back. Panels are also what a product of many rows wants: a tile of 12 rows and
// 32 outputs stays in registers, and a step is read once for all of its rows.
//
// Only PyTorch's stable C++ interface is used: it compiles in seconds and outlives a version.

#include <immintrin.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "numbers.h"

namespace {

using torch::stable::Tensor;

constexpr int64_t kLanes = 16;          // sums in a register
constexpr int64_t kPanel = 2 * kLanes;  // outputs that are computed together
constexpr int64_t kStepBytes = 4;       // of each output's weights, and of each row's inputs
constexpr int kRows = 12;               // of a tile: 24 sums, 2 weights and 1 input in registers
constexpr int64_t kSteps = 256;         // 32 KiB of a panel: they stay in the first cache
constexpr int64_t kBlock = 20 * kRows;  // rows whose sums are kept from one block of steps to the next
constexpr int64_t kAhead = 2048;        // bytes between what is read and what is fetched
constexpr int64_t kGrain = 32 * 1024;   // bytes of weight that make it worth waking a thread

struct Float32 {
  using Number = float;
  static constexpr int64_t kInputs = 1;  // in a step
  static __m512 add(__m512 sum, __m512i weights, int32_t inputs) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(weights), _mm512_set1_ps(std::bit_cast<float>(inputs)), sum);
  }
};

struct BFloat16 {
  using Number = uint16_t;
  static constexpr int64_t kInputs = 2;
  static __m512 add(__m512 sum, __m512i weights, int32_t inputs) {
    return _mm512_dpbf16_ps(sum, (__m512bh)weights, (__m512bh)_mm512_set1_epi32(inputs));
  }
};

int32_t load(const char* at) {
  int32_t inputs;
  std::memcpy(&inputs, at, sizeof inputs);
  return inputs;
}

// Adds some steps of a panel to the sums [kCount][kPanel] of a tile's rows, `stride` bytes apart.
template <class Kind, int kCount>
void tile(const char* x, int64_t stride, const char* panel, int64_t steps, float* sums, bool first) {
  // Additions to one sum wait for each other: with few rows, steps are added to sums in turn.
  constexpr int kTurns = kCount == 1 ? 4 : kCount <= 3 ? 2 : 1;
  constexpr int64_t kStep = kPanel * kStepBytes;
  __m512 sum[kTurns][kCount][2];
  for (int t = 0; t < kTurns; ++t)
    for (int r = 0; r < kCount; ++r)
      for (int v = 0; v < 2; ++v)
        sum[t][r][v] = first || t ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + r * kPanel + v * kLanes);
  int64_t s = 0;
  for (; s + kTurns <= steps; s += kTurns) {
#pragma GCC unroll 4
    for (int t = 0; t < kTurns; ++t) {
      const char* at = panel + (s + t) * kStep;
      if constexpr (kCount < kRows) {
        _mm_prefetch(at + kAhead, _MM_HINT_T0);
        _mm_prefetch(at + kAhead + kStep / 2, _MM_HINT_T0);
      }
      const __m512i low = _mm512_loadu_si512(at), high = _mm512_loadu_si512(at + kStep / 2);
#pragma GCC unroll 12
      for (int r = 0; r < kCount; ++r) {
        const int32_t inputs = load(x + r * stride + (s + t) * kStepBytes);
        sum[t][r][0] = Kind::add(sum[t][r][0], low, inputs);
        sum[t][r][1] = Kind::add(sum[t][r][1], high, inputs);
      }
    }
  }
  for (; s < steps; ++s) {
    const char* at = panel + s * kStep;
    const __m512i low = _mm512_loadu_si512(at), high = _mm512_loadu_si512(at + kStep / 2);
#pragma GCC unroll 12
    for (int r = 0; r < kCount; ++r) {
      const int32_t inputs = load(x + r * stride + s * kStepBytes);
      sum[0][r][0] = Kind::add(sum[0][r][0], low, inputs);
      sum[0][r][1] = Kind::add(sum[0][r][1], high, inputs);
    }
  }
  for (int r = 0; r < kCount; ++r)
    for (int v = 0; v < 2; ++v) {
      __m512 all = sum[0][r][v];
      for (int t = 1; t < kTurns; ++t) all = _mm512_add_ps(all, sum[t][r][v]);
      _mm512_storeu_ps(sums + r * kPanel + v * kLanes, all);
    }
}

template <class Kind>
void tile_of(int64_t rows, const char* x, int64_t stride, const char* panel, int64_t steps, float* sums, bool first) {
  static_assert(kRows == 12);
  switch (rows) {
    case 1: return tile<Kind, 1>(x, stride, panel, steps, sums, first);
    case 2: return tile<Kind, 2>(x, stride, panel, steps, sums, first);
    case 3: return tile<Kind, 3>(x, stride, panel, steps, sums, first);
    case 4: return tile<Kind, 4>(x, stride, panel, steps, sums, first);
    case 5: return tile<Kind, 5>(x, stride, panel, steps, sums, first);
    case 6: return tile<Kind, 6>(x, stride, panel, steps, sums, first);
    case 7: return tile<Kind, 7>(x, stride, panel, steps, sums, first);
    case 8: return tile<Kind, 8>(x, stride, panel, steps, sums, first);
    case 9: return tile<Kind, 9>(x, stride, panel, steps, sums, first);
    case 10: return tile<Kind, 10>(x, stride, panel, steps, sums, first);
    case 11: return tile<Kind, 11>(x, stride, panel, steps, sums, first);
    default: return tile<Kind, 12>(x, stride, panel, steps, sums, first);
  }
}

// Adds all steps of one panel to the sums of up to kBlock rows.
template <class Kind>
void sum_panel(const char* x, int64_t stride, int64_t rows, const char* panel, int64_t steps, float* sums) {
  const int64_t tiles = (rows + kRows - 1) / kRows;
  const int64_t height = (rows + tiles - 1) / tiles;  // alike, rather than a last one of one row
  const int64_t block = tiles == 1 ? steps : kSteps;
  for (int64_t s = 0; s < steps; s += block)
    for (int64_t r = 0; r < rows; r += height)
      tile_of<Kind>(std::min(height, rows - r), x + r * stride + s * kStepBytes, stride,
                    panel + s * kPanel * kStepBytes, std::min(block, steps - s), sums + r * kPanel, s == 0);
}

template <class Kind>
void multiply(const Tensor& x, int64_t rows, int64_t inputs, const Tensor& weight, const Tensor* bias,
              int64_t outputs, const Tensor& out) {
  using Number = typename Kind::Number;
  const int64_t panels = weight.size(0), steps = weight.size(1);
  const auto* weights = static_cast<const char*>(weight.const_data_ptr());
  const auto* offset = bias ? static_cast<const Number*>(bias->const_data_ptr()) : nullptr;
  const auto* data = static_cast<const char*>(x.const_data_ptr());
  auto* result = static_cast<Number*>(out.mutable_data_ptr());
  const int64_t stride = steps * kStepBytes, panel_bytes = steps * kPanel * kStepBytes;
  std::vector<Number> padded;  // an odd number of inputs leaves a last step half empty
  if (inputs % Kind::kInputs) {
    padded.assign(rows * steps * Kind::kInputs, 0);
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(padded.data() + r * steps * Kind::kInputs, data + r * inputs * sizeof(Number), inputs * sizeof(Number));
    data = reinterpret_cast<const char*>(padded.data());
  }
  const int64_t grain = std::max<int64_t>(1, kGrain / panel_bytes);
  torch::stable::parallel_for(0, panels, grain, [&](int64_t begin, int64_t end) {
    alignas(64) float sums[kBlock * kPanel];
    for (int64_t r = 0; r < rows; r += kBlock) {
      const int64_t count = std::min(kBlock, rows - r);
      for (int64_t p = begin; p < end; ++p) {
        sum_panel<Kind>(data + r * stride, stride, count, weights + p * panel_bytes, steps, sums);
        const int64_t first = p * kPanel, width = std::min(kPanel, outputs - first);
        for (int64_t i = 0; i < count; ++i)
          for (int64_t o = 0; o < width; ++o) {
            const float sum = sums[i * kPanel + o];
            result[(r + i) * outputs + first + o] =
                narrow_to<Number>(offset ? sum + wide_of(offset[first + o]) : sum);
          }
      }
    }
  });
}

// x [..., inputs], weight [panels, steps, step] as `pack` in native.py lays it out, bias [outputs].
Tensor linear(const Tensor& given, const Tensor& weight, std::optional<Tensor> bias, int64_t outputs) {
  const Tensor x = given.is_contiguous() ? given : torch::stable::contiguous(given);
  const auto shape = x.sizes();
  STD_TORCH_CHECK(weight.is_contiguous(), "the weight is not packed");
  const int64_t inputs = x.size(-1), rows = x.numel() / inputs;
  std::vector<int64_t> sizes(shape.begin(), shape.end());
  sizes.back() = outputs;
  const Tensor out = torch::stable::new_empty(x, sizes);
  const Tensor* offset = bias ? &*bias : nullptr;
  if (x.scalar_type() == torch::headeronly::ScalarType::Float) {
    STD_TORCH_CHECK(weight.size(1) == inputs, "the weight is packed for another number of inputs");
    multiply<Float32>(x, rows, inputs, weight, offset, outputs, out);
  } else {
    STD_TORCH_CHECK(weight.size(1) == (inputs + 1) / 2, "the weight is packed for another number of inputs");
    multiply<BFloat16>(x, rows, inputs, weight, offset, outputs, out);
  }
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY(inference_harness, library) {
  library.def("linear(Tensor x, Tensor weight, Tensor? bias, int outputs) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(inference_harness, CPU, library) {
  library.impl("linear", TORCH_BOX(&linear));
}
