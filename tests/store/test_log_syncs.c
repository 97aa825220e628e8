/* SPDX-License-Identifier: MIT */
/*
 * test_log_syncs.c - a failed sync of the log is believed by all, whoever the kernel tells of it
 *
 * The kernel tells each opened file of a failed write-back once. What other threads do in between is
 * played by the fdatasync of this test, so that no clock decides; tests/model/protocol_switch.c has
 * the ways there.
 */
#include "store_fixture.h"

#include "base/os.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[PATH_BYTES];
static struct hf__os os;
static hf_store *opened; /* what happens in the next fdatasync happens to it                     */
static enum { NOTHING, FAILS_THOUGH_DURABLE, ANOTHER_FAILS, FAILS } next;
static uint32_t suspect; /* data_failed during the last sync of the data file                     */
static off_t full_from;  /* no file gets blocks from there on; 0: all do                          */
static off_t written_at; /* where the last write of a log record went                             */
static int fails_after;  /* so many syncs from now on, one fails; 0: none                         */
static int blind_after;  /* so many looks at a log file's length from now on, one fails           */

static struct hf__log_words *words(void)
{
    return &opened->locks.table->header.log;
}

static int fdatasync_here(int fd)
{
    struct hf__log_tail tail;
    const int happens = (int)next;
    next = NOTHING;
    if (fd == opened->fd)
        suspect = words()->data_failed;
    if (happens == FAILS || (fails_after > 0 && --fails_after == 0)) {
        errno = EIO;
        return -1;
    }
    if (happens == NOTHING)
        return fdatasync(fd);
    hf__tail_read(opened, &tail);
    if (happens == ANOTHER_FAILS) {
        __atomic_store_n(&words()->log_failed, 1, __ATOMIC_SEQ_CST);
        return 0;
    }
    hf__durable_raise(opened, tail.appended);
    errno = EIO;
    return -1;
}

static ssize_t pwrite_here(int fd, const void *buffer, size_t size_bytes, off_t offset)
{
    if (opened != NULL && (fd == opened->log.fds[0] || fd == opened->log.fds[1]))
        written_at = offset;
    return pwrite(fd, buffer, size_bytes, offset);
}

static int fallocate_here(int fd, int mode, off_t offset, off_t size)
{
    if (full_from == 0 || offset + size < full_from)
        return fallocate(fd, mode, offset, size);
    errno = ENOSPC;
    return -1;
}

static int fstat_here(int fd, struct stat *out)
{
    if (opened != NULL && (fd == opened->log.fds[0] || fd == opened->log.fds[1]) && blind_after > 0 &&
        --blind_after == 0) {
        errno = EIO;
        return -1;
    }
    return fstat(fd, out);
}

static int commit_one(const char *name)
{
    hf_txn *txn = NULL;
    int code = hf_begin(opened, &txn);
    if (code != 0)
        return code;
    assert_got(hf_construct(txn, name, NULL, 8));
    return hf_commit(txn);
}

static int open_store(uint32_t durability)
{
    hf_options options = {.durability = durability};
    os = hf__os_system;
    os.fdatasync = fdatasync_here;
    os.pwrite = pwrite_here;
    os.fstat = fstat_here;
    os.fallocate = fallocate_here;
    hf__os = &os;
    next = NOTHING;
    fixture_path(path, fixture_disk_directory(), "syncs.hf");
    assert_ok(hf_open(path, &options, &opened));
    opened->log.housekeeping = true; /* so none is started */
    return commit_one("first");
}

static void close_and_remove(void)
{
    opened->log.housekeeping = false;
    assert_ok(hf_close(opened));
    opened = NULL;
    assert_ok(hf_remove(path));
    hf__os = &hf__os_system;
}

/* Others have made this commit durable meanwhile; theirs may be what was lost. */
static void test_log_syncs_failure_is_told_though_durable(void **unused)
{
    (void)unused;
    assert_ok(open_store(HF_SYNC));
    next = FAILS_THOUGH_DURABLE;
    assert_ok(commit_one("a"));
    assert_int_equal(words()->log_failed, 1);
    assert_ok(commit_one("b"));
    assert_int_equal(words()->log_failed, 0);
    close_and_remove();
}

