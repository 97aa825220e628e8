/* SPDX-License-Identifier: MIT */
/*
 * test_pages.c - the page table: true after every way of writing a store, and rot is found by it
 */
#include "store_fixture.h"

#include "store/layout.h"
#include "store/pages.h"
#include "store/store.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static char path[] = "pages.hf";

static hf_store *open_store(uint32_t mode, uint32_t engine)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.mode = mode;
    options.engine = engine;
    assert_ok(hf_open(path, &options, &store));
    return store;
}

static void fill(hf_store *store, int from, int to, size_t size_bytes, int byte)
{
    hf_txn *txn;
    assert_ok(hf_begin(store, &txn));
    for (int i = from; i < to; i++) {
        char name[32];
        snprintf(name, sizeof name, "object/%06d", i);
        void *p = hf_find_or_construct(txn, name, NULL, size_bytes, NULL);
        assert_got(p);
        memset(p, byte, size_bytes);
    }
    assert_ok(hf_commit(txn));
}

static hf_verify_report verify(hf_store *store)
{
    hf_verify_report report;
    memset(&report, 0xee, sizeof report);
    assert_ok(hf_verify(store, NULL, &report));
    return report;
}

static int start(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

/* ---- true ------------------------------------------------------------------------------------ */

static void test_pages_of_a_new_store(void **state)
{
    (void)state;
    hf_store *store = open_store(HF_CREATE_NEW, 0);
    hf_verify_report report = verify(store);
    assert_int_equal(report.pages_compared, 1);
    assert_int_equal(report.stale, 0);
    assert_ok(hf_close(store));
}

static void test_pages_since_a_checkpoint_are_newer(void **state)
{
    (void)state;
    hf_store *store = open_store(HF_CREATE_NEW, 0);
    fill(store, 0, 100, 4000, 1);
    assert_ok(hf_sync(store)); /* views show it */
    hf_verify_report report = verify(store);
    assert_true(report.pages_newer >= 90);
    assert_ok(hf_close(store));
    store = open_store(HF_OPEN_EXISTING, 0);
    report = verify(store);
    assert_int_equal(report.pages_newer, 0);
    assert_true(report.pages_compared >= 100);
    fill(store, 50, 51, 4000, 2);
    assert_ok(hf_sync(store));
    report = verify(store);
    assert_in_range(report.pages_newer, 1, 8);
    assert_true(report.pages_compared >= 90);
    assert_ok(hf_close(store));
}

/* Beyond the first span, and through a window: the bytes never pass the log. */
static void test_pages_of_a_large_transaction(void **state)
{
    (void)state;
    hf_store *store = open_store(HF_CREATE_NEW, 0);
    fill(store, 0, 300, 100000, 3);
    assert_ok(hf_close(store));
    store = open_store(HF_READ_ONLY, 0);
    hf_verify_report report = verify(store);
    assert_int_equal(report.pages_newer, 0);
    assert_true(report.pages_compared > 30000000 / 4096);
    assert_ok(hf_close(store));
}

static void test_pages_of_the_direct_engine(void **state)
{
    (void)state;
    hf_store *store = open_store(HF_CREATE_NEW, HF_ENGINE_DIRECT);
    assert_int_equal(verify(store).stale, 0);
    fill(store, 0, 100, 4000, 1);
    assert_int_equal(verify(store).stale, 1);
    assert_ok(hf_sync(store));
    assert_int_equal(verify(store).stale, 1);
    assert_ok(hf_close(store));
    store = open_store(HF_READ_ONLY, 0);
    hf_verify_report report = verify(store);
    assert_int_equal(report.stale, 0);
    assert_true(report.pages_compared >= 100);
    assert_ok(hf_close(store));
}

static void test_pages_after_growing_shrinking_and_save_as(void **state)
{
    (void)state;
    hf_store *store = open_store(HF_CREATE_NEW, 0);
    fill(store, 0, 2000, 5000, 1);
    hf_txn *txn;
    assert_ok(hf_begin(store, &txn));
    for (int i = 1000; i < 2000; i++) {
        char name[32];
        snprintf(name, sizeof name, "object/%06d", i);
        assert_ok(hf_destroy(txn, name));
    }
    assert_ok(hf_commit(txn));
    unlink("copy.hf");
    assert_ok(hf_save_as(store, "copy.hf", 0));
    assert_ok(hf_close(store));
    assert_ok(hf_shrink_to_fit(path));
    assert_ok(hf_check_file(path, NULL, NULL));
    assert_ok(hf_grow(path, 20 << 20));
    assert_ok(hf_check_file(path, NULL, NULL));
    assert_ok(hf_check_file("copy.hf", NULL, NULL));
    store = open_store(HF_OPEN_EXISTING, 0);
    fill(store, 1000, 4000, 5000, 7);
    assert_ok(hf_close(store));
    hf_check_report report;
    assert_ok(hf_check_file(path, NULL, &report));
    assert_true(report.pages_compared > 4000);
}

/* ---- rot ------------------------------------------------------------------------------------- */

static struct {
    char rule[32], text[256];
    uint64_t offset, count;
} told;

static void on_finding(void *user, const hf_finding *finding)
{
    (void)user;
    snprintf(told.rule, sizeof told.rule, "%s", finding->rule);
    snprintf(told.text, sizeof told.text, "%s", finding->expected);
    told.offset = finding->offset;
    told.count++;
}

static void flip(uint64_t file_offset)
{
    unsigned char byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)file_offset), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)file_offset), 1);
    close(fd);
}

