/* SPDX-License-Identifier: MIT */
/*
 * salvage_proof.c - which bytes of a wreck are provably what a commit left
 *
 * All checksums are keyed by the salt, so that comes first: from any of the three copies of the constants,
 * believed by their own check, or else, byte for byte, by a sector of the page table that it makes sound.
 * The table is found by computation and compared with the file, read with pread: what the medium refuses
 * is an error of one page, not a signal. Then the log, if it is whole, is laid over private memory.
 *
 * Invariants
 *   W1  a line is proved if its page is in the file as its entry says (in the page of a used end: if it lies
 *       below that), or if a record of the log that was laid over holds it. With the log the first are of the base or of the last commit, and unless a record
 *       holds them, of both; so all proved lines are of one commit, the last one
 *   W2  without the log pages that match are of the base, and so of one commit, if the table is: the store
 *       was closed, or this boot wrote it. If not, a checkpoint may have been cut off: then only what one
 *       sector of the table tells of is of one commit (`suspect`)
 *   W3  no log is laid over that ends before a commit that the page table knows of
 *   W4  pages the medium doesn't give are not touched through the mapping: zeros take their place
 *   W5  the file is only read
 */
#include "salvage.h"

#include "base/hash.h"
#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define AHEAD_BYTES ((size_t)1 << 20)

int hf__wreck_step(struct hf__wreck *wreck, uint64_t bytes)
{
    wreck->done += bytes;
    if (wreck->options->on_progress != NULL &&
        wreck->options->on_progress(wreck->options->user, wreck->done,
                                    wreck->total > wreck->done ? wreck->total : wreck->done) != 0)
        return hf__fail(HF_ECANCELLED, "salvaging");
    return 0;
}

/* ---- the salt -------------------------------------------------------------------------------- */

/* Is any sector of the table sound under this salt? One is proof: its check has 64 bits. */
static bool salt_proved(const hf_store *store, uint64_t salt, uint64_t pages)
{
    struct hf__sector sector;
    for (uint64_t page = 0; page < pages; page = sector.first_page + sector.pages) {
        sector = (struct hf__sector){.first_page = page, .pages = HF__SECTOR_ENTRIES};
        if (hf__sector_read(store->fd, store->path, salt, page, &sector) == 0 && sector.sound &&
            !sector.empty)
            return true;
    }
    return false;
}

/* Constants from where they are whole, or the salt alone. */
static int find_salt(struct hf__wreck *wreck, uint64_t pages)
{
    hf_store *store = wreck->store;
    const uint64_t places[3] = {offsetof(struct hf__file_header, constants),
                                HF__SLOT_B_OFFSET + offsetof(struct hf__file_header, constants),
                                HF__SEGMENT_OFFSET +
                                    offsetof(struct hf__segment_header, constants)};
    struct hf__constants found[3];
    memset(found, 0, sizeof found);
    for (int i = 0; i < 3; i++) {
        (void)hf__read_at(store->fd, &found[i], sizeof found[i], places[i]);
        if (hf__constants_ok(&found[i])) {
            store->constants = found[i];
            wreck->constants_known = true;
            return 0;
        }
    }
    const uint64_t given = wreck->options->salt;
    for (int i = 0; i < 4; i++) {
        const uint64_t salt = i < 3 ? found[i].salt : given;
        if (salt != 0 && salt_proved(store, salt, pages)) {
            store->constants.salt = salt;
            return 0;
        }
    }
    return hf__fail_path(HF_ECORRUPT, 0, store->path,
                         "no copy of the salt is left that any checksum agrees with: nothing "
                         "in it can be proved");
}

/* ---- the page table against the file ----------------------------------------------------------- */

/* Zeros instead of a page that can't be read. */
static int stand_in(struct hf__wreck *wreck, uint64_t page)
{
    hf_store *store = wreck->store;
    wreck->pages[page] = HF__PROOF_UNREADABLE;
    wreck->report->pages_unreadable++;
    if (hf__os->mmap(store->seg.base + page * HF__PAGE_BYTES, HF__PAGE_BYTES,
                     PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                     0) == MAP_FAILED)
        return hf__fail_os(errno, store->path, "mmap");
    return 0;
}

