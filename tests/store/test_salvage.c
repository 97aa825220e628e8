/* SPDX-License-Identifier: MIT */
/* test_salvage.c - hf_salvage beyond random damage: spans, media that refuse, locks; and what repairs leave */
#include "base/os.h"
#include "store/layout.h"
#include "store/store_format.h"
#include "tests/support/campaign.h"

#include "holdfast.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LARGE   (3u << 20)
#define LARGES  5u
static const char path[] = "wreck.hf", saved[] = "saved.hf";

static void clean_up(void)
{
    (void)!system("rm -f wreck.hf* saved.hf*");
}

static void make_large(hf_store **out)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    hf_txn *txn;
    char name[20];
    clean_up();
    options.mode = HF_CREATE_NEW;
    assert_int_equal(hf_open(path, &options, &store), 0);
    assert_int_equal(hf_begin(store, &txn), 0);
    for (unsigned i = 0; i < LARGES; i++) {
        sprintf(name, "large/%u", i);
        void *at = hf_construct(txn, name, NULL, LARGE);
        assert_non_null(at);
        content_fill(at, LARGE, i);
    }
    assert_int_equal(hf_commit(txn), 0);
    if (out != NULL)
        *out = store;
    else
        assert_int_equal(hf_close(store), 0);
}

static unsigned count_right(const char *in)
{
    hf_store *store;
    hf_view *view;
    hf_options options = HF_OPTIONS_INIT;
    unsigned char *right = malloc(LARGE);
    unsigned count = 0;
    char name[20];
    options.mode = HF_READ_ONLY;
    assert_int_equal(hf_open(in, &options, &store), 0);
    assert_int_equal(hf_view_begin(store, &view), 0);
    for (unsigned i = 0; i < LARGES; i++) {
        size_t size;
        sprintf(name, "large/%u", i);
        const void *at = hf_find(view, name, NULL, &size);
        content_fill(right, LARGE, i);
        if (at != NULL) {
            assert_int_equal(size, LARGE);
            assert_memory_equal(at, right, LARGE);
            count++;
        }
    }
    hf_view_end(view);
    assert_int_equal(hf_close(store), 0);
    free(right);
    return count;
}

static void overwrite(const char *file, uint64_t offset, size_t size)
{
    unsigned char *noise = malloc(size);
    content_fill(noise, size, offset + 1);
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0 && pwrite(fd, noise, size, (off_t)offset) == (ssize_t)size);
    close(fd);
    free(noise);
}

static void test_spans_and_no_header_at_all(void **state)
{
    hf_salvage_options options = HF_SALVAGE_OPTIONS_INIT;
    hf_salvage_report report;
    (void)state;
    make_large(NULL);
    assert_int_equal(hf_salvage(path, NULL, NULL, &report), 0);
    assert_int_equal(report.intact, LARGES);
    options.salt = report.salt;
    overwrite(path, 0, 512);
    overwrite(path, HF__SLOT_B_OFFSET, 512);
    overwrite(path, HF__SEGMENT_OFFSET, 1024);
    assert_int_equal(hf_salvage(path, saved, NULL, &report), HF_ECORRUPT);
    assert_int_equal(hf_salvage(path, saved, &options, &report), 0);
    assert_int_equal(report.intact + report.unproved, LARGES);
    assert_true(count_right(saved) >= LARGES - 1); /* one may share the first page */
    assert_int_equal(hf_check_file(saved, NULL, NULL), 0);
    clean_up();
}

static ino_t inode_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* Pages that the medium refuses: [refused, refused_end) of the file with that inode. */
static uint64_t refused, refused_end;
static ino_t refused_inode;
static ssize_t refusing_pread(int fd, void *buffer, size_t size, off_t offset)
{
    if (inode_of(fd) == refused_inode && (uint64_t)offset < refused_end && (uint64_t)offset + size > refused) {
        errno = EIO;
        return -1;
    }
    return hf__os_system.pread(fd, buffer, size, offset);
}

