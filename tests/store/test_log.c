/* SPDX-License-Identifier: MIT */
/*
 * test_log.c - the log files beside a store: missing, another store's, of another time, cut short;
 * and openers that may not write
 *
 * A child leaves a store that was not closed; the tests then do to its files what people do.
 */
#include "store_fixture.h"

#include "base/os.h"
#include "store/store.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[PATH_BYTES], other[PATH_BYTES], kept[PATH_BYTES];

static int fresh(void **state)
{
    (void)state;
    fixture_path(path, fixture_disk_directory(), "log.hf");
    fixture_path(other, fixture_disk_directory(), "other.hf");
    fixture_path(kept, fixture_disk_directory(), "kept.hf");
    return 0;
}

static int clean(void **state)
{
    (void)state;
    static char *const paths[] = {path, other, kept};
    int code = 0;
    for (size_t i = 0; i < 3; i++) {
        if (fixture_exists(paths[i]) && hf_remove(paths[i]) != 0)
            code = -1;
    }
    return code;
}

static const char *with_suffix(char out[PATH_BYTES + 8], const char *name, const char *suffix)
{
    snprintf(out, PATH_BYTES + 8, "%s%s", name, suffix);
    return out;
}

static void unlink_logs(const char *name)
{
    char file[PATH_BYTES + 8];
    unlink(with_suffix(file, name, "-log0"));
    unlink(with_suffix(file, name, "-log1"));
}

static void copy_logs(const char *from, const char *to)
{
    char a[PATH_BYTES + 8], b[PATH_BYTES + 8];
    fixture_copy_file(with_suffix(a, from, "-log0"), with_suffix(b, to, "-log0"));
    fixture_copy_file(with_suffix(a, from, "-log1"), with_suffix(b, to, "-log1"));
}

/* Commits 1 to 3 as "v" and dies. */
static void dies(struct child *self, void *argument)
{
    (void)self;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    options.allocator = HF_ALLOC_BEST_FIT; /* so that each record is a block of the log */
    options.size_initial_bytes = 256 << 10;
    options.size_max_bytes = (uint64_t)64 << 20;
    child_expect(hf_open(argument, &options, &store) == 0);
    for (int64_t i = 1; i <= 3; i++) {
        child_expect(hf_begin(store, &txn) == 0);
        int64_t *p = hf_find_or_construct(txn, "v", &value_type, 1, NULL);
        child_expect(p != NULL);
        *p = i;
        child_expect(hf_commit(txn) == 0);
    }
    raise(SIGKILL);
}

static void leave_unclosed(char *name)
{
    struct child child = child_start(dies, name);
    child_join_killed(&child, SIGKILL);
    assert_true(fixture_sidecar_exists(name, "-log0"));
}

static void expect_refused(const char *name, int code)
{
    static const uint32_t modes[] = {HF_OPEN_OR_CREATE, HF_OPEN_EXISTING, HF_READ_ONLY,
                                     HF_COPY_ON_WRITE};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        assert_code(fixture_open_code(name, modes[i]), code);
    assert_code(hf_grow(name, 4096), code);
    assert_code(hf_shrink_to_fit(name), code);
}

static void expect_recovered(const char *name)
{
    hf_store *store = fixture_open(name, HF_OPEN_EXISTING);
    hf_recovery recovery;
    assert_ok(hf_recovery_info(store, &recovery));
    assert_int_equal(recovery.replayed_commits, 3);
    assert_int_equal(fixture_get(store, "v"), 3);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
    assert_false(fixture_any_sidecar_exists(name));
}

static void test_missing_log_is_elogmissing(void **state)
{
    (void)state;
    leave_unclosed(path);
    fixture_copy_file(path, kept);
    copy_logs(path, kept);
    unlink_logs(path);
    expect_refused(path, HF_ELOGMISSING);
    copy_logs(kept, path); /* found again: all is well */
    expect_recovered(path);
}

