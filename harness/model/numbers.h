// What our operators know of numbers: float32, and bfloat16 as its upper half.

#pragma once

#include <bit>
#include <cstdint>

inline float wide_of(float number) { return number; }
inline float wide_of(uint16_t number) { return std::bit_cast<float>(uint32_t(number) << 16); }

template <class Number>
Number narrow_to(float number);

template <>
inline float narrow_to<float>(float number) { return number; }

template <>
inline uint16_t narrow_to<uint16_t>(float number) {
  if (number != number) return 0x7fc0;
  const uint32_t bits = std::bit_cast<uint32_t>(number);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;  // to nearest, ties to even
}