/* The other one was told of the failure, this one isn't. */
static void test_log_syncs_success_beside_a_failure_says_nothing(void **unused)
{
    (void)unused;
    assert_ok(open_store(HF_SYNC));
    const uint64_t durable = hf__durable(opened);
    next = ANOTHER_FAILS;
    assert_code(commit_one("a"), HF_ECOMMIT_UNKNOWN);
    assert_true(hf__durable(opened) == durable);
    assert_ok(commit_one("b"));
    close_and_remove();
}

/* A commit that can't be read any more keeps its number: it isn't given to another one. */
static void test_log_syncs_renewal_leaves_nothing_out(void **unused)
{
    struct hf__log_tail before, after;
    static const char zeros[HF__LOG_BLOCK];
    char kept[HF__LOG_BLOCK];
    (void)unused;
    assert_ok(open_store(HF_LAZY));
    hf__tail_read(opened, &before);
    __atomic_store_n(&words()->sealed, before.appended, __ATOMIC_SEQ_CST);
    assert_ok(commit_one("a"));
    const int fd = opened->log.fds[before.epoch % 2];
    const off_t at = (off_t)hf__whole_blocks(before.end);
    assert_int_equal(pread(fd, kept, sizeof kept, at), sizeof kept);
    assert_int_equal(pwrite(fd, zeros, sizeof zeros, at), sizeof zeros);
    __atomic_store_n(&words()->log_failed, 1, __ATOMIC_SEQ_CST);
    assert_code(commit_one("b"), HF_EIO);
    hf__tail_read(opened, &after);
    assert_true(after.appended == before.appended + 1);
    assert_int_equal(pwrite(fd, kept, sizeof kept, at), sizeof kept);
    assert_ok(commit_one("b"));
    close_and_remove();
}

/* What is found after a crash now, if all that was written reached the disk. */
static void assert_commits_are_found(const char *const *names, size_t count)
{
    char copy[PATH_BYTES], from[PATH_BYTES + 8], to[PATH_BYTES + 8];
    hf_store *const store = opened;
    hf_store *found;
    hf_view *view;
    static const char *const suffixes[] = {"", "-log0", "-log1"};
    fixture_path(copy, fixture_disk_directory(), "copy.hf");
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        snprintf(from, sizeof from, "%s%s", path, suffixes[i]);
        snprintf(to, sizeof to, "%s%s", copy, suffixes[i]);
        fixture_copy_file(from, to);
    }
    hf__os = &hf__os_system;
    assert_ok(hf_open(copy, NULL, &found));
    assert_ok(hf_view_begin(found, &view));
    for (size_t i = 0; i < count; i++)
        assert_got(hf_find(view, names[i], NULL, NULL));
    hf_view_end(view);
    assert_ok(hf_close(found));
    assert_ok(hf_remove(copy));
    hf__os = &os;
    opened = store;
}

/* A renewal whose header may be on the disk already, and isn't published: the next one must not write over
 * the records that this header counts on. */
static void test_log_syncs_renewal_after_a_renewal_loses_nothing(void **unused)
{
    static const char *const names[] = {"first", "a"};
    struct hf__log_header headers[2];
    struct hf__log_tail tail;
    unsigned valid;
    uint32_t slot;
    int code = HF_EIO, rounds = 0;
    (void)unused;
    assert_ok(open_store(HF_SYNC));
    hf__tail_read(opened, &tail);
    assert_ok(hf__reader_enter(&opened->locks, HF__NO_DEADLINE, false, &slot)); /* nothing is applied */
    assert_ok(commit_one("a"));
    __atomic_store_n(&words()->log_failed, 1, __ATOMIC_SEQ_CST);
    fails_after = 3; /* of no header, of the records, of the header */
    assert_code(commit_one("b"), HF_EIO);
    assert_ok(hf__log_headers(opened, words()->generation, headers, &valid));
    assert_int_equal(valid, 3);
    assert_commits_are_found(names, 2);
    while (code != 0) {
        char name[16];
        assert_in_range(++rounds, 1, 8);
        snprintf(name, sizeof name, "b%d", rounds);
        fails_after = rounds;
        code = commit_one(name);
        fails_after = 0;
        assert_commits_are_found(names, 2);
        /* Not only once: that sync failed in the first round. */
        assert_ok(hf__log_headers(opened, words()->generation, headers, &valid));
        if (rounds <= 2)
            assert_int_equal(valid, 1u << tail.epoch % 2);
    }
    assert_int_equal(words()->log_failed, 0);
    hf__reader_leave(&opened->locks, slot);
    close_and_remove();
}