static void test_store_copied_without_its_log_is_refused(void **state)
{
    (void)state;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    fixture_set(store, "v", 1);
    fixture_copy_file(path, kept); /* while it is open */
    assert_ok(hf_close(store));
    expect_refused(kept, HF_ELOGMISSING);
    fixture_copy_file(path, kept); /* and closed */
    store = fixture_open(kept, HF_OPEN_EXISTING);
    assert_int_equal(fixture_get(store, "v"), 1);
    assert_ok(hf_close(store));
}

static void test_log_of_another_store_is_elogforeign(void **state)
{
    (void)state;
    leave_unclosed(path);
    leave_unclosed(other);
    copy_logs(path, kept);
    copy_logs(other, path);
    expect_refused(path, HF_ELOGFOREIGN);
    copy_logs(kept, path);
    expect_recovered(path);
    unlink_logs(kept);
}

/* The same store, opened and left twice: the first log is not the second's. */
static void test_log_of_an_earlier_use_is_elogforeign(void **state)
{
    (void)state;
    leave_unclosed(path);
    copy_logs(path, kept);
    expect_recovered(path);
    leave_unclosed(path);
    copy_logs(kept, path);
    expect_refused(path, HF_ELOGFOREIGN);
    unlink_logs(kept);
}

/* Logs beside a store that says it is closed are leftovers. */
static void test_log_beside_a_closed_store_is_not_looked_at(void **state)
{
    (void)state;
    leave_unclosed(path);
    copy_logs(path, kept);
    expect_recovered(path);
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    fixture_set(store, "v", 9);
    assert_ok(hf_close(store));
    copy_logs(kept, path);
    store = fixture_open(path, HF_READ_ONLY);
    assert_int_equal(fixture_get(store, "v"), 9);
    assert_ok(hf_close(store));
    store = fixture_open(path, HF_OPEN_EXISTING);
    assert_int_equal(fixture_get(store, "v"), 9);
    assert_ok(hf_close(store));
    assert_false(fixture_any_sidecar_exists(path));
    unlink_logs(kept);
}

/* ---- killed while it said that it was closed -------------------------------------------------- */

static hf_store *closing;
static char events[16]; /* W the data file written, S synced, U a log file unlinked               */

static void note(char event)
{
    const size_t length = strlen(events);
    if (length + 1 < sizeof events && (length == 0 || events[length - 1] != event))
        events[length] = event;
}

static int dies_in_fdatasync(int fd)
{
    struct hf__file_header header;
    if (fd == closing->fd && hf__header_read(fd, "", true, &header) == 0 &&
        header.state == HF__STATE_CLEAN)
        raise(SIGKILL);
    return fdatasync(fd);
}

static void close_and_die(void)
{
    static struct hf__os os;
    os = hf__os_system;
    os.fdatasync = dies_in_fdatasync;
    hf__os = &os;
    hf_close(closing);
}

static void dies_as_it_closes(struct child *self, void *argument)
{
    (void)self;
    closing = fixture_open(argument, HF_CREATE_NEW);
    fixture_set(closing, "v", 1);
    close_and_die();
}

static void dies_beside_a_reader(struct child *self, void *argument)
{
    closing = fixture_open(argument, HF_CREATE_NEW);
    fixture_set(closing, "v", 1);
    child_signal(self);
    child_expect(child_wait(self)); /* until it is there */
    close_and_die();
}

static bool is_data(int fd)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino;
}

static ssize_t noted_pwrite(int fd, const void *buffer, size_t size_bytes, off_t offset)
{
    if (is_data(fd))
        note('W');
    return pwrite(fd, buffer, size_bytes, offset);
}

static int noted_fdatasync(int fd)
{
    if (is_data(fd))
        note('S');
    return fdatasync(fd);
}

static int noted_unlink(const char *name)
{
    if (strstr(name, "-log") != NULL)
        note('U');
    return unlink(name);
}

/* Opens for writing; what that does to the data file and the logs is in `events` afterwards. */
static hf_store *open_noted(void)
{
    static struct hf__os os;
    memset(events, 0, sizeof events);
    os = hf__os_system;
    os.pwrite = noted_pwrite;
    os.fdatasync = noted_fdatasync;
    os.unlink = noted_unlink;
    hf__os = &os;
    return fixture_open(path, HF_OPEN_EXISTING);
}