/* Reads pages, one by one where that fails. What lies behind the file's end reads as zeros. */
static int read_pages(struct hf__wreck *wreck, uint64_t page, uint64_t count, unsigned char *bytes)
{
    const hf_store *store = wreck->store;
    const size_t size = (size_t)count * HF__PAGE_BYTES;
    int code = 0;
    memset(bytes, 0, size);
    if (hf__segment_read(store->fd, bytes, size, page * HF__PAGE_BYTES) >= 0)
        return 0;
    for (uint64_t i = 0; code == 0 && i < count; i++) {
        unsigned char *at = bytes + i * HF__PAGE_BYTES;
        memset(at, 0, HF__PAGE_BYTES);
        if (hf__segment_read(store->fd, at, HF__PAGE_BYTES, (page + i) * HF__PAGE_BYTES) < 0)
            code = stand_in(wreck, page + i);
    }
    return code;
}

/* Of a page in which a used end lies only the bytes before count. Which those are is known by the
 * checksum alone: the bytes that count, or 0. */
static uint64_t bytes_that_match(const unsigned char *bytes, uint64_t salt, uint64_t page,
                                 uint64_t checksum)
{
    for (uint64_t used = HF__BLOCK_UNIT; used < HF__PAGE_BYTES; used += HF__BLOCK_UNIT)
        if (checksum == hf__page_checksum(bytes, used, salt, page))
            return used;
    return 0;
}

/* What the table tells of the used end. */
struct ends {
    uint64_t part;    /* the lowest that a checksum proves, 0 = none                               */
    uint64_t last;    /* behind the last page with an entry, or of which none is known             */
    uint64_t commit;  /* the newest one any entry names                                            */
};

static int judge_sector(struct hf__wreck *wreck, const struct hf__sector *sector,
                        unsigned char *bytes, struct ends *ends)
{
    const uint64_t salt = wreck->store->constants.salt, first = sector->first_page;
    uint64_t count = sector->pages;
    if (first + count > wreck->page_count)
        count = wreck->page_count - first;
    if (!sector->sound)
        ends->last = (first + count) * HF__PAGE_BYTES;
    int code = read_pages(wreck, first, count, bytes);
    for (uint64_t i = 0; code == 0 && sector->sound && i < count; i++) {
        const struct hf__page_entry *entry = &sector->entries.entries[i];
        const unsigned char *at = bytes + i * HF__PAGE_BYTES;
        uint16_t *page = &wreck->pages[first + i];
        if (entry->checksum == 0)
            continue;
        ends->last = (first + i + 1) * HF__PAGE_BYTES;
        ends->commit = entry->commit > ends->commit ? entry->commit : ends->commit;
        if (*page == HF__PROOF_UNREADABLE)
            continue;
        *page = HF__PAGE_BYTES;
        if (entry->checksum == hf__page_checksum(at, HF__PAGE_BYTES, salt, first + i))
            continue;
        /* The last page, or one that was the last: those behind may have entries of a time when the used
         * end was higher. */
        const uint64_t used = bytes_that_match(at, salt, first + i, entry->checksum);
        *page = used == 0 ? HF__PROOF_DIFFERS : (uint16_t)used;
        if (used != 0 && ends->part == 0)
            ends->part = (first + i) * HF__PAGE_BYTES + used;
    }
    return code;
}

static int judge_pages(struct hf__wreck *wreck, struct ends *ends)
{
    const hf_store *store = wreck->store;
    unsigned char *bytes = malloc((size_t)HF__SECTOR_ENTRIES * HF__PAGE_BYTES);
    struct hf__sector sector;
    int code = bytes == NULL ? hf__fail(HF_ENOMEM, "reading pages") : 0;
    for (uint64_t page = 0; code == 0 && page < wreck->page_count;
         page = sector.first_page + sector.pages) {
        sector = (struct hf__sector){.first_page = page, .pages = HF__SECTOR_ENTRIES};
        if (hf__sector_read(store->fd, store->path, store->constants.salt, page, &sector) != 0)
            sector.sound = false;
        code = judge_sector(wreck, &sector, bytes, ends);
        if (code == 0)
            code = hf__wreck_step(wreck, sector.pages * (uint64_t)HF__PAGE_BYTES);
    }
    free(bytes);
    return code;
}

/* ---- the log --------------------------------------------------------------------------------- */