/* Nor is it where a log that was just switched to has its first records. */
static void test_log_syncs_switch_knows_where_its_log_ends(void **unused)
{
    static const char *const names[] = {"b", "first", "a", "c"};
    struct hf__log_tail tail;
    uint32_t slot;
    (void)unused;
    for (int look = 1; look <= 4; look++) {
        assert_ok(open_store(HF_SYNC));
        assert_ok(commit_one("a"));
        assert_ok(hf__reader_enter(&opened->locks, HF__NO_DEADLINE, false, &slot));
        hf__tail_read(opened, &tail);
        tail.file_bytes = tail.end; /* nothing fits any more */
        hf__tail_publish(opened, &tail);
        blind_after = look;
        const int code = commit_one("b");
        blind_after = 0;
        assert_true(code == 0 || code == HF_EIO);
        assert_ok(commit_one("c"));
        assert_commits_are_found(code == 0 ? names : names + 1, code == 0 ? 4 : 3);
        hf__reader_leave(&opened->locks, slot);
        close_and_remove();
    }
}

static void reads_beside(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    hf_view *view;
    hf_store *store = fixture_open(path, HF_READ_ONLY);
    child_expect(hf_view_begin(store, &view) == 0);
    child_expect(hf_find(view, "a", NULL, NULL) != NULL);
    hf_view_end(view);
    child_expect(hf_close(store) == 0);
}

/* Who renewed a log died when half of it was published: the front is the new log's, the tail the old one's.
 * Others read on in the old one. */