static hf_ref place_of(const char *name)
{
    hf_store *store = open_store(HF_READ_ONLY, 0);
    hf_view *view;
    assert_ok(hf_view_begin(store, &view));
    const void *p = hf_find(view, name, NULL, NULL);
    assert_got(p);
    hf_ref at = hf_ref_of(view, p);
    hf_view_end(view);
    assert_ok(hf_close(store));
    return at;
}

static void expect_rot(const char *rule, uint64_t offset, const char *text)
{
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    options.on_finding = on_finding;
    memset(&told, 0, sizeof told);
    assert_int_equal(hf_check_file(path, &options, NULL), HF_ECORRUPT);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.rule, rule);
    assert_int_equal(told.offset, offset);
    assert_non_null(strstr(told.text, text));
    memset(&told, 0, sizeof told);
    hf_store *store = open_store(HF_READ_ONLY, 0);
    hf_verify_report report;
    assert_int_equal(hf_verify(store, &options, &report), HF_ECORRUPT);
    assert_int_equal(report.pages_rotten + report.table_rotten, 1);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.rule, rule);
    assert_ok(hf_close(store));
}

static void make_rotten_store(uint32_t engine)
{
    hf_store *store = open_store(HF_CREATE_NEW, engine);
    fill(store, 0, 100, 100000, 5);
    assert_ok(hf_close(store));
}

static void rot_in_an_object(uint32_t engine, const char *name)
{
    make_rotten_store(engine);
    const hf_ref at = place_of(name) + 50000;
    flip(hf__file_offset(at));
    char quoted[64];
    snprintf(quoted, sizeof quoted, "'%s'", name);
    expect_rot("page.checksum", at / 4096 * 4096, quoted);
    flip(hf__file_offset(at));
    assert_ok(hf_check_file(path, NULL, NULL));
}

static void test_pages_rot_in_users_bytes_is_named(void **state)
{
    (void)state;
    rot_in_an_object(HF_ENGINE_LOG, "object/000007"); /* in the first span */
}

static void test_pages_rot_in_the_second_span(void **state)
{
    (void)state;
    rot_in_an_object(HF_ENGINE_LOG, "object/000097");
    assert_true(place_of("object/000097") > 1 << HF__SPAN_BITS);
}

static void test_pages_rot_on_the_direct_engine(void **state)
{
    (void)state;
    rot_in_an_object(HF_ENGINE_DIRECT, "object/000050");
}

static void test_pages_rot_in_the_table(void **state)
{
    (void)state;
    unsigned slot;
    uint64_t number;
    make_rotten_store(HF_ENGINE_LOG);
    const uint64_t sector = hf__table_sector(100, &slot, &number);
    flip(sector + 70);
    expect_rot("page.table", sector, "sector");
}

