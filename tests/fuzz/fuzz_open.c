/* SPDX-License-Identifier: MIT */
/*
 * fuzz_open.c - hf_check_file, hf_repair_file and hf_open on bytes that a fuzzer makes
 *
 * The input's first byte chooses what the rest means:
 *   bit 0      0: patches to one of eight small stores (bits 4..6 say which); 1: the file itself
 *   bit 1      the header slots get right checksums
 *   bit 2      the block headers that were patched get right checksums
 *   bit 3      the file is repaired first
 * Patches are {u24 place, u8 length and mode, bytes}; places count from the header slots or, with
 * the mode's top bit, from the segment, where everything of interest is.
 *
 * With libFuzzer (-DHF_FUZZ) LLVMFuzzerTestOneInput is all; without it main runs some thousand
 * inputs of its own, each in the same process: what crashes, crashes the test. The number of the
 * input at which it was then stands in the last line printed.
 */
#include "tests/support/small_store.h"

#include <sys/types.h>

#define STORES         8u
#define FILE_BYTES_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct small_store stores[STORES];
static char path[480];
static unsigned char *bytes;

/* The eight stores, once. */
static bool prepare(void)
{
    static char directory[400];
    if (bytes != NULL)
        return true;
    if (!campaign_directory("/dev/shm", directory, sizeof directory) &&
        !campaign_directory(NULL, directory, sizeof directory))
        return false;
    snprintf(path, sizeof path, "%s/fuzz.hf", directory);
    for (unsigned i = 0; i < STORES; i++) {
        uint32_t allocator = i % 2 == 0 ? HF_ALLOC_SLAB : 1 + i / 2 % 2;
        if (!small_store_make(&stores[i], path, (i ^ i >> 1 ^ i >> 2) & 1, allocator, i / 2, i) ||
            stores[i].image_bytes > FILE_BYTES_MAX)
            return false;
    }
    bytes = must_alloc(FILE_BYTES_MAX);
    return true;
}

static void tidy(void)
{
    char *slash = strrchr(path, '/');
    unlink(path);
    if (slash != NULL) {
        *slash = '\0';
        rmdir(path);
    }
    for (unsigned i = 0; i < STORES; i++)
        small_store_free(&stores[i]);
    free(bytes);
    bytes = NULL;
}

/* Does the patch lie in the header of a block? Then it may be sealed. */
static void seal_block(const struct small_store *s, uint64_t at)
{
    if (at < HF__SEGMENT_OFFSET || at >= s->image_bytes || s->regions[at] != REGION_BLOCK_HEADER)
        return;
    uint64_t from = at & ~UINT64_C(15);
    struct hf__block_header header;
    memcpy(&header, bytes + from, sizeof header);
    small_block_seal(&header, s->salt, from - HF__SEGMENT_OFFSET);
    memcpy(bytes + from, &header, sizeof header);
}

static size_t apply_patches(const struct small_store *s, const uint8_t *data, size_t size,
                            bool seal)
{
    size_t file_bytes = s->image_bytes;
    memcpy(bytes, s->image, s->image_bytes);
    while (size >= 5) {
        uint64_t at = (uint64_t)data[0] | (uint64_t)data[1] << 8 | (uint64_t)data[2] << 16;
        size_t length = data[3] & 31u, mode = data[3] >> 5;
        at %= s->image_bytes;
        if ((mode & 4) != 0)
            at = HF__SEGMENT_OFFSET + at % (s->image_bytes - HF__SEGMENT_OFFSET);
        data += 4;
        size -= 4;
        if (mode == 3) { /* the file ends here */
            file_bytes = at;
            continue;
        }
        if (length > size)
            length = size;
        for (size_t i = 0; i < length && at + i < s->image_bytes; i++)
            bytes[at + i] = (mode & 1) != 0 ? (unsigned char)(bytes[at + i] ^ data[i]) : data[i];
        if (seal)
            seal_block(s, at);
        data += length;
        size -= length;
    }
    return file_bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome out;
    if (size < 1 || size > FILE_BYTES_MAX)
        return 0;
    if (!prepare()) {
        fprintf(stderr, "making the small stores: %s\n", hf_last_error()->message);
        abort();
    }
    uint8_t control = data[0];
    const struct small_store *s = &stores[control >> 4 & 7];
    size_t file_bytes = size - 1;
    if ((control & 1) == 0)
        file_bytes = apply_patches(s, data + 1, size - 1, (control & 4) != 0);
    else
        memcpy(bytes, data + 1, size - 1);
    if ((control & 2) != 0 && file_bytes >= HF__SLOT_BYTES)
        small_slot_seal(bytes);
    if ((control & 2) != 0 && file_bytes >= HF__SLOT_B_OFFSET + HF__SLOT_BYTES)
        small_slot_seal(bytes + HF__SLOT_B_OFFSET);

    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, file_bytes) != (ssize_t)file_bytes)
        abort();
    close(fd);
    if ((control & 8) != 0)
        hf_repair_file(path, NULL, NULL);
    small_store_exercise(s, path, NULL, mix64(size) ^ control, &out);
    if (out.walk_looped || out.code_unknown) {
        fprintf(stderr, "an iteration without end, or an unknown code\n");
        abort();
    }
    unlink(path);
    return 0;
}

#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
int main(void)
{
    struct campaign c;
    static uint8_t data[4096];
    campaign_start(&c, "fuzz_open");
    uint64_t inputs = campaign_count(&c, 6000);
    for (uint64_t i = 0; i < inputs; i++) {
        struct rng rng = {mix64(c.seed) ^ mix64(i)};
        size_t size = 1 + (size_t)rng_below(&rng, rng_percent(&rng, 80) ? 60 : sizeof data - 1);
        for (size_t k = 0; k < size; k++)
            data[k] = (uint8_t)rng_next(&rng);
        if (rng_percent(&rng, 90))
            data[0] &= 0xFE; /* mostly patches: bytes of nothing are refused at the first look */
        if (i % 1000 == 0)
            printf("input %llu of %llu\n", (unsigned long long)i, (unsigned long long)inputs);
        campaign_expect(&c, LLVMFuzzerTestOneInput(data, size) == 0, "input %llu",
                        (unsigned long long)i);
    }
    tidy();
    return campaign_end(&c);
}
#else
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    atexit(tidy);
    return prepare() ? 0 : 1;
}
#endif