static void test_a_medium_that_refuses_loses_what_lies_there(void **state)
{
    struct hf__os os = hf__os_system;
    hf_salvage_report report;
    (void)state;
    make_large(NULL);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    refused_inode = st.st_ino;
    os.pread = refusing_pread;
    refused = hf__file_offset(10 << 20);
    refused_end = refused + 2 * HF__PAGE_BYTES;
    hf__os = &os;
    const int code = hf_salvage(path, saved, NULL, &report);
    hf__os = &hf__os_system;
    assert_int_equal(code, 0);
    assert_int_equal(report.pages_unreadable, 2);
    assert_int_equal(report.intact, LARGES - 1);
    assert_int_equal(report.unproved, 1);
    assert_int_equal(count_right(saved), LARGES - 1);
    clean_up();
}

static void test_a_store_in_use_is_refused_and_a_read_only_one_is_not(void **state)
{
    hf_store *store;
    (void)state;
    make_large(&store);
    assert_int_equal(hf_salvage(path, saved, NULL, NULL), HF_EALREADYOPEN);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(hf_salvage(path, saved, NULL, NULL) == HF_EBUSY ? 0 : 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(hf_close(store), 0);
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(hf_salvage(path, saved, NULL, NULL), 0);
    assert_int_equal(hf_salvage(path, saved, NULL, NULL), HF_EEXIST);
    assert_int_equal(count_right(saved), LARGES);
    clean_up();
}

static void on_cancel(void *user, const hf_salvage_object *object)
{
    (void)object;
    ++*(unsigned *)user;
}
static int cancel(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    (void)total;
    return done > (8 << 20);
}

static void test_cancelled_it_leaves_nothing(void **state)
{
    hf_salvage_options options = HF_SALVAGE_OPTIONS_INIT;
    unsigned told = 0;
    (void)state;
    make_large(NULL);
    options.on_progress = cancel;
    options.on_object = on_cancel;
    options.user = &told;
    assert_int_equal(hf_salvage(path, saved, &options, NULL), HF_ECANCELLED);
    assert_int_equal(told, 0);
    assert_int_not_equal(system("ls saved.hf* >/dev/null 2>&1"), 0);
    clean_up();
}

/* ---- a checkpoint that the power cut off ------------------------------------------------------- */

#define MIXED (512u << 10)

/* Sets both objects and leaves the store closed, or as a kill does. */
static void set_both(uint64_t number, bool close_it)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    hf_txn *txn;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        options.durability = close_it ? HF_SYNC : HF_NOSYNC; /* so that the header names its boot */
        if (hf_open(path, &options, &store) != 0 || hf_begin(store, &txn) != 0)
            _exit(1);
        unsigned char *mixed = hf_find_or_construct(txn, "mixed", NULL, MIXED, NULL);
        unsigned char *small = hf_find_or_construct(txn, "small", NULL, 5000, NULL);
        if (mixed == NULL || small == NULL || (mixed = hf_edit(txn, mixed, MIXED)) == NULL ||
            (small = hf_edit(txn, small, 5000)) == NULL)
            _exit(2);
        content_fill(mixed, MIXED, number);
        content_fill(small, 5000, number);
        _exit(hf_commit(txn) != 0 || (close_it && hf_close(store) != 0) ? 3 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void move_bytes(int from, int to, uint64_t offset, size_t size)
{
    unsigned char bytes[8192];
    assert_true(size <= sizeof bytes);
    assert_int_equal(pread(from, bytes, size, (off_t)offset), (ssize_t)size);
    assert_int_equal(pwrite(to, bytes, size, (off_t)offset), (ssize_t)size);
}

/* The pages that one sector of the table tells of, and that sector. */
static void move_sector(int from, int to, uint64_t page)
{
    uint64_t wanted, number, at;
    unsigned slot;
    move_bytes(from, to, hf__table_sector(page, &slot, &wanted), HF__SECTOR_BYTES);
    for (at = page - slot; hf__table_sector(at, &slot, &number) != 0 && number == wanted; at++)
        move_bytes(from, to, hf__file_offset(at * HF__PAGE_BYTES), HF__PAGE_BYTES);
    assert_true(at > page);
}

static int open_of_other_boot(const char *name, int flags, mode_t mode)
{
    return hf__os_system.open(
        strcmp(name, "/proc/sys/kernel/random/boot_id") == 0 ? "wreck.hf.boot" : name, flags, mode);
}

struct verdicts {
    uint32_t mixed, small;
    uint64_t mixed_at;
    char why[80];
};
static void on_verdict(void *user, const hf_salvage_object *object)
{
    struct verdicts *verdicts = user;
    if (object->name == NULL || strcmp(object->name, "mixed") != 0) {
        verdicts->small = object->verdict;
        return;
    }
    verdicts->mixed = object->verdict;
    verdicts->mixed_at = object->offset;
    snprintf(verdicts->why, sizeof verdicts->why, "%s", object->why);
}

/* Of an object in several sectors of the table one sector and its pages are of the next commit: each page is
 * what its entry says, and the object is of no commit at all. W2 of salvage_proof.c. */
static void test_pages_of_two_commits_prove_nothing(void **state)
{
    hf_salvage_options options = HF_SALVAGE_OPTIONS_INIT;
    struct hf__os os = hf__os_system;
    hf_salvage_report report;
    struct verdicts told = {0};
    (void)state;
    clean_up();
    options.on_object = on_verdict;
    options.user = &told;
    set_both(1, true);
    assert_int_equal(system("cp wreck.hf saved.hf.old"), 0);
    assert_int_equal(hf_salvage(path, NULL, &options, NULL), 0);
    set_both(2, true);
    assert_int_equal(system("cp wreck.hf saved.hf.new"), 0);
    set_both(2, false);
    assert_int_equal(system("cp wreck.hf saved.hf.left && cp saved.hf.old wreck.hf && rm -f wreck.hf-*"
                            "&& echo 01234567-1111-2222-3333-444444444444 >wreck.hf.boot"),
                     0);
    const int new = open("saved.hf.new", O_RDONLY | O_CLOEXEC);
    const int left = open("saved.hf.left", O_RDONLY | O_CLOEXEC);
    const int wreck = open(path, O_RDWR | O_CLOEXEC);
    move_sector(new, wreck, (told.mixed_at + MIXED / 2) / HF__PAGE_BYTES);
    move_bytes(left, wreck, 0, 512); /* in use */
    move_bytes(left, wreck, HF__SLOT_B_OFFSET, 512);
    close(new);
    close(left);
    close(wreck);
    /* Under this boot it couldn't be: the rule isn't asked, and nothing else would notice. */
    assert_int_equal(hf_salvage(path, NULL, &options, &report), 0);
    assert_int_equal(told.mixed, HF_SALVAGE_INTACT);
    assert_int_equal(report.pages_differ, 0);
    os.open = open_of_other_boot;
    hf__os = &os;
    assert_int_equal(hf_salvage(path, NULL, &options, &report), 0);
    hf__os = &hf__os_system;
    assert_int_equal(report.pages_differ, 0);
    assert_int_equal(told.mixed, HF_SALVAGE_NOT_PROVED);
    assert_non_null(strstr(told.why, "different commits"));
    assert_int_equal(told.small, HF_SALVAGE_INTACT);
    clean_up();
}

/* ---- pools of nodes -------------------------------------------------------------------------- */

#define NODES 1000u
#define NODE_BYTES 200u

struct way {
    hf_ref node;
};
#define WAY_FIELDS(F, T) F(T, node, HF_FIELD_REF, NULL)
HF_TYPE_DEFINE(way_type, "way", 1, struct way, WAY_FIELDS);

/* Ways to nodes, a third of which are dead, and a pool without any. */
static void make_pools(void)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    hf_txn *txn;
    clean_up();
    options.mode = HF_CREATE_NEW;
    assert_int_equal(hf_open(path, &options, &store), 0);
    assert_int_equal(hf_begin(store, &txn), 0);
    struct way *ways = hf_construct(txn, "ways", &way_type, NODES);
    hf_pool *pool = hf_pool_create(txn, "pool", NODE_BYTES, 1);
    assert_non_null(ways);
    assert_non_null(pool);
    assert_non_null(hf_pool_create(txn, "empty", 64, HF_POOL_KEEP_ALL));
    for (unsigned i = 0; i < NODES; i++) {
        void *node = hf_pool_alloc(txn, pool);
        assert_non_null(node);
        content_fill(node, NODE_BYTES, i);
        ways[i].node = hf_ref_of(hf_txn_view(txn), node);
    }
    for (unsigned i = 0; i < NODES; i++)
        if (i % 3 == 0 || i / 100 == 4) /* some chunks have no live node at all */
            assert_int_equal(hf_pool_free(txn, pool, hf_at(hf_txn_view(txn), ways[i].node)), 0);
    assert_int_equal(hf_commit(txn), 0);
    assert_int_equal(hf_close(store), 0);
}

static void test_pools_are_pools_again(void **state)
{
    hf_options options = HF_OPTIONS_INIT;
    unsigned char right[NODE_BYTES];
    hf_salvage_report report;
    hf_pool_info info;
    hf_store *store;
    hf_view *view;
    hf_txn *txn;
    const void *node;
    hf_ref place = 0;
    unsigned live = 0, walked = 0;
    (void)state;
    make_pools();
    assert_int_equal(hf_salvage(path, saved, NULL, &report), 0);
    for (unsigned i = 0; i < NODES; i++)
        live += i % 3 != 0 && i / 100 != 4;
    assert_int_equal(report.lost + report.unproved + report.missing, 0);
    assert_int_equal(report.pools, 2);
    assert_int_equal(report.pool_nodes, live);
    assert_int_equal(report.nulled, NODES - live);
    assert_int_equal(report.raw_saved + report.raw_left, 0);
    options.mode = HF_OPEN_EXISTING;
    assert_int_equal(hf_open(saved, &options, &store), 0);
    assert_int_equal(hf_check_sanity(store, NULL, NULL), 0);
    assert_int_equal(hf_view_begin(store, &view), 0);
    const hf_pool *pool = hf_pool_find(view, "pool");
    assert_non_null(pool);
    assert_non_null(hf_pool_find(view, "empty"));
    assert_int_equal(hf_pool_info_of(view, pool, &info), 0);
    assert_int_equal(info.nodes, live);
    assert_int_equal(info.node_bytes, NODE_BYTES);
    assert_int_equal(info.empty_max, 1);
    while (hf_pool_next(view, pool, &place, &node) == 1)
        walked++;
    assert_int_equal(walked, live);
    const struct way *ways = hf_find(view, "ways", &way_type, NULL);
    assert_non_null(ways);
    for (unsigned i = 0; i < NODES; i++) {
        content_fill(right, NODE_BYTES, i);
        if (i % 3 == 0 || i / 100 == 4)
            assert_int_equal(ways[i].node, 0);
        else
            assert_memory_equal(hf_at(view, ways[i].node), right, NODE_BYTES);
    }
    hf_view_end(view);
    assert_int_equal(hf_begin(store, &txn), 0); /* and it works as one */
    assert_non_null(hf_pool_alloc(txn, hf_pool_find(hf_txn_view(txn), "pool")));
    assert_int_equal(hf_destroy(txn, "ways"), 0);
    assert_int_equal(hf_pool_destroy(txn, hf_pool_find(hf_txn_view(txn), "pool")), 0);
    assert_int_equal(hf_commit(txn), 0);
    assert_int_equal(hf_check_sanity(store, NULL, NULL), 0);
    assert_int_equal(hf_close(store), 0);
    clean_up();
}

static void test_a_pool_with_a_rotten_chunk_is_lost(void **state)
{
    hf_salvage_report report;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    hf_view *view;
    (void)state;
    make_pools();
    options.mode = HF_READ_ONLY;
    assert_int_equal(hf_open(path, &options, &store), 0);
    assert_int_equal(hf_view_begin(store, &view), 0);
    const hf_ref at = ((const struct way *)hf_find(view, "ways", &way_type, NULL))[700].node;
    hf_view_end(view);
    assert_int_equal(hf_close(store), 0);
    overwrite(path, hf__file_offset(at), 8);
    assert_int_equal(hf_salvage(path, saved, NULL, &report), 0);
    assert_int_equal(report.pools, 1);
    assert_int_equal(report.pool_nodes, 0);
    assert_int_equal(report.lost, 1);
    assert_true(report.raw_saved > 0);
    assert_int_equal(hf_check_file(saved, NULL, NULL), 0);
    clean_up();
}

/* One past the end belongs to what ends there; one byte more to nothing. */
static void test_pointers_one_past_the_end_are_kept(void **state)
{
    enum { BYTES = 100, ELEMENTS = 3, WAYS = 4 };
    hf_options options = HF_OPTIONS_INIT;
    hf_salvage_report report;
    hf_store *store;
    hf_view *view;
    hf_txn *txn;
    size_t count;
    (void)state;
    clean_up();
    options.mode = HF_CREATE_NEW;
    assert_int_equal(hf_open(path, &options, &store), 0);
    assert_int_equal(hf_begin(store, &txn), 0);
    struct way *ways = hf_construct(txn, "ways", &way_type, WAYS);
    struct way *array = hf_construct(txn, "array", &way_type, ELEMENTS);
    unsigned char *bytes = hf_construct(txn, "bytes", NULL, BYTES);
    assert_true(ways != NULL && array != NULL && bytes != NULL);
    memset(array, 0, ELEMENTS * sizeof *array);
    ways[0].node = hf_ref_of(hf_txn_view(txn), array) + ELEMENTS * sizeof *array;
    ways[1].node = hf_ref_of(hf_txn_view(txn), bytes) + BYTES;
    ways[2].node = ways[1].node + 1;
    ways[3].node = ways[1].node - 1;
    assert_int_equal(hf_commit(txn), 0);
    assert_int_equal(hf_close(store), 0);
    assert_int_equal(hf_salvage(path, saved, NULL, &report), 0);
    assert_int_equal(report.pointers, WAYS);
    assert_int_equal(report.nulled, 1);
    options.mode = HF_READ_ONLY;
    assert_int_equal(hf_open(saved, &options, &store), 0);
    assert_int_equal(hf_view_begin(store, &view), 0);
    const struct way *kept = hf_find(view, "ways", &way_type, &count);
    assert_true(kept != NULL && count == WAYS);
    assert_int_equal(kept[0].node, hf_ref_of(view, hf_find(view, "array", &way_type, NULL)) +
                                       ELEMENTS * sizeof(struct way));
    assert_int_equal(kept[1].node, hf_ref_of(view, hf_find(view, "bytes", NULL, NULL)) + BYTES);
    assert_int_equal(kept[2].node, 0);
    assert_int_equal(kept[3].node, kept[1].node - 1);
    hf_view_end(view);
    assert_int_equal(hf_close(store), 0);
    clean_up();
}

/* ---- repairs --------------------------------------------------------------------------------- */

/* A child that makes the store and ends without closing it. */
static void leave_with_log(void)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        hf_store *store;
        make_large(&store);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_both_slots_lost_the_log_still_counts(void **state)
{
    (void)state;
    leave_with_log();
    overwrite(path, 0, 512);
    overwrite(path, HF__SLOT_B_OFFSET, 512);
    assert_int_equal(hf_repair_file(path, NULL, NULL), 0);
    assert_int_equal(count_right(path), LARGES);
    clean_up();
}

struct told {
    unsigned log, pages, all;
};
static void on_finding(void *user, const hf_finding *finding)
{
    struct told *told = user;
    told->log += strcmp(finding->rule, "log") == 0;
    told->pages += strcmp(finding->rule, "page.checksum") == 0 &&
                   strstr(finding->expected, "large/") != NULL;
    told->all++;
}

static void test_a_repair_tells_what_it_accepts(void **state)
{
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    hf_check_report report;
    struct told told = {0};
    (void)state;
    options.on_finding = on_finding;
    options.user = &told;
    make_large(NULL);
    overwrite(path, hf__file_offset(9 << 20), 100);
    assert_int_equal(hf_repair_file(path, &options, &report), 0);
    assert_int_equal(told.pages, 1);
    assert_int_equal(report.accepted, 1);
    assert_int_equal(hf_check_file(path, NULL, NULL), 0);
    leave_with_log();
    assert_int_equal(unlink("wreck.hf-log0") | unlink("wreck.hf-log1"), 0);
    told = (struct told){0};
    assert_int_equal(hf_repair_file(path, &options, &report), 0);
    assert_int_equal(told.log, 1);
    assert_true(report.accepted >= 1);
    clean_up();
}

/* What a repair does to the store itself, in the order of the calls. */
static struct {
    ino_t inode, copy;
    unsigned writes, unsynced, early;
    bool renamed;
} watched;
static ssize_t watching_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    watched.writes += inode_of(fd) == watched.inode;
    watched.unsynced = 1;
    return hf__os_system.pwrite(fd, buffer, size, offset);
}
static int watching_fsync(int fd)
{
    int result = hf__os_system.fsync(fd);
    if (result == 0) {
        watched.unsynced = 0;
        watched.copy = inode_of(fd);
    }
    return result;
}
static int watching_unlink(const char *name)
{
    watched.early += !watched.renamed && strncmp(name, "wreck.hf-", 9) == 0;
    const char *slash = strrchr(name, '/');
    watched.early += !watched.renamed && slash != NULL && strncmp(slash, "/wreck.hf-", 10) == 0;
    return hf__os_system.unlink(name);
}
static int watching_rename(const char *from, const char *to)
{
    struct stat st;
    assert_int_equal(stat(from, &st), 0);
    assert_int_equal(watched.unsynced, 0);
    assert_int_equal(st.st_ino, watched.copy);
    watched.renamed = true;
    return hf__os_system.rename(from, to);
}

