/* SPDX-License-Identifier: MIT */
/*
 * corrupt_archive.c - archives with flipped bits, changed bytes, pieces cut out, doubled or
 * exchanged
 *
 * Whatever was changed, hf_archive_verify and hf_restore refuse it, say so with a code that means
 * it, and leave no file. Of some the header is sealed again, its check made right. Others are taken
 * apart: what is in the blocks is changed, and then frames, checks and digests are made anew around
 * it, as somebody could who means harm. Of those some are accepted; but nothing crashes, and a
 * store that comes of one is looked at without a crash, too.
 */
#include "holdfast.h"

#include "base/hash.h"
#include "store/archive.h"
#include "tests/support/campaign.h"

#include <fcntl.h>
#include <zstd.h>

static struct campaign campaign;
static char directory[400], store_path[480], full_path[480], next_path[480], bad_path[480],
    made_path[480];

struct file {
    unsigned char *bytes;
    size_t size;
};

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, hf_last_error()->message);
    exit(2);
}

static void change(hf_store *store, int from, int to, uint64_t seed)
{
    hf_txn *txn;
    if (hf_begin(store, &txn) != 0)
        fail("hf_begin");
    for (int i = from; i < to; i++) {
        char name[32];
        snprintf(name, sizeof name, "object/%d", i);
        void *p = hf_find_or_construct(txn, name, NULL, 2000, NULL);
        if (p == NULL || (p = hf_edit(txn, p, 2000)) == NULL)
            fail("hf_find_or_construct");
        content_fill(p, 2000, seed + (uint64_t)i);
    }
    if (hf_commit(txn) != 0)
        fail("hf_commit");
}

static void archive(hf_store *store, const char *path, const char *since)
{
    hf_archive_options options = HF_ARCHIVE_OPTIONS_INIT;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    options.since_archive = since;
    if (fd < 0 || hf_archive_write(store, fd, &options, NULL) != 0)
        fail("hf_archive_write");
    close(fd);
}

static struct file load(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) != 0)
        fail("load");
    struct file file = {must_alloc((size_t)st.st_size), (size_t)st.st_size};
    if (read(fd, file.bytes, file.size) != (ssize_t)file.size)
        fail("load");
    close(fd);
    return file;
}

static void save(const char *path, const unsigned char *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        fail("save");
    close(fd);
}

static void make(void)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.size_max_bytes = 16 << 20; /* what a changed header can ask for */
    if (!campaign_directory("/dev/shm", directory, sizeof directory) &&
        !campaign_directory(NULL, directory, sizeof directory))
        fail("a directory");
    snprintf(store_path, sizeof store_path, "%s/a.hf", directory);
    snprintf(full_path, sizeof full_path, "%s/full.hfz", directory);
    snprintf(next_path, sizeof next_path, "%s/next.hfz", directory);
    snprintf(bad_path, sizeof bad_path, "%s/bad.hfz", directory);
    snprintf(made_path, sizeof made_path, "%s/made.hf", directory);
    if (hf_open(store_path, &options, &store) != 0)
        fail("hf_open");
    change(store, 0, 150, 1);
    archive(store, full_path, NULL);
    change(store, 3, 9, 2);
    archive(store, next_path, full_path);
    if (hf_close(store) != 0)
        fail("hf_close");
}

/* A few changes; false if it came out as it was. */
static bool damage(struct rng *rng, const struct file *from, struct file *to)
{
    memcpy(to->bytes, from->bytes, from->size);
    to->size = from->size;
    const uint64_t kind = rng_below(rng, 8);
    const size_t at = (size_t)(rng_percent(rng, 30)   ? rng_below(rng, 400)
                               : rng_percent(rng, 30) ? from->size - 1 - rng_below(rng, 200)
                                                      : rng_below(rng, from->size));
    const size_t length = 1 + (size_t)rng_below(rng, rng_percent(rng, 50) ? 16 : 5000);
    const size_t end = at + length < from->size ? at + length : from->size;
    if (kind <= 3) {
        to->bytes[at] ^= (unsigned char)(1u << rng_below(rng, 8));
    } else if (kind == 4) {
        for (size_t i = at; i < end; i++)
            to->bytes[i] = (unsigned char)rng_next(rng);
    } else if (kind == 5) {
        to->size = at;
    } else if (kind == 6) {
        memmove(to->bytes + at, to->bytes + end, from->size - end);
        to->size -= end - at;
    } else {
        memmove(to->bytes + end, to->bytes + at, from->size - at); /* there is room for twice */
        to->size += end - at;
    }
    return to->size != from->size || memcmp(to->bytes, from->bytes, from->size) != 0;
}