static void test_log_syncs_half_a_renewal_is_no_damage(void **unused)
{
    char archive[PATH_BYTES], copy[PATH_BYTES];
    const char *const archives[] = {archive};
    struct hf__log_front front;
    uint32_t slot;
    (void)unused;
    assert_ok(open_store(HF_SYNC));
    assert_ok(hf__reader_enter(&opened->locks, HF__NO_DEADLINE, false, &slot));
    assert_ok(commit_one("a")); /* not applied */
    hf__front_read(opened, &front);
    front.epoch++;
    front.chain++;
    hf__front_publish(opened, &front);
    fixture_path(archive, fixture_disk_directory(), "half.hfa");
    fixture_path(copy, fixture_disk_directory(), "half.hf");
    const int fd = open(archive, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_ok(hf_archive_write(opened, fd, NULL, NULL));
    close(fd);
    assert_ok(hf_restore(copy, archives, 1, NULL, NULL));
    hf__os = &hf__os_system;
    hf_store *found = fixture_open(copy, HF_OPEN_EXISTING);
    hf_view *view;
    assert_ok(hf_view_begin(found, &view));
    assert_got(hf_find(view, "a", NULL, NULL));
    hf_view_end(view);
    assert_ok(hf_close(found));
    assert_ok(hf_remove(copy));
    assert_ok(unlink(archive));
    hf__reader_leave(&opened->locks, slot);
    /* Nor for a reader who meets a gate that a dead one left closed. */
    __atomic_store_n(&opened->locks.table->header.gate, HF__NOBODY, __ATOMIC_SEQ_CST);
    child_run(reads_beside, NULL);
    hf__os = &os;
    front.epoch--;
    front.chain--;
    hf__front_publish(opened, &front);
    close_and_remove();
}

/* The other file is long enough for what was logged, and for one who frees something. */
static void test_log_syncs_renewal_does_with_what_there_is(void **unused)
{
    struct hf__log_tail before, after;
    (void)unused;
    assert_ok(open_store(HF_SYNC));
    assert_ok(hf__log_checkpoint(opened, 0, HF__NO_DEADLINE)); /* both files are there */
    assert_ok(commit_one("a"));
    hf__tail_read(opened, &before);
    __atomic_store_n(&words()->log_failed, 1, __ATOMIC_SEQ_CST);
    full_from = 1;
    const int code = commit_one("b");
    full_from = 0;
    assert_ok(code);
    hf__tail_read(opened, &after);
    assert_true(after.epoch > before.epoch);
    close_and_remove();
}

/* How long the new log is can't be told: that is no reason to take it for empty. */
static void test_log_syncs_renewal_knows_where_its_log_ends(void **unused)
{
    static const char *const names[] = {"first", "a", "c"};
    struct hf__log_tail tail;
    uint32_t slot;
    (void)unused;
    for (int look = 1; look <= 4; look++) {
        char name[16];
        assert_ok(open_store(HF_SYNC));
        assert_ok(hf__reader_enter(&opened->locks, HF__NO_DEADLINE, false, &slot));
        assert_ok(commit_one("a"));
        __atomic_store_n(&words()->log_failed, 1, __ATOMIC_SEQ_CST);
        blind_after = look;
        for (int i = 0, code = HF_EIO; code != 0; i++) {
            assert_in_range(i, 0, 1);
            snprintf(name, sizeof name, "b%d", i);
            code = commit_one(name);
        }
        blind_after = 0;
        hf__tail_read(opened, &tail);
        assert_true(tail.file_bytes >= tail.end);
        assert_ok(commit_one("c"));
        assert_commits_are_found(names, 3);
        hf__reader_leave(&opened->locks, slot);
        close_and_remove();
    }
}

/* Another one was told that the record's write-back failed, and died. A descriptor opened since hears
 * nothing of it, so the record is written again before that descriptor answers for it. */
static void test_log_syncs_new_descriptor_answers_for_nothing_old(void **unused)
{
    struct hf__log_tail tail;
    (void)unused;
    assert_ok(open_store(HF_LAZY));
    hf__tail_read(opened, &tail);
    const int file = (int)(tail.epoch % 2);
    assert_int_equal(opened->log.sync_fds[file][0], -1); /* nothing was synced yet */
    assert_true(hf__durable(opened) < tail.appended);
    written_at = -1;
    assert_ok(hf__log_sync_file(opened, file, tail.epoch));
    assert_int_equal(written_at, HF__LOG_FIRST);
    written_at = -1; /* this one has been open all the time */
    assert_ok(hf__log_sync_file(opened, file, tail.epoch));
    assert_int_equal(written_at, -1);
    close_and_remove();
}

/* What a process left that was killed in its write: a whole header behind the last record, whose body
 * isn't. The next record begins with the next block, in the midst of that body. */
static void leave_torn_record(const struct hf__log_tail *tail)
{
    static struct {
        struct hf__record record;
        unsigned char body[3 * HF__LOG_BLOCK];
    } torn;
    memset(&torn, 0x5a, sizeof torn);
    torn.record = (struct hf__record){.magic = HF__RECORD_MAGIC,
                                      .commit = tail->appended + 1,
                                      .chain = tail->chain,
                                      .length_bytes = sizeof torn};
    hf__record_seal(&torn.record, tail->salt);
    torn.body[0] ^= 1;
    const int fd = opened->log.fds[tail->epoch % 2];
    assert_int_equal(pwrite(fd, &torn, sizeof torn, (off_t)tail->end), sizeof torn);
    __atomic_store_n(&words()->sealed, tail->appended, __ATOMIC_SEQ_CST);
}

/* Every byte of the log is as it was once its records have been written again. */
static void test_log_syncs_what_is_written_again_is_the_record(void **unused)
{
    struct hf__log_tail tail;
    static unsigned char before[64 << 10], after[64 << 10];
    (void)unused;
    assert_ok(open_store(HF_LAZY));
    hf__tail_read(opened, &tail);
    assert_int_not_equal(tail.end % HF__LOG_BLOCK, 0);
    leave_torn_record(&tail);
    assert_ok(commit_one("a"));
    const int file = (int)(tail.epoch % 2), fd = opened->log.fds[file];
    const ssize_t n = pread(fd, before, sizeof before, 0);
    written_at = -1;
    assert_ok(hf__log_sync_file(opened, file, tail.epoch));
    assert_true(written_at > (off_t)HF__LOG_FIRST); /* both were */
    assert_true(n == pread(fd, after, sizeof after, 0));
    assert_memory_equal(before, after, (size_t)n);
    close_and_remove();
}

/* What is to be acknowledged can't be read any more: no sync makes that durable. */
static void test_log_syncs_lost_record_is_not_acknowledged(void **unused)
{
    struct hf__log_tail tail;
    static const char zeros[HF__LOG_BLOCK];
    char kept[HF__LOG_BLOCK];
    (void)unused;
    assert_ok(open_store(HF_LAZY));
    hf__tail_read(opened, &tail);
    const int fd = opened->log.fds[tail.epoch % 2];
    assert_int_equal(pread(fd, kept, sizeof kept, HF__LOG_FIRST), sizeof kept);
    assert_int_equal(pwrite(fd, zeros, sizeof zeros, HF__LOG_FIRST), sizeof zeros);
    assert_code(hf_sync(opened), HF_ECOMMIT_UNKNOWN);
    assert_int_equal(words()->log_failed, 1);
    assert_true(hf__durable(opened) < tail.appended);
    assert_int_equal(pwrite(fd, kept, sizeof kept, HF__LOG_FIRST), sizeof kept);
    close_and_remove();
}

/* The records there are synced with the zeros behind them. */
static void test_log_syncs_failure_when_the_log_grows_is_told(void **unused)
{
    uint32_t slot;
    struct hf__log_tail tail;
    hf_tuning tuning = {.log_first_bytes = 16 << 10, .log_switch_bytes = 16 << 10};
    (void)unused;
    assert_ok(open_store(HF_SYNC));
    assert_ok(hf__reader_enter(&opened->locks, HF__NO_DEADLINE, false, &slot));
    assert_ok(commit_one("x")); /* not applied while somebody reads: so the log can't be switched */
    assert_ok(hf_tune(opened, &tuning));
    hf__tail_read(opened, &tail);
    tail.end = tail.file_bytes; /* nothing fits any more */
    hf__tail_publish(opened, &tail);
    next = FAILS;
    assert_code(commit_one("a"), HF_EIO);
    assert_int_equal(words()->log_failed, 1);
    hf__reader_leave(&opened->locks, slot);
    close_and_remove();
}

/* Who is told of a failure may die before he passes it on: it is said before, and taken back. */
static void test_log_syncs_data_is_suspect_while_it_is_synced(void **unused)
{
    (void)unused;
    assert_ok(open_store(HF_NOSYNC));
    assert_int_equal(suspect, 1);
    assert_int_equal(words()->data_failed, 0);
    assert_ok(hf_sync(opened));
    assert_int_equal(words()->data_failed, 0);
    next = FAILS; /* the header's sync, which may be told of pages of the segment, too */
    assert_code(commit_one("a"), HF_EIO);
    assert_int_equal(words()->data_failed, 1);
    assert_ok(commit_one("b"));
    assert_int_equal(words()->data_failed, 1);
    close_and_remove();
}

/* On a full disk a renewal makes do with what the records take, though they share no blocks any more. */
static void test_log_syncs_renewal_fits_on_a_full_disk(void **unused)
{
    struct hf__log_tail before, after;
    char name[16];
    (void)unused;
    assert_ok(open_store(HF_LAZY));
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "n%d", i);
        assert_ok(commit_one(name));
    }
    hf__tail_read(opened, &before);
    assert_int_equal(ftruncate(opened->log.fds[(before.epoch + 1) % 2], HF__LOG_FIRST), 0);
    full_from = 2 * (off_t)before.file_bytes;
    __atomic_store_n(&words()->log_failed, 1, __ATOMIC_SEQ_CST);
    hf_txn *txn = NULL;
    const int code = hf_begin(opened, &txn); /* it renews the log */
    full_from = 0;
    assert_ok(code);
    hf_abort(txn);
    assert_int_equal(words()->log_failed, 0);
    hf__tail_read(opened, &after);
    assert_true(after.epoch == before.epoch + 1 && after.appended == before.appended);
    assert_true(after.file_bytes >= after.end);
    assert_ok(commit_one("after"));
    close_and_remove();
}