/* P1 and P2 of repair_copy.c: with them a power cut leaves the old store or the new one. */
static void test_a_repair_writes_to_its_copy_alone(void **state)
{
    struct hf__os os = hf__os_system;
    struct stat before, after;
    (void)state;
    leave_with_log();
    overwrite(path, hf__file_offset(9 << 20), 100);
    overwrite(path, 0, 512);
    overwrite(path, HF__SLOT_B_OFFSET, 512);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(stat(path, &before), 0);
    memset(&watched, 0, sizeof watched);
    watched.inode = before.st_ino;
    os.pwrite = watching_pwrite;
    os.fsync = watching_fsync;
    os.unlink = watching_unlink;
    os.rename = watching_rename;
    hf__os = &os;
    const int code = hf_repair_file(path, NULL, NULL);
    hf__os = &hf__os_system;
    assert_int_equal(code, 0);
    assert_int_equal(watched.writes, 0);
    assert_int_equal(watched.early, 0);
    assert_true(watched.renamed);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_mode, before.st_mode);
    assert_int_not_equal(system("ls wreck.hf-* wreck.hf.* >/dev/null 2>&1"), 0);
    clean_up();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spans_and_no_header_at_all),
        cmocka_unit_test(test_a_medium_that_refuses_loses_what_lies_there),
        cmocka_unit_test(test_a_store_in_use_is_refused_and_a_read_only_one_is_not),
        cmocka_unit_test(test_cancelled_it_leaves_nothing),
        cmocka_unit_test(test_pages_of_two_commits_prove_nothing),
        cmocka_unit_test(test_pools_are_pools_again),
        cmocka_unit_test(test_a_pool_with_a_rotten_chunk_is_lost),
        cmocka_unit_test(test_pointers_one_past_the_end_are_kept),
        cmocka_unit_test(test_both_slots_lost_the_log_still_counts),
        cmocka_unit_test(test_a_repair_tells_what_it_accepts),
        cmocka_unit_test(test_a_repair_writes_to_its_copy_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