/* Header and trailer get right checks: their fields are met as they are. */
static void seal(struct file *file)
{
    struct hf__archive_header header;
    if (file->size < 8 + sizeof header)
        return;
    memcpy(&header, file->bytes + 8, sizeof header);
    header.constants.check = hf__hash(&header.constants, offsetof(struct hf__constants, check), 0);
    header.check = hf__hash(&header, offsetof(struct hf__archive_header, check), 0);
    memcpy(file->bytes + 8, &header, sizeof header);
}

static bool is_refusal(int code)
{
    return code == HF_EARCHIVE || code == HF_ECORRUPT || code == HF_ETRUNCATED ||
           code == HF_ENEWER || code == HF_EENDIAN || code == HF_EPAGESIZE;
}

static void refuse(uint64_t i, bool increment)
{
    const char *chain[2] = {increment ? full_path : bad_path, bad_path};
    int code = hf_archive_verify(bad_path, NULL, NULL);
    campaign_expect(&campaign, is_refusal(code), "case %llu: verify gives %d",
                    (unsigned long long)i, code);
    code = hf_restore(made_path, chain, increment ? 2 : 1, NULL, NULL);
    campaign_expect(&campaign, is_refusal(code), "case %llu: restore gives %d",
                    (unsigned long long)i, code);
    campaign_expect(&campaign, access(made_path, F_OK) != 0, "case %llu: a file was left",
                    (unsigned long long)i);
    unlink(made_path);
}

/* ---- taken apart and put together ------------------------------------------------------------- */

static void append(struct file *to, const void *bytes, size_t size)
{
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

static void append_skippable(struct file *to, const void *content, uint32_t size)
{
    const struct hf__skippable frame = {HF__ARCHIVE_FRAME, size};
    append(to, &frame, sizeof frame);
    append(to, content, size);
}

/* Random fields become what is random, or an edge. */
static void change_word(struct rng *rng, void *at)
{
    static const uint64_t edges[] = {0, 1, 255, 256, 257, 4096, UINT64_MAX, UINT64_C(1) << 47};
    uint64_t word;
    memcpy(&word, at, sizeof word);
    word = rng_percent(rng, 40)   ? word + 1 - 2 * rng_below(rng, 2)
           : rng_percent(rng, 50) ? edges[rng_below(rng, sizeof edges / sizeof *edges)]
                                  : rng_next(rng) >> rng_below(rng, 64);
    memcpy(at, &word, sizeof word);
}

static void change_block(struct rng *rng, const struct hf__archive_header *header,
                         unsigned char *plain, size_t size, XXH3_state_t *digest, uint64_t *pages)
{
    struct hf__archive_block *block = (void *)plain;
    struct hf__archive_entry *entries = (void *)(block + 1);
    const uint64_t count = block->page_count;
    unsigned char *bytes = (unsigned char *)(entries + count);
    const uint64_t salt = header->constants.salt;
    /* Words of the first page are what a store stands on. */
    for (uint64_t i = rng_below(rng, 3); i > 0; i--)
        change_word(rng,
                    bytes + 8 * rng_below(rng, rng_percent(rng, 50)
                                                   ? 50
                                                   : (size - 8 - (size_t)(bytes - plain)) / 8));
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t page = entries[i].page;
        entries[i].checksum = hf__page_checksum(
            bytes + i * HF__PAGE_BYTES, hf__page_bytes_used(page, header->used_end), salt, page);
        hf__digest_page(digest, page, entries[i].checksum);
    }
    *pages += count;
    if (rng_percent(rng, 20))
        change_word(rng, (unsigned char *)entries + 8 * rng_below(rng, count * 3));
    if (rng_percent(rng, 5))
        change_word(rng, plain + 8 * rng_below(rng, 3));
    block->check = hf__archive_block_check(salt, block->number, entries, count);
}