static bool add_lines(struct hf__lines *lines, const struct hf__record *record)
{
    const struct hf__record_range *ranges = hf__record_ranges(record);
    for (uint64_t i = 0; i < record->range_count; i++) {
        uint64_t at = ranges[i].offset / HF__LINE_BYTES;
        const uint64_t end = at + ranges[i].size_bytes / HF__LINE_BYTES;
        while (at < end) {
            const uint64_t page = at / HF__LINES_A_PAGE, first = at % HF__LINES_A_PAGE;
            const uint64_t page_end = (page + 1) * HF__LINES_A_PAGE;
            const uint64_t last = (end < page_end ? end : page_end) - 1;
            if (!hf__lines_reserve(lines, 1))
                return false;
            hf__lines_add(lines, page, hf__lines_between(first, last % HF__LINES_A_PAGE));
            at = last + 1;
        }
    }
    return true;
}

/* Which lines its records hold, and its last commit: from the file that counts. */
static int survey_log(struct hf__wreck *wreck, uint64_t generation, uint64_t *commit)
{
    hf_store *store = wreck->store;
    struct hf__log_cursor cursor = {.bytes = NULL};
    struct hf__log_header header;
    int found = 0;
    int code = hf__log_open(store, false, true);
    if (code == 0)
        code = hf__log_choose(store, generation, &header);
    if (code != 0)
        return code;
    hf__cursor_set(&cursor, store, (int)(header.epoch % 2), header.salt, header.base, header.salt,
                   HF__LOG_FIRST);
    cursor.ahead = AHEAD_BYTES;
    while (code == 0 && (found = hf__cursor_next(&cursor)) == 1)
        if (!add_lines(&wreck->logged, hf__cursor_record(&cursor)))
            code = hf__fail(HF_ENOMEM, "the lines that a log holds");
    *commit = cursor.commit;
    free(cursor.bytes);
    return code != 0 ? code : found;
}

/* Lays the log over, if it is whole and of this state of the file (W3). Nothing that is wrong with it is
 * an error: then there is none. */
static int use_log(struct hf__wreck *wreck, uint64_t generation, const struct ends *ends)
{
    hf_store *store = wreck->store;
    uint64_t commit = 0;
    int code = survey_log(wreck, generation, &commit);
    if (code == 0 && commit < ends->commit)
        code = hf__corrupt("log.chain", 0);
    if (code == 0)
        code = hf__log_replay_over(store, store->reserved, generation);
    if (code == 0) {
        wreck->laid_over = true;
        wreck->report->log = "laid over";
        wreck->report->replayed_commits = store->recovery.replayed_commits;
        return 0;
    }
    hf__lines_dispose(&wreck->logged);
    hf__lines_init(&wreck->logged);
    if (code == HF_ENOMEM || code == HF_EADDRSPACE)
        return code;
    wreck->report->log = code == HF_ELOGMISSING   ? "lost"
                         : code == HF_ELOGFOREIGN ? "of another store or time"
                                                  : "damaged";
    return 0;
}

/* ---- what state it was left in ----------------------------------------------------------------- */

struct left {
    struct hf__file_header header; /* the newest slot that is valid                                */
    bool both, any;                /* slots are valid                                              */
    bool this_boot;                /* the state is one of this boot                                */
};

static int judge_slots(const hf_store *store, struct left *out)
{
    const uint64_t places[2] = {0, HF__SLOT_B_OFFSET};
    struct hf__file_header slot;
    uint8_t boot_id[16];
    int valid = 0;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < 2; i++) {
        memset(&slot, 0, sizeof slot);
        (void)hf__read_at(store->fd, &slot, sizeof slot, places[i]);
        int code = hf__header_judge(&slot);
        if (code == HF_ENEWER || code == HF_EENDIAN || code == HF_EPAGESIZE)
            return hf__fail_path(code, 0, store->path, "in its header");
        if (code == 0 && (valid == 0 || slot.sequence > out->header.sequence))
            out->header = slot;
        valid += code == 0;
    }
    out->both = valid == 2;
    out->any = valid != 0;
    out->this_boot = out->header.state != HF__STATE_CLEAN && hf__boot_id(boot_id) == 0 &&
                     memcmp(boot_id, out->header.boot_id, sizeof boot_id) == 0;
    return 0;
}