/* ---- recovery -------------------------------------------------------------------------------- */

static char seen[64]; /* what happens to the log: f, s a sync that fails and one that doesn't, w a write */
static int failing;   /* so many syncs of it fail                                                   */

static bool is_log(int fd)
{
    struct stat st, log;
    for (int file = 0; file < 2; file++) {
        char name[PATH_BYTES + 8];
        snprintf(name, sizeof name, "%s-log%d", path, file);
        if (stat(name, &log) == 0 && fstat(fd, &st) == 0 && st.st_ino == log.st_ino)
            return true;
    }
    return false;
}

static void note(char what)
{
    const size_t length = strlen(seen);
    if (length + 1 < sizeof seen) {
        seen[length] = what;
        seen[length + 1] = '\0';
    }
}

static int fdatasync_noted(int fd)
{
    const bool fails = is_log(fd) && failing > 0 && failing-- > 0;
    if (is_log(fd))
        note(fails ? 'f' : 's');
    if (!fails)
        return fdatasync(fd);
    errno = EIO;
    return -1;
}

static ssize_t pwrite_noted(int fd, const void *buffer, size_t size_bytes, off_t offset)
{
    if (is_log(fd))
        note('w');
    return pwrite(fd, buffer, size_bytes, offset);
}

static void is_killed(struct child *self, void *argument)
{
    (void)self;
    (void)argument;
    child_expect(open_store(HF_LAZY) == 0);
    child_expect(commit_one("a") == 0);
    child_expect(commit_one("b") == 0);
    _exit(0);
}