static void rebuild(struct rng *rng, const struct file *from, struct file *to)
{
    static unsigned char plain[HF__ARCHIVE_BLOCK_BYTES];
    struct hf__seek_entry frames[64];
    struct hf__archive_header header;
    struct hf__archive_trailer trailer = {.magic = HF__ARCHIVE_TRAILER_MAGIC};
    uint32_t count = 0, magic = HF__SEEK_MAGIC;
    XXH3_state_t *digest;
    if (hf__digest_new(&digest) != 0)
        fail("a digest");
    memcpy(&header, from->bytes + 8, sizeof header);
    if (rng_percent(rng, 30))
        change_word(rng, (unsigned char *)&header + 8 * rng_below(rng, 27));
    to->size = 0;
    append_skippable(to, &header, sizeof header);
    seal(to);
    memcpy(&header, to->bytes + 8, sizeof header);
    frames[count++] = (struct hf__seek_entry){(uint32_t)to->size, 0};
    for (size_t at = to->size; memcmp(from->bytes + at, "\x28\xb5\x2f\xfd", 4) == 0;) {
        const size_t packed = ZSTD_findFrameCompressedSize(from->bytes + at, from->size - at);
        const size_t size = ZSTD_decompress(plain, sizeof plain, from->bytes + at, packed);
        change_block(rng, &header, plain, size, digest, &trailer.pages);
        const size_t made =
            ZSTD_compress(to->bytes + to->size, 2 * from->size - to->size, plain, size, 1);
        if (ZSTD_isError(made))
            fail("compressing");
        to->size += made;
        frames[count++] = (struct hf__seek_entry){(uint32_t)made, (uint32_t)size};
        trailer.blocks++;
        at += packed;
    }
    hf__digest_read(digest, trailer.digest);
    XXH3_freeState(digest);
    hf__hash128(to->bytes, to->size, 0, trailer.stream);
    trailer.check = hf__hash(&trailer, offsetof(struct hf__archive_trailer, check), 0);
    append_skippable(to, &trailer, sizeof trailer);
    frames[count++] = (struct hf__seek_entry){sizeof trailer + 8, 0};
    const struct hf__skippable table = {HF__SEEK_FRAME,
                                        (uint32_t)(count * sizeof *frames + HF__SEEK_FOOTER_BYTES)};
    append(to, &table, sizeof table);
    append(to, frames, count * sizeof *frames);
    append(to, &count, sizeof count);
    append(to, "", 1);
    append(to, &magic, sizeof magic);
}

static uint64_t accepted;

static void meet(uint64_t i)
{
    const char *chain[] = {bad_path};
    const int verified = hf_archive_verify(bad_path, NULL, NULL);
    const int code = hf_restore(made_path, chain, 1, NULL, NULL);
    campaign_expect(&campaign, verified == 0 || is_refusal(verified),
                    "rebuilt %llu: verify gives %d", (unsigned long long)i, verified);
    /* A header may ask for more than this disk has. */
    campaign_expect(&campaign, code == 0 || is_refusal(code) || code == HF_ENOSPC,
                    "rebuilt %llu: restore gives %d", (unsigned long long)i, code);
    campaign_expect(&campaign, (access(made_path, F_OK) == 0) == (code == 0),
                    "rebuilt %llu: a file was left", (unsigned long long)i);
    accepted += code == 0;
    if (code == 0)
        (void)hf_check_file(made_path, NULL, NULL);
    unlink(made_path);
}

static void run_rebuilt(const struct file *file, struct file *bad, uint64_t cases)
{
    for (uint64_t i = 0; i < cases; i++) {
        struct rng rng = {mix64(campaign.seed) ^ mix64(i + 1000000007)};
        rebuild(&rng, file, bad);
        save(bad_path, bad->bytes, bad->size);
        meet(i);
    }
    campaign_expect(&campaign, accepted > cases / 100,
                    "of %llu rebuilt archives %llu were accepted", (unsigned long long)cases,
                    (unsigned long long)accepted);
    printf("%llu of %llu rebuilt archives were accepted\n", (unsigned long long)accepted,
           (unsigned long long)cases);
}

int main(void)
{
    campaign_start(&campaign, "corrupt_archive");
    make();
    const struct file files[2] = {load(full_path), load(next_path)};
    struct file bad = {must_alloc(2 * files[0].size), 0};
    const char *whole[] = {full_path, next_path};
    if (hf_restore(made_path, whole, 2, NULL, NULL) != 0 || unlink(made_path) != 0)
        fail("hf_restore");
    const uint64_t cases = campaign_count(&campaign, 10000);
    for (uint64_t i = 0; i < cases; i++) {
        struct rng rng = {mix64(campaign.seed) ^ mix64(i)};
        const bool increment = rng_percent(&rng, 40);
        const bool sealed = rng_percent(&rng, 20);
        const bool changed = damage(&rng, &files[increment], &bad);
        if (sealed)
            seal(&bad);
        if (!changed)
            continue;
        /* What is only in the header's check is mended by sealing. */
        if (sealed && bad.size == files[increment].size &&
            memcmp(bad.bytes, files[increment].bytes, bad.size) == 0)
            continue;
        save(bad_path, bad.bytes, bad.size);
        refuse(i, increment);
    }
    run_rebuilt(&files[0], &bad, campaign_count(&campaign, 2000));
    unlink(store_path);
    unlink(full_path);
    unlink(next_path);
    unlink(bad_path);
    campaign_expect(&campaign, rmdir(directory) == 0, "something was left in %s", directory);
    free(files[0].bytes);
    free(files[1].bytes);
    free(bad.bytes);
    return campaign_end(&campaign);
}