/* A slot that is left alone may be the older one: then the files beside the store tell. */
static int consider_log(struct hf__wreck *wreck, const struct left *left, const struct ends *ends)
{
    hf_store *store = wreck->store;
    struct stat st;
    const bool beside = hf__log_leftovers(store) || hf__os->stat(store->undo_path, &st) == 0;
    const uint32_t state = left->header.state;
    const bool logged = left->both ? state >= HF__STATE_LOGGED : hf__log_leftovers(store);
    wreck->report->log = "";
    wreck->suspect = (left->both ? state != HF__STATE_CLEAN : beside) && !left->this_boot;
    if (!logged || !wreck->constants_known)
        return 0;
    int code = use_log(wreck, left->both ? left->header.generation : 0, ends);
    wreck->suspect = wreck->suspect && !wreck->laid_over;
    return code;
}

/* How far blocks reach: as the segment's own header says, if that is proved; else what the table or a
 * header slot says; else to the end. */
static void find_limit(struct hf__wreck *wreck, const struct left *left, const struct ends *ends)
{
    struct hf__segment *seg = &wreck->store->seg;
    const struct hf__segment_header *header = hf__segment_header(seg);
    const uint64_t said = header->heap.used_end;
    const bool possible = header->magic == HF__SEGMENT_MAGIC && said >= HF__FIRST_BLOCK &&
                          said % HF__BLOCK_UNIT == 0;
    uint64_t sector = UINT64_MAX;
    if (possible && hf__wreck_proof(wreck, 0, HF__SEGMENT_HEADER_BYTES, &sector) ==
                        HF__WHY_NOTHING) {
        wreck->limit = said;
        wreck->report->missing = header->named.count;
    } else if (left->both && left->header.state == HF__STATE_CLEAN) {
        wreck->limit = left->header.used_end;
    } else if (left->both || possible) {
        wreck->limit = said > ends->last && possible ? said : ends->last;
    } else {
        wreck->limit = ends->part != 0 ? ends->part : seg->size_bytes;
    }
    if (wreck->limit > seg->size_bytes || wreck->limit < HF__FIRST_BLOCK)
        wreck->limit = seg->size_bytes;
}

/* ---- all together ---------------------------------------------------------------------------- */

static int map(struct hf__wreck *wreck, uint64_t backed)
{
    hf_store *store = wreck->store;
    const uint64_t size = backed & ~(uint64_t)(HF__LINE_BYTES - 1);
    const uint64_t most = store->constants.size_max_bytes;
    /* What a log holds may lie behind the file's end. */
    int code = hf__map_reserve(store, most > size ? most : size, size, false);
    if (code == 0)
        code = hf__map_file(store, true, true);
    if (code == 0)
        code = hf__map_private_to(store, store->reserved, 0, hf__whole_pages(size));
    store->seg.size_bytes = size;
    store->seg.salt = store->constants.salt;
    wreck->page_count = hf__whole_pages(size) / HF__PAGE_BYTES;
    wreck->pages = calloc((size_t)wreck->page_count, sizeof *wreck->pages);
    if (code == 0 && wreck->pages == NULL)
        code = hf__fail(HF_ENOMEM, "a note on each page");
    return code;
}

/* The heap's root, in memory: the search believes nothing else of it. */
static void mend_root(struct hf__wreck *wreck)
{
    hf_store *store = wreck->store;
    struct hf__segment_header *header = (struct hf__segment_header *)store->seg.base;
    header->heap.first = HF__FIRST_BLOCK;
    header->heap.used_end = wreck->limit;
    store->heap = hf__heap_over(store, &store->seg);
    store->heap.algorithm = &hf__alloc_slab;
}