/* What a killed process left and didn't know as durable is written again and synced before it is replayed. */
static void test_log_syncs_recovery_syncs_what_it_replays(void **unused)
{
    static const char *const expected[] = {"wwws", "wwwfwwws" /* as it is closed */};
    (void)unused;
    for (int fails = 0; fails < 2; fails++) {
        hf_options options = HF_OPTIONS_INIT;
        fixture_path(path, fixture_disk_directory(), "syncs.hf");
        child_run(is_killed, NULL);
        os = hf__os_system;
        os.fdatasync = fdatasync_noted;
        os.pwrite = pwrite_noted;
        hf__os = &os;
        seen[0] = '\0';
        failing = fails;
        int code = hf_open(path, &options, &opened);
        assert_memory_equal(seen, expected[fails], strlen(expected[fails]));
        assert_code(code, fails == 1 ? HF_EIO : 0);
        hf__os = &hf__os_system;
        if (code != 0)
            opened = fixture_open(path, HF_OPEN_EXISTING);
        hf_view *view;
        assert_ok(hf_view_begin(opened, &view));
        assert_got(hf_find(view, "b", NULL, NULL));
        hf_view_end(view);
        close_and_remove();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_syncs_failure_is_told_though_durable),
        cmocka_unit_test(test_log_syncs_success_beside_a_failure_says_nothing),
        cmocka_unit_test(test_log_syncs_renewal_leaves_nothing_out),
        cmocka_unit_test(test_log_syncs_renewal_after_a_renewal_loses_nothing),
        cmocka_unit_test(test_log_syncs_renewal_does_with_what_there_is),
        cmocka_unit_test(test_log_syncs_switch_knows_where_its_log_ends),
        cmocka_unit_test(test_log_syncs_half_a_renewal_is_no_damage),
        cmocka_unit_test(test_log_syncs_renewal_knows_where_its_log_ends),
        cmocka_unit_test(test_log_syncs_new_descriptor_answers_for_nothing_old),
        cmocka_unit_test(test_log_syncs_what_is_written_again_is_the_record),
        cmocka_unit_test(test_log_syncs_lost_record_is_not_acknowledged),
        cmocka_unit_test(test_log_syncs_failure_when_the_log_grows_is_told),
        cmocka_unit_test(test_log_syncs_renewal_fits_on_a_full_disk),
        cmocka_unit_test(test_log_syncs_data_is_suspect_while_it_is_synced),
        cmocka_unit_test(test_log_syncs_recovery_syncs_what_it_replays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
