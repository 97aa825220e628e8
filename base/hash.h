/* SPDX-License-Identifier: MIT */
/* hash.h - xxhash as this library uses it: XXH3-64 and XXH3-128, keyed by a salt */
#ifndef HF_BASE_HASH_H
#define HF_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wconversion"
#endif
#if defined(__GNUC__)
#pragma GCC system_header
#endif
#include <xxhash.h>

static inline uint64_t hf__hash(const void *data, size_t size_bytes, uint64_t salt)
{
    return XXH3_64bits_withSeed(data, size_bytes, salt);
}

/* The same of 9 to 16 bytes, as most names have, by the same formula: short enough to be inlined where
 * a call's own instructions count. */
static inline uint64_t hf__hash_9_to_16(const void *data, size_t size_bytes, uint64_t salt)
{
    uint64_t low, high;
    memcpy(&low, data, sizeof low);
    memcpy(&high, (const char *)data + size_bytes - sizeof high, sizeof high);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    low = __builtin_bswap64(low);
    high = __builtin_bswap64(high);
#endif
    /* Differences of two words of XXH3's default secret, those at 24 and 32, at 40 and 48. */
    low ^= UINT64_C(0x6782737bea4239b9) + salt;
    high ^= UINT64_C(0xaf56bc3b0996523a) - salt;
    const unsigned __int128 product = (unsigned __int128)low * high;
    const uint64_t upper = (uint64_t)(product >> 64);
    uint64_t hash = ((uint64_t)product ^ upper) + __builtin_bswap64(low) + (high + size_bytes);
    hash = (hash ^ hash >> 37) * UINT64_C(0x165667919E3779F9);
    return hash ^ hash >> 32;
}

static inline void hf__hash128(const void *data, size_t size_bytes, uint64_t salt, uint64_t out[2])
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(data, size_bytes, salt);
    out[0] = hash.low64;
    out[1] = hash.high64;
}

#endif