int hf__wreck_open(struct hf__wreck *wreck)
{
    hf_store *store = wreck->store;
    struct ends ends = {0, 0, 0};
    struct left left;
    struct stat st;
    hf__lines_init(&wreck->logged);
    if (hf__os->fstat(store->fd, &st) != 0)
        return hf__fail_os(errno, store->path, "fstat");
    const uint64_t backed = hf__backed_bytes((uint64_t)st.st_size);
    if ((uint64_t)st.st_size <= HF__SEGMENT_OFFSET + HF__SEGMENT_HEADER_BYTES)
        return hf__fail_path(HF_ETRUNCATED, 0, store->path, "nothing is left of its segment");
    wreck->total = 3 * backed;
    int code = judge_slots(store, &left);
    if (code == 0)
        code = find_salt(wreck, backed / HF__PAGE_BYTES);
    if (code == 0)
        code = map(wreck, backed);
    if (code == 0)
        code = judge_pages(wreck, &ends);
    if (code == 0)
        code = consider_log(wreck, &left, &ends);
    if (code != 0)
        return code;
    const struct hf__segment_header *header = hf__segment_header(&store->seg);
    if (wreck->report->replayed_commits != 0 && header->size_bytes > store->seg.size_bytes &&
        header->size_bytes <= store->size_max_bytes)
        store->seg.size_bytes = header->size_bytes;
    find_limit(wreck, &left, &ends);
    mend_root(wreck);
    wreck->report->salt = store->constants.salt;
    for (uint64_t i = 0; i < wreck->page_count && i * HF__PAGE_BYTES < wreck->limit; i++) {
        wreck->report->pages_same += wreck->pages[i] >= HF__PROOF_BYTES;
        wreck->report->pages_differ += wreck->pages[i] == HF__PROOF_DIFFERS;
        wreck->report->pages_unknown += wreck->pages[i] == HF__PROOF_UNKNOWN;
    }
    return 0;
}

void hf__wreck_close(struct hf__wreck *wreck)
{
    hf__map_release(wreck->store);
    hf__lines_dispose(&wreck->logged);
    free(wreck->pages);
    free(wreck->found);
    free(wreck->records);
    free(wreck->types_whole);
}

/* Is each byte of the page from `from` to `end` what its entry or a record of the log says? */
static bool page_proved(const struct hf__wreck *wreck, uint64_t page, uint64_t from, uint64_t end)
{
    const uint16_t is = page < wreck->page_count ? wreck->pages[page] : (uint16_t)HF__PROOF_UNKNOWN;
    const uint64_t same = is >= HF__PROOF_BYTES ? is : 0;
    if (end <= same)
        return true;
    /* Lines that lie below only in part count as not lying there. */
    const uint64_t first = (from > same ? from : same) / HF__LINE_BYTES;
    const uint64_t wanted = hf__lines_between(first, (end - 1) / HF__LINE_BYTES);
    return (hf__lines_of(&wreck->logged, page) & wanted) == wanted;
}

enum hf__why hf__wreck_proof(const struct hf__wreck *wreck, uint64_t from, uint64_t bytes,
                             uint64_t *sector)
{
    static const enum hf__why whys[] = {HF__WHY_UNKNOWN, HF__WHY_DIFFERS, HF__WHY_UNREADABLE};
    const uint64_t end = from + (bytes == 0 ? 1 : bytes);
    enum hf__why worst = HF__WHY_NOTHING, here;
    for (uint64_t page = from / HF__PAGE_BYTES; page * HF__PAGE_BYTES < end; page++) {
        const uint64_t start = page * HF__PAGE_BYTES;
        const uint64_t first = from > start ? from - start : 0;
        const uint64_t last = end - start < HF__PAGE_BYTES ? end - start : HF__PAGE_BYTES;
        const uint16_t is = page < wreck->page_count ? wreck->pages[page] : 0;
        uint64_t number;
        unsigned slot;
        (void)hf__table_sector(page, &slot, &number);
        here = HF__WHY_NOTHING;
        if (!page_proved(wreck, page, first, last))
            here = is < HF__PROOF_BYTES ? whys[is] : HF__WHY_UNKNOWN;
        else if (wreck->suspect && *sector != UINT64_MAX && *sector != number)
            here = HF__WHY_COMMITS;
        worst = here > worst ? here : worst;
        if (*sector == UINT64_MAX)
            *sector = number;
    }
    return worst;
}

uint64_t hf__wreck_commit(const struct hf__wreck *wreck, uint64_t from, uint64_t bytes)
{
    const hf_store *store = wreck->store;
    struct hf__sector sector = {.pages = 0};
    uint64_t commit = 0;
    for (uint64_t page = from / HF__PAGE_BYTES; page * HF__PAGE_BYTES < from + bytes; page++) {
        if (page - sector.first_page >= sector.pages &&
            hf__sector_read(store->fd, store->path, store->constants.salt, page, &sector) != 0)
            break;
        const uint64_t here = sector.entries.entries[page - sector.first_page].commit;
        if (sector.sound && here > commit)
            commit = here;
    }
    return commit;
}
