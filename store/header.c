/* SPDX-License-Identifier: MIT */
/*
 * header.c - the file's header: two slots, written in turn
 *
 * A slot is valid when magic, byte order, version and checksum are right; of two valid ones the one
 * with the higher sequence counts. A write goes to the slot that does not count, so a torn write
 * leaves the other. Everything here is read with pread: a file is judged before it is mapped.
 *
 * The first 16 bytes (magic, byte order, version) and the checksum's place are the same in every
 * version to come, so that an old library can say "newer" and mean it.
 */
#include "store.h"

#include "base/bug.h"
#include "base/hash.h"
#include "base/os.h"

#include <errno.h>
#include <string.h>

static const off_t slot_offsets[2] = {0, HF__SLOT_B_OFFSET};

void hf__constants_seal(struct hf__constants *constants)
{
    constants->check = hf__hash(constants, offsetof(struct hf__constants, check), 0);
}

bool hf__constants_ok(const struct hf__constants *constants)
{
    return constants->check == hf__hash(constants, offsetof(struct hf__constants, check), 0) &&
           memchr(constants->layout, '\0', HF__LAYOUT_BYTES) != NULL &&
           constants->engine <= HF_ENGINE_DIRECT && constants->index <= HF_INDEX_NULL &&
           hf__allocator_by_kind(constants->allocator) != NULL && constants->allocator != 0 &&
           constants->size_max_bytes <= UINT64_C(1) << 47;
}

int hf__header_judge(const struct hf__file_header *slot)
{
    if (slot->magic == __builtin_bswap64(HF__FILE_MAGIC))
        return HF_EENDIAN;
    if (slot->magic != HF__FILE_MAGIC)
        return HF_ENOTSTORE;
    if (slot->byte_order == __builtin_bswap32(HF__BYTE_ORDER))
        return HF_EENDIAN;
    if (slot->check != hf__hash(slot, offsetof(struct hf__file_header, check), 0))
        return HF_ECORRUPT;
    if (slot->version > HF__FORMAT_VERSION)
        return HF_ENEWER;
    if (slot->byte_order != HF__BYTE_ORDER)
        return HF_ECORRUPT;
    if (slot->page_bytes != HF__PAGE_BYTES)
        return HF_EPAGESIZE;
    if ((slot->features_incompat & ~HF__FEATURES_INCOMPAT) != 0)
        return HF_ENEWER;
    if (slot->table_state > HF__TABLE_TRUE || slot->slot_bytes != HF__SLOT_BYTES || slot->segment_offset != HF__SEGMENT_OFFSET ||
        slot->state > HF__STATE_UNSYNCED || !hf__constants_ok(&slot->constants))
        return HF_ECORRUPT;
    return 0;
}

/* Of two reasons for refusal the more telling one: what says "this is a store" beats "it is
 * none". */
static int rank(int code)
{
    switch (code) {
    case HF_ENEWER:
        return 6;
    case HF_EPAGESIZE:
        return 5;
    case HF_EENDIAN:
        return 4;
    case HF_ECORRUPT:
        return 3;
    case HF_ETRUNCATED:
        return 2;
    default:
        return 1;
    }
}

/* Both, with one read. */
static int read_slots(int fd, const char *path, struct hf__file_header out[2], int judged[2])
{
    unsigned char bytes[HF__SLOT_B_OFFSET + sizeof *out];
    ssize_t n = hf__read_at(fd, bytes, sizeof bytes, 0);
    if (n < 0)
        return hf__fail_os(errno, path, "read");
    memset(bytes + n, 0, sizeof bytes - (size_t)n);
    for (int i = 0; i < 2; i++) {
        memcpy(&out[i], bytes + slot_offsets[i], sizeof *out);
        judged[i] = hf__header_judge(&out[i]);
        if (n < (ssize_t)sizeof *out + slot_offsets[i] && judged[i] == HF_ECORRUPT)
            judged[i] = HF_ETRUNCATED;
    }
    return 0;
}