static void test_pages_swapped(void **state)
{
    (void)state;
    unsigned char a[4096], b[4096];
    make_rotten_store(HF_ENGINE_LOG);
    const uint64_t at = hf__file_offset(place_of("object/000007") / 4096 * 4096 + 8192);
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, a, sizeof a, (off_t)at), sizeof a);
    /* All the pages inside an object are alike here, so one byte is made different first. */
    close(fd);
    hf_store *store = open_store(HF_OPEN_EXISTING, 0);
    hf_txn *txn;
    assert_ok(hf_begin(store, &txn));
    char *p = hf_find_or_construct(txn, "object/000007", NULL, 100000, NULL);
    assert_got(p);
    p[8192] = 'x';
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, a, sizeof a, (off_t)at), sizeof a);
    assert_int_equal(pread(fd, b, sizeof b, (off_t)at + 4096), sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(pwrite(fd, b, sizeof b, (off_t)at), sizeof b);
    assert_int_equal(pwrite(fd, a, sizeof a, (off_t)at + 4096), sizeof a);
    close(fd);
    hf_check_report report;
    assert_int_equal(hf_check_file(path, NULL, &report), HF_ECORRUPT);
    assert_int_equal(report.pages_rotten, 2);
}

static void test_pages_repair_accepts_what_is_there(void **state)
{
    (void)state;
    make_rotten_store(HF_ENGINE_LOG);
    flip(hf__file_offset(place_of("object/000007") + 50000));
    hf_check_report report;
    assert_int_equal(hf_check_file(path, NULL, &report), HF_ECORRUPT);
    assert_int_equal(report.pages_rotten, 1);
    assert_ok(hf_repair_file(path, NULL, &report));
    assert_int_equal(report.repaired, 1);
    assert_ok(hf_check_file(path, NULL, NULL));
}

/* What is repaired is a copy, which takes the name: it has what the old file had beside its bytes. */
static void test_pages_repair_keeps_owner_mode_and_attributes(void **state)
{
    (void)state;
    struct stat st;
    char value[8] = "";
    const bool root = geteuid() == 0;
    make_rotten_store(HF_ENGINE_LOG);
    flip(hf__file_offset(place_of("object/000007") + 50000));
    assert_int_equal(chmod(path, 0640), 0);
    if (root)
        assert_int_equal(chown(path, 65534, 65533), 0);
    const bool attribute = setxattr(path, "user.note", "kept", 4, 0) == 0;
    assert_int_equal(stat(path, &st), 0);
    const ino_t old = st.st_ino;
    assert_ok(hf_repair_file(path, NULL, NULL));
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_ino != old);
    assert_int_equal(st.st_mode, S_IFREG | 0640);
    if (root)
        assert_true(st.st_uid == 65534 && st.st_gid == 65533);
    if (!attribute)
        skip(); /* this file system has none */
    assert_int_equal(getxattr(path, "user.note", value, sizeof value), 4);
    assert_memory_equal(value, "kept", 4);
}

/* A sound store but for that many pointers that lead nowhere. */
static void make_dangling_store(size_t count)
{
    static const hf_field to_anything[] = {{0, HF_FIELD_REF, NULL}};
    static const hf_type type = {"dangles", 1, 8, 8, 0, to_anything, 1};
    hf_txn *txn;
    make_rotten_store(HF_ENGINE_LOG);
    hf_store *store = open_store(HF_OPEN_EXISTING, 0);
    assert_ok(hf_begin(store, &txn));
    hf_ref *refs = hf_construct(txn, "dangles", &type, count);
    assert_got(refs);
    void *nothing = hf_alloc(txn, 64);
    assert_got(nothing);
    for (size_t i = 0; i < count; i++)
        refs[i] = hf_ref_of(hf_txn_view(txn), nothing);
    assert_ok(hf_commit(txn));
    assert_ok(hf_begin(store, &txn));
    hf_free(txn, hf_at(hf_txn_view(txn), *(const hf_ref *)hf_find(hf_txn_view(txn), "dangles", &type,
                                                                   NULL)));
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
}