/* Who opens it writes "clean" again and syncs that, and only then lets the logs go. */
static void assert_settled_before_unlinked(void)
{
    hf_store *store = open_noted();
    hf__os = &hf__os_system;
    assert_string_equal(events, "WSU");
    assert_int_equal(fixture_get(store, "v"), 1);
    assert_ok(hf_close(store));
}

/* On the disk the header may ask for the log still: it mustn't go before "clean" is there. */
static void test_log_stays_until_the_header_is_known_to_say_clean(void **state)
{
    (void)state;
    struct child child = child_start(dies_as_it_closes, path);
    child_join_killed(&child, SIGKILL);
    assert_true(fixture_sidecar_exists(path, "-log0"));
    assert_settled_before_unlinked();
}

static void writes_and_leaves(struct child *self, void *argument)
{
    (void)self;
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    if (argument != NULL)
        fixture_set(store, "v", 2);
    child_expect(hf_close(store) == 0);
}

/* A reader that leaves last can't write "clean" again, so the logs wait for a writer. */
static void test_reader_leaves_the_log_beside_a_header_that_says_clean(void **state)
{
    (void)state;
    struct child child = child_start(dies_as_it_closes, path);
    child_join_killed(&child, SIGKILL);
    for (int i = 0; i < 2; i++) {
        hf_store *reader = fixture_open(path, HF_READ_ONLY);
        assert_int_equal(fixture_get(reader, "v"), 1);
        assert_ok(hf_close(reader));
        assert_true(fixture_sidecar_exists(path, "-log0"));
        assert_true(fixture_sidecar_exists(path, "-log1"));
        assert_false(fixture_sidecar_exists(path, "-lock"));
    }
    assert_settled_before_unlinked();
    assert_false(fixture_any_sidecar_exists(path));
}

/* The same beside a reader: a writer that comes and goes settles it, with or without a commit. */
static void test_writer_beside_a_reader_settles_the_log_for_it(void **state)
{
    (void)state;
    for (int commits = 0; commits < 2; commits++) {
        struct child child = child_start(dies_as_it_closes, path);
        child_join_killed(&child, SIGKILL);
        hf_store *reader = fixture_open(path, HF_READ_ONLY);
        child_run(writes_and_leaves, commits ? path : NULL);
        assert_true(fixture_sidecar_exists(path, "-log0"));
        assert_int_equal(fixture_get(reader, "v"), commits ? 2 : 1);
        assert_ok(hf_close(reader));
        assert_false(fixture_any_sidecar_exists(path));
        assert_ok(hf_remove(path));
    }
}

static void says_clean_again(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    hf_store *store = open_noted();
    child_expect(hf_close(store) == 0);
    child_expect(strcmp(events, "WS") == 0);
}

/* The table of a reader that stays says "marked", of a writer that died in the sync of "clean" too:
 * the next one writes that again before anything goes. */
static void test_next_writer_says_clean_again_for_one_that_died_beside_a_reader(void **state)
{
    (void)state;
    struct child child = child_start(dies_beside_a_reader, path);
    assert_true(child_wait(&child));
    hf_store *reader = fixture_open(path, HF_READ_ONLY);
    child_signal(&child);
    child_join_killed(&child, SIGKILL);
    child_run(says_clean_again, NULL);
    assert_ok(hf_close(reader));
    assert_false(fixture_any_sidecar_exists(path));
}

/* ---- where a store through a mapping may meet a full disk -------------------------------------- */

static unsigned mapped_writes; /* mappings through which the data file could be written, and stores */

static int says_btrfs(int fd, uint64_t *out)
{
    (void)fd;
    *out = 0x9123683e;
    return 0;
}

static void *counted_mmap(void *address, size_t size_bytes, int protection, int flags, int fd,
                          off_t offset)
{
    if (fd >= 0 && is_data(fd) && (protection & PROT_WRITE) != 0 && (flags & MAP_SHARED) != 0)
        mapped_writes++;
    return mmap(address, size_bytes, protection, flags, fd, offset);
}

