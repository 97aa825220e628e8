/* SPDX-License-Identifier: MIT */
/*
 * hash_find.h - the usual find in a hash index, short enough to be inlined into hf_find
 *
 * A find among a million names waits for two lines of memory, the bucket's and the entry's. The
 * processor goes on meanwhile, but sees only some 500 instructions ahead, and what a find costs is how
 * many of the next finds' buckets lie among these. So the usual find is as short as can be: it looks at
 * the first word of the bucket that has the name's tag, and leaves all else to hash.c: further words,
 * chains, what to say of damage.
 *
 * On damage. Each offset is compared with the segment's end before it is followed, and no more: that an
 * entry is the right one is proved by its name and by the header behind that, which the caller looks at.
 * That a name isn't there has no such proof, so what led to the bucket is looked at once more before that
 * is said.
 */
#ifndef HF_INDEX_HASH_FIND_H
#define HF_INDEX_HASH_FIND_H

#include "index.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define HF__HASH_RARELY(condition) __builtin_expect(!!(condition), 0)

/* The usual length of a name, that of hf__hash_9_to_16. */
static inline bool hf__hash_is_short(size_t size_bytes)
{
    return size_bytes - 9 < 8;
}

/* The number of the highest bit. bsr leaves its target alone if n is 0, so it waits for what was in
 * there before. If that is what the last find has loaded, finds come one by one, three times as long; so
 * the target is n itself. */
static inline uint64_t hf__hash_log(uint64_t n)
{
    assert(n > 0);
#if defined(__x86_64__) && defined(__GNUC__)
    __asm__("bsrq %0, %0" : "+r"(n) : : "cc");
    return n;
#else
    return 63u ^ (unsigned)__builtin_clzll(n);
#endif
}

/* Of a tag, the 16 bits that stand at the top of the word. */
static inline uint16_t hf__hash_top_of_tag(uint64_t hash, uint64_t level)
{
    return (uint16_t)(hash >> (level / 8 * 8 + 4));
}

/* A bit for each word that has these 16 of the tag's 20 bits, HF__HASH_MATCH_STEP apart; the name
 * decides, so the others needn't be looked at. Without branches: nobody could guess which word it is, and
 * a wrong guess would hold up all that the processor has begun meanwhile. An empty word has tag 0. */
#ifdef __SSE2__
#define HF__HASH_MATCH_STEP 2u
/* The upper halves of four words. Nothing is computed: it says which lanes are taken. */
static inline __m128i hf__hash_upper_halves(const __m128i *pair)
{
    return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(_mm_load_si128(pair)),
                                           _mm_castsi128_ps(_mm_load_si128(pair + 1)), 0xdd));
}

/* The bucket is aligned to 16 bytes at least. */
static inline unsigned hf__hash_words_tagged(const struct hf__hash_bucket *bucket, uint16_t top)
{
    _Static_assert(HF__HASH_BUCKET_WORDS == 7, "the eighth is the chain");
    const __m128i *pair = (const __m128i *)bucket;
    /* The 16 bits at the top of each word, that is of every second lane. */
    const __m128i wanted = _mm_set1_epi16((short)top);
    const __m128i same = _mm_packs_epi16(_mm_cmpeq_epi16(hf__hash_upper_halves(pair), wanted),
                                         _mm_cmpeq_epi16(hf__hash_upper_halves(pair + 2), wanted));
    return (unsigned)_mm_movemask_epi8(same) & 0x2aaau;
}
#else
#define HF__HASH_MATCH_STEP 1u
static inline unsigned hf__hash_words_tagged(const struct hf__hash_bucket *bucket, uint16_t top)
{
    unsigned tagged = 0;
    for (unsigned i = 0; i < HF__HASH_BUCKET_WORDS; i++)
        tagged |= (unsigned)(bucket->word[i] >> 48 == top) << i;
    return tagged;
}
#endif

/* The entry in the first of the words that words_tagged has found: there is one. */
static inline hf_ref hf__hash_first_of(const struct hf__hash_bucket *bucket, unsigned tagged)
{
    return bucket->word[(unsigned)__builtin_ctz(tagged) / HF__HASH_MATCH_STEP] & HF__HASH_REF_BITS;
}

enum hf__hash_answer { HF__HASH_TAGGED, HF__HASH_MISSING, HF__HASH_UNSETTLED };

/* From an entry that was found on so many bytes are in the segment: node, a name of 16 bytes, the header
 * of its object, and more. */
#define HF__HASH_BYTES_BEHIND UINT64_C(528)

/*
 * hf__hash_first_tagged - the first entry whose tag is that of this hash
 *
 * TAGGED: *out may be it; neither its name nor anything else of it was looked at. MISSING: the name isn't
 * in the index. UNSETTLED: it takes a closer look, that of hf__index_hash.find.
 */
__attribute__((always_inline)) static inline enum hf__hash_answer
hf__hash_first_tagged(const struct hf__segment *seg, uint64_t root_at, uint64_t hash, hf_ref *out)
{
    _Static_assert(sizeof(struct hf__index_array) + 63 * sizeof(uint64_t) <= HF__HASH_BYTES_BEHIND,
                   "a directory's slot of any bucket is in the segment");
    const struct hf__index_root *root = (const struct hf__index_root *)hf__at(seg, root_at);
    const uint64_t buckets = root->buckets;
    if (HF__HASH_RARELY(buckets - HF__HASH_BUCKETS_MIN >
                        HF__HASH_BUCKETS_MAX - HF__HASH_BUCKETS_MIN))
        return HF__HASH_UNSETTLED;
    if (HF__HASH_RARELY(seg->size_bytes < HF__HASH_BYTES_BEHIND))
        return HF__HASH_UNSETTLED;
    /* Neither directory nor bucket nor entry lies beyond it. */
    const uint64_t last = seg->size_bytes - HF__HASH_BYTES_BEHIND, directory = root->root;
    if (HF__HASH_RARELY(directory > last))
        return HF__HASH_UNSETTLED;

    /* level_for, bucket_of and place_of in fewer steps. */
    const uint64_t log = hf__hash_log(buckets), above = UINT64_MAX << log;
    const uint64_t level = log + ((hash | above) < (buckets | above));
    const uint64_t number = hash & ~(UINT64_MAX << level);
    const uint64_t number_log = hf__hash_log(number | HF__HASH_BUCKETS_MIN);
    const uint64_t slot = number_log - 1 - (number < HF__HASH_BUCKETS_MIN);
    hf_ref array;
    memcpy(&array,
           (const char *)hf__at(seg, directory) + sizeof(struct hf__index_array) +
               slot * sizeof(uint64_t),
           sizeof array);
    const uint64_t place = HF__HASH_FIRST_BUCKET(array) +
                           (number & ~(UINT64_C(1) << number_log)) * sizeof(struct hf__hash_bucket);
    if (HF__HASH_RARELY(array == 0) || HF__HASH_RARELY(place > last))
        return HF__HASH_UNSETTLED;

    const struct hf__hash_bucket *bucket = (const struct hf__hash_bucket *)hf__at(seg, place);
    const unsigned tagged = hf__hash_words_tagged(bucket, hf__hash_top_of_tag(hash, level));
    if (tagged == 0)
        return bucket->chain == 0 && directory % HF__INDEX_ENTRY_ALIGN == 0 ? HF__HASH_MISSING
                                                                            : HF__HASH_UNSETTLED;
    *out = hf__hash_first_of(bucket, tagged);
    return HF__HASH_RARELY(*out > last) ? HF__HASH_UNSETTLED : HF__HASH_TAGGED;
}

#endif