/* No repair mends pointers; they don't keep it from mending the rest. */
static void test_pages_repair_beside_a_dangling_pointer(void **state)
{
    (void)state;
    hf_check_options structures = HF_CHECK_OPTIONS_INIT;
    hf_check_report report;
    make_dangling_store(1);
    structures.flags = HF_CHECK_NO_POINTERS;
    assert_int_equal(hf_check_file(path, NULL, NULL), HF_ECORRUPT);
    assert_ok(hf_check_file(path, &structures, NULL));
    flip(hf__file_offset(place_of("object/000007") + 50000));
    assert_int_equal(hf_check_file(path, &structures, NULL), HF_ECORRUPT);
    assert_int_equal(hf_repair_file(path, NULL, &report), HF_ECORRUPT);
    assert_int_equal(report.findings, 1);
    assert_ok(hf_check_file(path, &structures, NULL));
}

static void on_rotten_page(void *user, const hf_finding *finding)
{
    *(uint64_t *)user += strcmp(finding->rule, "page.checksum") == 0;
    told.count++;
}

/* What a repair lets be as it is it tells of, however much else there is to tell. */
static void test_pages_repair_tells_of_rot_behind_many_findings(void **state)
{
    (void)state;
    static const uint64_t most[] = {0, 1, 5};
    for (size_t i = 0; i < sizeof most / sizeof most[0]; i++) {
        uint64_t rotten = 0;
        hf_check_options options = HF_CHECK_OPTIONS_INIT;
        hf_check_report report;
        make_dangling_store(1500);
        flip(hf__file_offset(place_of("object/000007") + 50000));
        options.on_finding = on_rotten_page;
        options.user = &rotten;
        options.findings_max = most[i];
        memset(&told, 0, sizeof told);
        assert_int_equal(hf_repair_file(path, &options, &report), HF_ECORRUPT);
        assert_int_equal(rotten, 1);
        assert_int_equal(report.accepted, 1);
        assert_int_equal(told.count, most[i] == 0 ? 1001 : most[i] + 1);
        unlink(path);
    }
}

/* Who doesn't want to hear of pointers needn't have a store repaired that has nothing else. */
static void test_pages_repair_leaves_dangling_pointers_alone(void **state)
{
    (void)state;
    struct stat before, after;
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    hf_check_report report;
    make_dangling_store(3);
    options.flags = HF_CHECK_NO_POINTERS;
    assert_int_equal(stat(path, &before), 0);
    assert_ok(hf_repair_file(path, &options, &report));
    assert_int_equal(report.repaired, 0);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
}

/* Commits and dies. */
static void commit_and_die(struct child *self, void *argument)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    (void)self;
    (void)argument;
    if (hf_open(path, &options, &store) == 0) {
        fill(store, 90, 110, 100000, 9);
        raise(SIGKILL);
    }
}

/* An unrecovered store: what its log touches is left out, all else is compared, nothing is written. */
static void test_pages_of_a_store_that_was_not_closed(void **state)
{
    (void)state;
    make_rotten_store(HF_ENGINE_LOG);
    struct child child = child_start(commit_and_die, NULL);
    child_join_killed(&child, SIGKILL);
    hf_check_report report;
    assert_ok(hf_check_file(path, NULL, &report));
    assert_true(report.replayed_commits != 0);
    assert_true(report.pages_newer != 0);
    assert_true(report.pages_compared > 1000);
    flip(hf__file_offset((UINT64_C(5) << 20)));
    assert_int_equal(hf_check_file(path, NULL, &report), HF_ECORRUPT);
    assert_int_equal(report.pages_rotten, 1);
    flip(hf__file_offset((UINT64_C(5) << 20)));
    hf_store *store = open_store(HF_OPEN_EXISTING, 0);
    assert_int_equal(verify(store).pages_newer, 0);
    assert_ok(hf_close(store));
}

/* ---- where things lie ------------------------------------------------------------------------ */