static void counted_store(void *to, const void *from, size_t size_bytes)
{
    mapped_writes++;
    memcpy(to, from, size_bytes);
}

/* 300 blocks of 64 KiB, each of one byte, in a transaction; every third freed again in it. */
static void load_blocks(hf_store *store, hf_ref refs[300], int byte)
{
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    for (int i = 0; i < 300; i++) {
        unsigned char *block = hf_alloc(txn, 65536);
        assert_got(block);
        memset(block, byte + i % 7, 65536);
        refs[i] = hf_ref_of(hf_txn_view(txn), block);
    }
    for (int i = 2; i < 300; i += 3)
        hf_free(txn, hf_at(hf_txn_view(txn), refs[i]));
    assert_ok(hf_commit(txn));
}

static void expect_blocks(hf_store *store, const hf_ref refs[300], int byte)
{
    hf_view *view = NULL;
    assert_ok(hf_view_begin(store, &view));
    for (int i = 0; i < 300; i++) {
        const unsigned char *block = i % 3 == 2 ? NULL : hf_at(view, refs[i]);
        if (block != NULL)
            assert_true(block[0] == byte + i % 7 && block[65535] == byte + i % 7);
    }
    hf_view_end(view);
}

/* What is written in place still passes the log by. */
static void test_log_writes_nothing_through_mappings_where_a_disk_may_be_full(void **state)
{
    (void)state;
    static hf_ref first[300], second[300];
    static struct hf__os os;
    os = hf__os_system;
    os.fs_type = says_btrfs;
    os.mmap = counted_mmap;
    os.store = os.store_past = counted_store;
    hf__os = &os;
    mapped_writes = 0;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    hf_log_state info;
    hf_txn *txn = NULL;
    options.size_initial_bytes = 1 << 20;
    options.size_max_bytes = (uint64_t)256 << 20;
    assert_ok(hf_open(path, &options, &store));
    load_blocks(store, first, 10);
    assert_ok(hf_log_info(store, &info));
    assert_true(info.end_bytes < 4 << 20); /* of 19 MiB */
    expect_blocks(store, first, 10);
    assert_ok(hf_begin(store, &txn)); /* an abort leaves nothing behind */
    memset(hf_alloc(txn, 8 << 20), 99, 8 << 20);
    hf_abort(txn);
    load_blocks(store, second, 20);
    expect_blocks(store, first, 10);
    expect_blocks(store, second, 20);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
    hf__os = &hf__os_system;
    assert_int_equal(mapped_writes, 0);
    store = fixture_open(path, HF_OPEN_EXISTING);
    expect_blocks(store, first, 10);
    expect_blocks(store, second, 20);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

static unsigned char *bytes_of(const char *name, size_t *size_bytes)
{
    *size_bytes = (size_t)fixture_file_bytes(name);
    unsigned char *bytes = malloc(*size_bytes + 1);
    FILE *file = fopen(name, "rb");
    assert_non_null(bytes);
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, *size_bytes, file), *size_bytes);
    fclose(file);
    return bytes;
}