int hf__header_read_both(int fd, const char *path, bool read_only, struct hf__file_header *out,
                         bool *agree)
{
    struct hf__file_header slots[2];
    int judged[2] = {0, 0};
    int code = read_slots(fd, path, slots, judged);
    if (code != 0)
        return code;
    if (judged[0] != 0 && judged[1] != 0) {
        code = rank(judged[0]) >= rank(judged[1]) ? judged[0] : judged[1];
        return hf__fail_path(code, 0, path, "in its header");
    }
    int best = judged[0] != 0 || (judged[1] == 0 && slots[1].sequence > slots[0].sequence);
    if (!read_only && (slots[best].features_ro_compat & ~HF__FEATURES_RO_COMPAT) != 0)
        return hf__fail_path(HF_ENEWER, 0, path, "this library can open it read-only");
    *out = slots[best];
    *agree = judged[0] == 0 && judged[1] == 0 && slots[0].state == slots[1].state;
    return 0;
}

int hf__header_read(int fd, const char *path, bool read_only, struct hf__file_header *out)
{
    bool agree;
    return hf__header_read_both(fd, path, read_only, out, &agree);
}

int hf__header_settle(int fd, const char *path)
{
    struct hf__file_header newest;
    bool agree;
    int code = hf__header_read_both(fd, path, false, &newest, &agree);
    return code == 0 && !agree ? hf__header_write(fd, path, &newest) : code;
}

static void seal(struct hf__file_header *header)
{
    header->check = hf__hash(header, offsetof(struct hf__file_header, check), 0);
}

int hf__header_write(int fd, const char *path, struct hf__file_header *header)
{
    header->sequence++;
    seal(header);
    if (hf__write_at(fd, header, sizeof *header, (uint64_t)slot_offsets[header->sequence % 2]) != 0)
        return hf__fail_os(errno, path, "write");
    if (!HF__BUG(START_HEADER_NOT_SYNCED) && hf__os->fdatasync(fd) != 0)
        return hf__fail_os(errno, path, "fdatasync");
    return 0;
}

int hf__header_write_first(int fd, const char *path, const struct hf__constants *constants,
                           uint64_t size_bytes, uint64_t used_end)
{
    struct hf__file_header header = {.magic = HF__FILE_MAGIC,
                                     .byte_order = HF__BYTE_ORDER,
                                     .version = HF__FORMAT_VERSION,
                                     .page_bytes = HF__PAGE_BYTES,
                                     .slot_bytes = HF__SLOT_BYTES,
                                     .segment_offset = HF__SEGMENT_OFFSET,
                                     .size_bytes = size_bytes,
                                     .used_end = used_end,
                                     .state = HF__STATE_CLEAN,
                                     .table_state = HF__TABLE_TRUE,
                                     .constants = *constants};
    for (header.sequence = 1; header.sequence <= 2; header.sequence++) {
        seal(&header);
        if (hf__write_at(fd, &header, sizeof header,
                         (uint64_t)slot_offsets[header.sequence % 2]) != 0)
            return hf__fail_os(errno, path, "write");
    }
    return 0;
}

int hf__segment_header_read(int fd, const char *path, const struct hf__file_header *header,
                            bool quiet, struct hf__segment_header *out)
{
    struct stat st;
    ssize_t n = hf__segment_read(fd, out, sizeof *out, 0);
    if (n < 0 || hf__os->fstat(fd, &st) != 0)
        return hf__fail_os(errno, path, "read");
    if (n < (ssize_t)sizeof *out)
        return hf__fail_path(HF_ETRUNCATED, 0, path, "it ends before its segment");
    if (out->magic != HF__SEGMENT_MAGIC || !hf__constants_ok(&out->constants))
        return hf__fail_path(HF_ECORRUPT, 0, path, "in its segment header");
    uint64_t room = hf__backed_bytes((uint64_t)st.st_size);
    /* Mid-transaction, or mid-rollback, the two ends need not fit each other. */
    const bool settled = quiet && header->state == HF__STATE_CLEAN;
    if ((settled && out->heap.used_end > out->size_bytes) || out->heap.first != HF__FIRST_BLOCK ||
        out->heap.used_end < HF__FIRST_BLOCK || out->size_bytes > out->constants.size_max_bytes)
        return hf__fail_path(HF_ECORRUPT, 0, path, "in its segment header");
    /* Replaying a log makes the file as long as it has to be. */
    if (out->heap.used_end > room && header->state < HF__STATE_LOGGED)
        return hf__fail_path(HF_ETRUNCATED, 0, path,
                             "%llu bytes are used, the file ends after %llu",
                             (unsigned long long)out->heap.used_end, (unsigned long long)room);
    return 0;
}