static void test_pages_places_dont_overlap(void **state)
{
    (void)state;
    uint64_t end = HF__SEGMENT_OFFSET, file = 0;
    for (unsigned span = 0; span < HF__SPANS; span++) {
        const uint64_t start = hf__span_start(span);
        unsigned slot;
        uint64_t number, last;
        const uint64_t first_sector = hf__table_sector(start / 4096, &slot, &number);
        assert_int_equal(slot, 0);
        const uint64_t last_sector =
            hf__table_sector(hf__span_end(span) / 4096 - 1, &slot, &last);
        const uint64_t at = hf__file_offset(start);
        assert_true(span == 0 ? first_sector == 8192 : first_sector >= end);
        assert_true(last_sector + 512 <= at);
        assert_int_equal(at % 65536, 0);
        assert_int_equal(hf__span_of(start), span);
        assert_int_equal(hf__span_of(hf__span_end(span) - 1), span);
        end = at + (hf__span_end(span) - start);
        assert_int_equal(hf__file_bytes(hf__span_end(span)), end);
        assert_int_equal(hf__backed_bytes(end), hf__span_end(span));
        assert_int_equal(hf__backed_bytes(at), start);
        assert_true(end > file);
        file = end;
    }
    assert_int_equal(hf__span_end(HF__SPANS - 1), UINT64_C(1) << 47);
    for (uint64_t size = 4096; size < UINT64_C(1) << 40; size += size / 3 / 4096 * 4096 + 4096)
        assert_int_equal(hf__backed_bytes(hf__file_bytes(size)), size);
}

/* Neither outside a transaction nor inside one, where memory is copied, is a rotten page given the checksum
 * of its rot. */
static void test_rot_is_not_saved_as(void **state)
{
    (void)state;
    hf_txn *txn;
    make_rotten_store(0);
    const hf_ref at = place_of("object/000050");
    unlink("copy.hf");
    flip(hf__file_offset(at + 50000));
    hf_store *store = open_store(HF_OPEN_EXISTING, 0);
    for (int inside = 0; inside < 2; inside++) {
        if (inside) {
            fill(store, 100, 101, 100000, 6); /* so that there is a log, too */
            assert_ok(hf_begin(store, &txn));
            assert_got(hf_construct(txn, "new", NULL, 300000));
        }
        assert_code(hf_save_as(store, "copy.hf", 0), HF_ECORRUPT);
        assert_non_null(strstr(hf_last_error()->message, "page.checksum"));
        assert_non_null(strstr(hf_last_error()->message, "object/000050"));
        assert_int_equal(access("copy.hf", F_OK), -1);
        if (inside)
            hf_abort(txn);
    }
    assert_ok(hf_begin(store, &txn)); /* written anew it is what it is */
    void *all = hf_edit(txn, hf_find(hf_txn_view(txn), "object/000050", NULL, NULL), 100000);
    assert_got(all);
    memset(all, 5, 100000);
    assert_ok(hf_commit(txn));
    assert_ok(hf_sync(store));
    assert_ok(hf_close(store));
    store = open_store(HF_OPEN_EXISTING, 0);
    assert_ok(hf_begin(store, &txn));
    unsigned char *mine = hf_construct(txn, "mine", NULL, 300000);
    assert_got(mine);
    memset(mine, 9, 300000);
    assert_ok(hf_save_as(store, "copy.hf", 0)); /* what the transaction shows */
    hf_abort(txn);
    assert_ok(hf_close(store));
    assert_ok(hf_check_file("copy.hf", NULL, NULL));
    hf_view *view;
    assert_ok(hf_open("copy.hf", NULL, &store));
    assert_ok(hf_view_begin(store, &view));
    const unsigned char *seen = hf_find(view, "mine", NULL, NULL);
    assert_got(seen);
    assert_int_equal(seen[299999], 9);
    hf_view_end(view);
    assert_ok(hf_close(store));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup(f, start)
    const struct CMUnitTest tests[] = {
        CASE(test_pages_of_a_new_store),
        CASE(test_pages_since_a_checkpoint_are_newer),
        CASE(test_pages_of_a_large_transaction),
        CASE(test_pages_of_the_direct_engine),
        CASE(test_pages_after_growing_shrinking_and_save_as),
        CASE(test_pages_rot_in_users_bytes_is_named),
        CASE(test_pages_rot_in_the_second_span),
        CASE(test_pages_rot_on_the_direct_engine),
        CASE(test_pages_rot_in_the_table),
        CASE(test_pages_swapped),
        CASE(test_pages_repair_accepts_what_is_there),
        CASE(test_pages_repair_keeps_owner_mode_and_attributes),
        CASE(test_pages_repair_beside_a_dangling_pointer),
        CASE(test_pages_repair_tells_of_rot_behind_many_findings),
        CASE(test_pages_repair_leaves_dangling_pointers_alone),
        CASE(test_pages_of_a_store_that_was_not_closed),
        CASE(test_pages_places_dont_overlap),
        CASE(test_rot_is_not_saved_as),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