static void expect_same_file(const char *name, const char *suffix)
{
    char a[PATH_BYTES + 8], b[PATH_BYTES + 8];
    size_t size_a, size_b;
    unsigned char *bytes_a = bytes_of(with_suffix(a, name, suffix), &size_a);
    unsigned char *bytes_b = bytes_of(with_suffix(b, kept, suffix), &size_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(bytes_a, bytes_b, size_a);
    free(bytes_a);
    free(bytes_b);
}

static void test_openers_that_dont_write_show_the_last_commit_and_change_no_byte(void **state)
{
    (void)state;
    static const uint32_t modes[] = {HF_READ_ONLY, HF_COPY_ON_WRITE};
    leave_unclosed(path);
    fixture_copy_file(path, kept);
    copy_logs(path, kept);
    for (size_t i = 0; i < 2; i++) {
        hf_store *store = fixture_open(path, modes[i]);
        hf_recovery recovery;
        assert_int_equal(fixture_get(store, "v"), 3);
        assert_ok(hf_recovery_info(store, &recovery));
        assert_true(recovery.replayed_commits >= 3);
        fixture_assert_sound(store);
        if (modes[i] == HF_COPY_ON_WRITE) {
            fixture_set(store, "v", 50);
            assert_int_equal(fixture_get(store, "v"), 50);
        }
        assert_ok(hf_close(store));
        expect_same_file(path, "");
        expect_same_file(path, "-log0");
        expect_same_file(path, "-log1");
    }
    hf_check_report report;
    assert_ok(hf_check_file(path, NULL, &report));
    assert_int_equal(report.replayed_commits, 3);
    expect_same_file(path, "");
    expect_recovered(path);
    unlink_logs(kept);
}

/* A record that was acknowledged can't be read any more: nobody pretends otherwise. */
static void test_damage_before_an_acknowledged_record_is_ecorrupt(void **state)
{
    (void)state;
    char name[PATH_BYTES + 8];
    leave_unclosed(path);
    with_suffix(name, path, "-log0");
    if (fixture_file_bytes(name) < 5 * 4096) /* the active one is that of epoch % 2 == 0 */
        with_suffix(name, path, "-log1");
    fixture_patch(name, 2 * 4096 + 200, "damage", 6); /* in the second record */
    assert_code(fixture_open_code(path, HF_OPEN_EXISTING), HF_ECORRUPT);
    assert_code(fixture_open_code(path, HF_READ_ONLY), HF_ECORRUPT);
}

/* The data file shows the third commit: records one and two over it would make a mixture. */
static void test_log_that_ends_before_what_the_store_shows_is_ecorrupt(void **state)
{
    (void)state;
    char name[PATH_BYTES + 8];
    leave_unclosed(path);
    fixture_copy_file(path, kept);
    copy_logs(path, kept);
    assert_int_equal(truncate(with_suffix(name, path, "-log0"), 3 * 4096), 0);
    expect_refused(path, HF_ECORRUPT);
    expect_same_file(path, "");
    copy_logs(kept, path);
    expect_recovered(path);
    unlink_logs(kept);
}

/* As `dies`, but a view keeps what is committed from being applied. */
static void dies_reading(struct child *self, void *argument)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    uint32_t slot;
    (void)self;
    options.allocator = HF_ALLOC_BEST_FIT;
    child_expect(hf_open(argument, &options, &store) == 0);
    fixture_set(store, "v", 1);
    child_expect(hf__reader_enter(&store->locks, HF__NO_DEADLINE, false, &slot) == 0);
    fixture_set(store, "v", 2);
    fixture_set(store, "v", 3);
    raise(SIGKILL);
}

/* The last record's death is that of a commit nobody was told of, as far as the files know. */
static void test_log_ends_before_a_torn_last_record(void **state)
{
    (void)state;
    char name[PATH_BYTES + 8];
    struct child child = child_start(dies_reading, path);
    child_join_killed(&child, SIGKILL);
    fixture_patch(with_suffix(name, path, "-log0"), 3 * 4096 + 200, "damage", 6);
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    assert_int_equal(fixture_get(store, "v"), 2);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

/* ---- chunks above the used end ---------------------------------------------------------------- */

enum { SLOTS = 3000, SLOT_BYTES = 64 }; /* several chunks of the largest size, the last at the end */

static void free_slots(hf_store *store, const hf_ref *refs, unsigned from, unsigned to)
{
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn));
    for (unsigned i = from; i < to; i++)
        hf_free(txn, hf_at(hf_txn_view(txn), refs[i]));
    assert_ok(hf_commit(txn));
}

/* A chunk that is dropped at the end leaves no line in the log: what is above the used end isn't
 * logged. Its record, still true in the file, mustn't be believed when the space is used again, by
 * this process or by one whose pages are the file's. */
