/* SPDX-License-Identifier: MIT */
/* hash.h - xxhash as this library uses it: XXH3-64 and XXH3-128, keyed by a salt */
#ifndef HF_BASE_HASH_H
#define HF_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

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

static inline void hf__hash128(const void *data, size_t size_bytes, uint64_t salt, uint64_t out[2])
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(data, size_bytes, salt);
    out[0] = hash.low64;
    out[1] = hash.high64;
}

#endif