static void test_chunks_dropped_at_the_end_stay_dropped(void **state)
{
    (void)state;
    static hf_ref refs[SLOTS];
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    options.allocator = HF_ALLOC_SLAB;
    options.size_initial_bytes = 1 << 20;
    options.size_max_bytes = (uint64_t)64 << 20;
    assert_ok(hf_open(path, &options, &store));
    assert_ok(hf_begin(store, &txn));
    for (unsigned i = 0; i < SLOTS; i++)
        refs[i] = hf_ref_of(hf_txn_view(txn), hf_alloc(txn, SLOT_BYTES));
    assert_ok(hf_commit(txn));
    assert_ok(hf_sync(store));
    free_slots(store, refs, 0, SLOTS);
    assert_ok(hf_close(store)); /* with the private pages that show what isn't logged */
    store = fixture_open(path, HF_OPEN_EXISTING);
    assert_ok(hf_begin(store, &txn));
    hf_ref bulk = hf_ref_of(hf_txn_view(txn), hf_alloc(txn, 1024)), large[64];
    for (unsigned i = 0; i < 64; i++)
        large[i] = hf_ref_of(hf_txn_view(txn), hf_alloc(txn, 4000)); /* nothing is written there */
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    store = fixture_open(path, HF_OPEN_EXISTING);
    fixture_assert_sound(store);
    assert_ok(hf_begin(store, &txn));
    for (unsigned i = 0; i < 64; i++)
        hf_free(txn, hf_at(hf_txn_view(txn), large[i]));
    hf_free(txn, hf_at(hf_txn_view(txn), bulk));
    assert_ok(hf_commit(txn));
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

/* Nor by who works on a private copy of such a file: nothing goes through the log there. The blocks are not
 * written, so that what the file has stays there. */
static void test_chunks_dropped_at_the_end_stay_dropped_in_a_private_copy(void **state)
{
    (void)state;
    enum { MANY = 3000, BYTES = 320, BLOCK_BYTES = 120000 };
    static hf_ref refs[MANY];
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    hf_txn *txn = NULL;
    options.allocator = HF_ALLOC_SLAB;
    assert_ok(hf_open(path, &options, &store));
    assert_ok(hf_begin(store, &txn));
    for (unsigned i = 0; i < MANY; i++)
        refs[i] = hf_ref_of(hf_txn_view(txn), hf_alloc(txn, BYTES));
    assert_ok(hf_commit(txn));
    assert_ok(hf_sync(store));
    free_slots(store, refs, 0, MANY / 5);
    free_slots(store, refs, MANY / 5, MANY);
    assert_ok(hf_close(store));
    store = fixture_open(path, HF_COPY_ON_WRITE);
    assert_ok(hf_begin(store, &txn));
    for (unsigned i = 0; i < 6; i++) {
        void *block = hf_alloc_aligned(txn, BLOCK_BYTES, 65536);
        assert_got(block);
        assert_true(hf_usable_bytes(hf_txn_view(txn), block) >= BLOCK_BYTES);
        hf_free(txn, block);
    }
    assert_ok(hf_commit(txn));
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_missing_log_is_elogmissing),
        TEST(test_store_copied_without_its_log_is_refused),
        TEST(test_log_of_another_store_is_elogforeign),
        TEST(test_log_of_an_earlier_use_is_elogforeign),
        TEST(test_log_beside_a_closed_store_is_not_looked_at),
        TEST(test_log_stays_until_the_header_is_known_to_say_clean),
        TEST(test_reader_leaves_the_log_beside_a_header_that_says_clean),
        TEST(test_writer_beside_a_reader_settles_the_log_for_it),
        TEST(test_next_writer_says_clean_again_for_one_that_died_beside_a_reader),
        TEST(test_log_writes_nothing_through_mappings_where_a_disk_may_be_full),
        TEST(test_openers_that_dont_write_show_the_last_commit_and_change_no_byte),
        TEST(test_damage_before_an_acknowledged_record_is_ecorrupt),
        TEST(test_log_that_ends_before_what_the_store_shows_is_ecorrupt),
        TEST(test_log_ends_before_a_torn_last_record),
        TEST(test_chunks_dropped_at_the_end_stay_dropped),
        TEST(test_chunks_dropped_at_the_end_stay_dropped_in_a_private_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
