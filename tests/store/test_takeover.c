/* SPDX-License-Identifier: MIT */
/*
 * test_takeover.c - a process dies at each row of the takeover table in docs/recovery.md
 *
 * A victim uses a store of the log engine and dies by its own hand (mortal_os.h) at a named call: so
 * each row is met for certain, where kill_log.c throws dice. Beside it stands nobody, a writer that
 * has committed and holds private pages, or a reader that may not write. Then the survivor, or whoever
 * opens the store next, must find commit `attempted` or the one before, as the row says; its next
 * transaction works, a second process sees that, and the last to close leaves one file.
 */
#include "store/store.h"
#include "tests/support/counted_store.h"
#include "tests/support/mortal_os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { HANG_SECONDS = 20 };

enum found { FOUND_OLD, FOUND_NEW }; /* is the last transaction that was begun there? */
enum { BESIDE_NOBODY = 1, BESIDE_WRITER = 2, BESIDE_READER = 4, BESIDE_ANY = 7 };

struct row {
    const char *name;
    void (*live)(const struct row *row); /* what the victim does; it arms `plan` at the right moment */
    struct mortal_plan plan;
    enum found found;
    unsigned beside;
    uint32_t durability;
    bool quiet;   /* the one beside has only opened the store: no log is in use yet */
    bool pending; /* another one died before, and left a log */
};

/* ---- what all of them do --------------------------------------------------------------------- */

_Noreturn static void give_up(const char *what)
{
    snprintf(ledger->message, sizeof ledger->message, "%.300s: %.300s", what,
             hf_last_error()->message);
    _exit(1);
}

static hf_store *must_open(uint32_t mode, uint32_t durability)
{
    hf_options options = counted_options(mode, 0);
    options.engine = HF_ENGINE_LOG; /* also where it is there already: no engine but this one */
    hf_store *store;
    options.durability = durability;
    if (hf_open(path, &options, &store) != 0)
        give_up("hf_open");
    hf_tuning tuning = HF_TUNING_INIT;
    tuning.lazy_interval_ms = 3600 * 1000; /* nothing happens by itself */
    if (hf_tune(store, &tuning) != 0)
        give_up("hf_tune");
    return store;
}

static hf_txn *change_half(hf_store *store, uint64_t grow_bytes)
{
    hf_txn *txn;
    if (hf_begin(store, &txn) != 0)
        give_up("hf_begin");
    if (!write_all(txn, ++ledger->attempted, grow_bytes))
        give_up("writing");
    return txn;
}

static void change(hf_store *store, uint64_t grow_bytes)
{
    hf_txn *txn = change_half(store, grow_bytes);
    if (hf_commit(txn) != 0)
        give_up("hf_commit");
    ledger->acknowledged = ledger->attempted;
}

/* ---- victims --------------------------------------------------------------------------------- */

static hf_store *victim;

static void arm(const struct row *row)
{
    mortal = row->plan;
}

static void die_in_transaction(const struct row *row)
{
    (void)row;
    change_half(victim, 0);
    mortal_die();
}

static void die_in_commit(const struct row *row)
{
    change(victim, 0);
    hf_txn *txn = change_half(victim, 0);
    arm(row);
    hf_commit(txn);
}

static void die_in_growth(const struct row *row)
{
    change(victim, 0);
    arm(row);
    change(victim, 900 << 10);
}

static void die_with_window(const struct row *row)
{
    change(victim, 0);
    hf_txn *txn = change_half(victim, 0);
    unsigned char *bulk = hf_alloc(txn, 3 << 20);
    if (bulk == NULL || victim->log.window_start == UINT64_MAX)
        give_up("no window");
    memset(bulk, 0x55, 3 << 20);
    arm(row);
    hf_commit(txn);
}

/* Acknowledged, and nobody has synced it. */
static void die_lazy(const struct row *row)
{
    (void)row;
    change(victim, 0);
    change(victim, 0);
    mortal_die();
}

/* Several commits wait to be applied. */
static void die_in_sync(const struct row *row)
{
    for (int i = 0; i < 4; i++)
        change(victim, 0);
    arm(row);
    hf_sync(victim);
}

/* Two records that one log file can't hold: the second commit switches first. */
static void die_in_checkpoint(const struct row *row)
{
    change(victim, 180 << 10);
    hf_txn *txn = change_half(victim, 180 << 10);
    arm(row);
    hf_commit(txn);
}

/* What publish_log does first in C6, and no more. */
static void half_of_c6(void)
{
    struct hf__log_header headers[2];
    struct hf__log_tail tail;
    unsigned valid;
    hf__tail_read(victim, &tail);
    if (hf__log_headers(victim, victim->locks.table->header.log.generation, headers, &valid) != 0 ||
        valid != 3)
        give_up("log headers");
    struct hf__log_front front = {.epoch = tail.epoch + 1,
                                  .applied = tail.appended,
                                  .end = HF__LOG_FIRST,
                                  .chain = headers[(tail.epoch + 1) % 2].salt};
    hf__front_publish(victim, &front);
}

static void die_in_start(const struct row *row)
{
    arm(row);
    change(victim, 0);
}

static void die_in_close(const struct row *row)
{
    change(victim, 0);
    arm(row);
    hf_close(victim);
}

static void die_in_recovery(const struct row *row)
{
    arm(row);
    victim = must_open(HF_OPEN_EXISTING, HF_SYNC);
}

/* Between the last word of a recovery and the gate. */
static void die_before_gate_opens(const struct row *row)
{
    (void)row;
    victim = must_open(HF_OPEN_EXISTING, HF_SYNC);
    __atomic_store_n(&victim->locks.table->header.gate, victim->locks.own, __ATOMIC_SEQ_CST);
    mortal_die();
}

/* The log failed, and who would have renewed it died in the midst of it. */
static void die_in_renewal(const struct row *row)
{
    change(victim, 0);
    hf_txn *txn = change_half(victim, 0);
    mortal = (struct mortal_plan){
        .calls = MORTAL_SYNC, .files = MORTAL_LOG, .left = 1, .fail_errno = EIO};
    if (hf_commit(txn) != HF_ECOMMIT_UNKNOWN)
        give_up("a commit whose sync failed");
    arm(row);
    hf_begin(victim, &txn);
}

/* ---- the table ------------------------------------------------------------------------------- */

#define AT(call, file, nth, moment) {.calls = MORTAL_##call, .files = (file), .left = (nth), .when = MORTAL_##moment}

static const struct row rows[] = {
    {"transaction", die_in_transaction, {.left = 0}, FOUND_OLD, BESIDE_ANY, HF_SYNC, 0, 0},
    {"growth", die_in_growth, AT(SIZE, MORTAL_DATA, 1, AFTER), FOUND_OLD, BESIDE_ANY, HF_SYNC, 0, 0},
    {"fresh window written", die_with_window, AT(SYNC, MORTAL_DATA, 1, BEFORE), FOUND_OLD,
     BESIDE_ANY, HF_SYNC, 0, 0},
    {"fresh window synced", die_with_window, AT(SYNC, MORTAL_DATA, 1, AFTER), FOUND_OLD, BESIDE_ANY,
     HF_SYNC, 0, 0},
    {"fresh window, appended", die_with_window, AT(WRITE, MORTAL_LOG, 1, AFTER), FOUND_NEW,
     BESIDE_ANY, HF_SYNC, 0, 0},
    {"before the append", die_in_commit, AT(WRITE, MORTAL_LOG, 1, BEFORE), FOUND_OLD, BESIDE_ANY,
     HF_SYNC, 0, 0},
    {"mid-append", die_in_commit, AT(WRITE, MORTAL_LOG, 1, HALF), FOUND_OLD, BESIDE_ANY, HF_SYNC, 0,
     0},
    {"mid-append, LAZY", die_in_commit, AT(WRITE, MORTAL_LOG, 1, HALF), FOUND_OLD, BESIDE_ANY,
     HF_LAZY, 0, 0},
    {"appended", die_in_commit, AT(WRITE, MORTAL_LOG, 1, AFTER), FOUND_NEW, BESIDE_ANY, HF_SYNC, 0,
     0},
    {"appended, LAZY", die_in_commit, AT(WRITE, MORTAL_LOG, 1, AFTER), FOUND_NEW, BESIDE_ANY,
     HF_LAZY, 0, 0},
    {"appended, NOSYNC", die_in_commit, AT(WRITE, MORTAL_LOG, 1, AFTER), FOUND_NEW, BESIDE_ANY,
     HF_NOSYNC, 0, 0},
    {"published", die_in_commit, AT(SYNC, MORTAL_LOG, 1, BEFORE), FOUND_NEW, BESIDE_ANY, HF_SYNC, 0,
     0},
    {"published, LAZY", die_lazy, {.left = 0}, FOUND_NEW, BESIDE_ANY, HF_LAZY, 0, 0},
    {"synced", die_in_commit, AT(SYNC, MORTAL_LOG, 1, AFTER), FOUND_NEW, BESIDE_ANY, HF_SYNC, 0, 0},
    {"gate closed", die_in_commit, AT(WRITE, MORTAL_DATA, 1, BEFORE), FOUND_NEW, BESIDE_ANY, HF_SYNC,
     0, 0},
    {"mid-apply", die_in_commit, AT(WRITE, MORTAL_DATA, 1, HALF), FOUND_NEW, BESIDE_ANY, HF_SYNC, 0,
     0},
    {"mid-apply, a range done", die_in_commit, AT(WRITE, MORTAL_DATA, 1, AFTER), FOUND_NEW,
     BESIDE_ANY, HF_SYNC, 0, 0},
    {"mid-apply, NOSYNC", die_in_commit, AT(WRITE, MORTAL_DATA, 2, HALF), FOUND_NEW, BESIDE_ANY,
     HF_NOSYNC, 0, 0},
    {"mid-apply of the first of several", die_in_sync, AT(WRITE, MORTAL_DATA, 1, HALF), FOUND_NEW,
     BESIDE_ANY, HF_LAZY, 0, 0},
    {"mid-apply of a later one", die_in_sync, AT(WRITE, MORTAL_DATA, 5, AFTER), FOUND_NEW,
     BESIDE_ANY, HF_LAZY, 0, 0},
    {"unsynced not yet said", die_in_start, AT(WRITE, MORTAL_HEADER, 2, BEFORE), FOUND_OLD,
     BESIDE_ANY, HF_NOSYNC, 1, 0},
    {"unsynced said", die_in_start, AT(WRITE, MORTAL_HEADER, 2, AFTER), FOUND_OLD, BESIDE_ANY,
     HF_NOSYNC, 1, 0},
    {"C1 before", die_in_checkpoint, AT(SYNC, MORTAL_LOG, 1, BEFORE), FOUND_OLD, BESIDE_ANY, HF_LAZY,
     0, 0},
    {"C1 after", die_in_checkpoint, AT(SYNC, MORTAL_LOG, 1, AFTER), FOUND_OLD, BESIDE_ANY, HF_LAZY,
     0, 0},
    {"C2 before", die_in_checkpoint, AT(WRITE, MORTAL_DATA, 1, BEFORE), FOUND_OLD, BESIDE_ANY,
     HF_LAZY, 0, 0},
    {"C2 amid", die_in_checkpoint, AT(WRITE, MORTAL_DATA, 2, HALF), FOUND_OLD, BESIDE_ANY, HF_LAZY,
     0, 0},
    {"C3 before", die_in_checkpoint, AT(SYNC, MORTAL_DATA, 1, BEFORE), FOUND_OLD, BESIDE_ANY,
     HF_LAZY, 0, 0},
    {"C3 after", die_in_checkpoint, AT(SYNC, MORTAL_DATA, 1, AFTER), FOUND_OLD, BESIDE_ANY, HF_LAZY,
     0, 0},
    {"C4 zeros", die_in_checkpoint, AT(WRITE, MORTAL_LOG, 1, HALF), FOUND_OLD, BESIDE_ANY, HF_LAZY,
     0, 0},
    {"C4 before", die_in_checkpoint, AT(WRITE, MORTAL_LOG_HEADER, 1, BEFORE), FOUND_OLD, BESIDE_ANY,
     HF_LAZY, 0, 0},
    {"C4 after", die_in_checkpoint, AT(WRITE, MORTAL_LOG_HEADER, 1, AFTER), FOUND_OLD, BESIDE_ANY,
     HF_LAZY, 0, 0},
    {"C5 after", die_in_checkpoint, AT(SYNC, MORTAL_LOG, 2, AFTER), FOUND_OLD, BESIDE_ANY, HF_LAZY,
     0, 0},
    {"C6 amid", die_in_checkpoint,
     {.calls = MORTAL_SYNC, .files = MORTAL_LOG, .left = 2, .when = MORTAL_AFTER,
      .last_words = half_of_c6},
     FOUND_OLD, BESIDE_ANY, HF_LAZY, 0, 0},
    {"renewal, before the header", die_in_renewal, AT(WRITE, MORTAL_LOG_HEADER, 1, BEFORE), FOUND_NEW,
     BESIDE_ANY, HF_SYNC, 0, 0},
    {"renewal, header", die_in_renewal, AT(WRITE, MORTAL_LOG_HEADER, 1, AFTER), FOUND_NEW,
     BESIDE_ANY, HF_SYNC, 0, 0},
    {"renewal, records copied", die_in_renewal, AT(SYNC, MORTAL_LOG, 1, BEFORE), FOUND_NEW,
     BESIDE_ANY, HF_SYNC, 0, 0},
    {"renewal, synced", die_in_renewal, AT(SYNC, MORTAL_LOG, 2, AFTER), FOUND_NEW, BESIDE_ANY,
     HF_SYNC, 0, 0},
    {"first log file made", die_in_start, AT(WRITE, MORTAL_LOG_HEADER, 1, AFTER), FOUND_NEW,
     BESIDE_ANY, HF_SYNC, 1, 0},
    {"logs made, header clean", die_in_start, AT(WRITE, MORTAL_HEADER, 1, BEFORE), FOUND_NEW,
     BESIDE_ANY, HF_SYNC, 1, 0},
    {"logs made, header logged", die_in_start, AT(WRITE, MORTAL_HEADER, 1, AFTER), FOUND_NEW,
     BESIDE_ANY, HF_SYNC, 1, 0},
    {"closing, header not clean", die_in_close, AT(WRITE, MORTAL_HEADER, 1, BEFORE), FOUND_NEW,
     BESIDE_NOBODY | BESIDE_READER, HF_SYNC, 1, 0},
    {"closing, header clean", die_in_close, AT(WRITE, MORTAL_HEADER, 1, AFTER), FOUND_NEW,
     BESIDE_NOBODY | BESIDE_READER, HF_SYNC, 1, 0},
    {"closing, logs there", die_in_close, AT(NAME, 0, 1, BEFORE), FOUND_NEW, BESIDE_NOBODY, HF_SYNC,
     1, 0},
    {"closing, a log there", die_in_close, AT(NAME, 0, 2, AFTER), FOUND_NEW, BESIDE_NOBODY, HF_SYNC,
     1, 0},
    {"recovery before", die_in_recovery, AT(WRITE, MORTAL_DATA, 1, BEFORE), FOUND_NEW,
     BESIDE_NOBODY | BESIDE_READER, HF_SYNC, 1, 1},
    {"recovery amid", die_in_recovery, AT(WRITE, MORTAL_DATA, 2, HALF), FOUND_NEW,
     BESIDE_NOBODY | BESIDE_READER, HF_SYNC, 1, 1},
    {"recovery, synced", die_in_recovery, AT(SYNC, MORTAL_DATA, 1, AFTER), FOUND_NEW,
     BESIDE_NOBODY | BESIDE_READER, HF_SYNC, 1, 1},
    {"recovery, header not clean", die_in_recovery, AT(WRITE, MORTAL_HEADER, 1, BEFORE), FOUND_NEW,
     BESIDE_NOBODY | BESIDE_READER, HF_SYNC, 1, 1},
    {"recovery, header clean", die_in_recovery, AT(WRITE, MORTAL_HEADER, 1, AFTER), FOUND_NEW,
     BESIDE_NOBODY | BESIDE_READER, HF_SYNC, 1, 1},
    {"recovery, gate still closed", die_before_gate_opens, {.left = 0}, FOUND_NEW, BESIDE_ANY,
     HF_SYNC, 1, 1},
};
#define ROWS (sizeof rows / sizeof *rows)

static void run_victim(const struct row *row)
{
    mortal_begin((struct mortal_plan){.left = 0});
    if (!row->pending)
        victim = must_open(HF_OPEN_EXISTING, row->durability);
    row->live(row);
    give_up("the victim lives on");
}

/* Leaves a log with two commits that are not applied. */
static void leave_a_log(const struct row *row)
{
    (void)row;
    victim = must_open(HF_OPEN_EXISTING, HF_LAZY);
    change(victim, 0);
    change(victim, 0);
    mortal_die();
}

/* ---- survivors ------------------------------------------------------------------------------- */

static void tell(int stage)
{
    __atomic_store_n(&ledger->stage, stage, __ATOMIC_SEQ_CST);
}

static void await(int stage)
{
    while (__atomic_load_n(&ledger->stage, __ATOMIC_SEQ_CST) < stage)
        usleep(50);
}

static uint64_t found_k(const struct row *row)
{
    return ledger->attempted - (row->found == FOUND_OLD);
}

/* A view shows the commit that counts, or until somebody syncs and applies it, the one before. */
static uint64_t must_show(hf_store *store, uint64_t least, uint64_t most, const char *who)
{
    char why[500] = "";
    const uint64_t k = k_seen(store, why, sizeof why);
    if (k == UINT64_MAX || k < least || k > most) {
        snprintf(ledger->message, sizeof ledger->message, "%s shows %llu, not %llu..%llu: %s", who,
                 (unsigned long long)k, (unsigned long long)least, (unsigned long long)most, why);
        _exit(1);
    }
    return k;
}

static void must_go_on(const struct row *row, hf_store *store)
{
    hf_txn *txn;
    const uint64_t expected = found_k(row);
    if (hf_begin(store, &txn) != 0)
        give_up("hf_begin after it");
    size_t count;
    const uint64_t *head = hf_find(hf_txn_view(txn), "a-head", &k_type, &count);
    if (head == NULL || *head != expected) {
        snprintf(ledger->message, sizeof ledger->message, "a transaction finds %llu, not %llu",
                 (unsigned long long)(head == NULL ? 0 : *head), (unsigned long long)expected);
        _exit(1);
    }
    ledger->attempted = expected + 1;
    if (!write_all(txn, ledger->attempted, 2 << 20) || hf_commit(txn) != 0)
        give_up("a transaction after it");
    ledger->acknowledged = ledger->attempted;
    if (hf_sync(store) != 0)
        give_up("hf_sync after it");
    if (!look(store, "the survivor"))
        _exit(1);
}

static bool doomed; /* the survivor dies, too, when it has gone on */

static void survive_as_writer(const struct row *row)
{
    hf_store *store = must_open(HF_OPEN_EXISTING, HF_SYNC);
    if (!row->quiet)
        change(store, 0);
    const uint64_t shown = must_show(store, 1, ledger->acknowledged, "the writer before");
    tell(1);
    await(2);
    must_show(store, shown, found_k(row), "the writer beside it");
    if (doomed) { /* a commit that stands in the log alone */
        store->durability = HF_LAZY;
        ledger->attempted = found_k(row);
        change(store, 0);
        mortal_die();
    }
    must_go_on(row, store);
    if (hf_close(store) != 0)
        give_up("hf_close");
}

static void survive_as_reader(const struct row *row)
{
    hf_store *store = must_open(HF_READ_ONLY, HF_SYNC);
    uint64_t shown = must_show(store, 1, ledger->attempted, "the reader before");
    tell(1);
    await(2);
    const uint64_t expected = found_k(row);
    shown = must_show(store, shown, expected, "the reader beside it");
    must_show(store, shown, expected, "the reader, once more");
    tell(3);
    await(4);
    must_show(store, expected + 1, expected + 1, "the reader, after the next transaction");
    if (hf_close(store) != 0)
        give_up("hf_close");
}

static void come_after(const struct row *row)
{
    hf_store *store = must_open(HF_OPEN_EXISTING, HF_SYNC);
    must_show(store, row->durability == HF_SYNC ? ledger->acknowledged : 1, found_k(row),
              "the next opener");
    must_go_on(row, store);
    tell(4);
    if (hf_close(store) != 0)
        give_up("hf_close");
}

static void make_clean(const struct row *row)
{
    (void)row;
    hf_store *store = must_open(HF_CREATE_NEW, HF_SYNC);
    change(store, 0);
    if (hf_close(store) != 0)
        give_up("hf_close");
}

/* ---- a test ---------------------------------------------------------------------------------- */

static pid_t start(void (*run)(const struct row *), const struct row *row)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    alarm(HANG_SECONDS);
    run(row);
    _exit(0);
}

static bool ended(pid_t pid, bool killed)
{
    int status;
    if (waitpid(pid, &status, 0) != pid)
        return false;
    const bool well = killed ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                             : WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!well && ledger->message[0] == '\0')
        snprintf(ledger->message, sizeof ledger->message, "ended with status %#x", (unsigned)status);
    return well;
}

static bool await_stage(int stage, pid_t pid)
{
    while (__atomic_load_n(&ledger->stage, __ATOMIC_SEQ_CST) < stage) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0)
            return false;
        usleep(50);
    }
    return true;
}

static bool run_row(const struct row *row, unsigned beside)
{
    pid_t companion = -1;
    bool good = true;
    files_left(true, true);
    memset(ledger, 0, sizeof *ledger);
    good = ended(start(make_clean, row), false);
    if (good && row->pending)
        good = ended(start(leave_a_log, row), true);
    if (good && beside != BESIDE_NOBODY) {
        companion = start(beside == BESIDE_WRITER ? survive_as_writer : survive_as_reader, row);
        good = await_stage(1, companion);
    }
    good = good && ended(start(run_victim, row), true);
    tell(2);
    if (beside == BESIDE_READER)
        good = good && await_stage(3, companion);
    if (beside != BESIDE_WRITER)
        good = good && ended(start(come_after, row), false);
    if (!good && companion > 0)
        kill(companion, SIGKILL);
    if (companion > 0)
        good = ended(companion, doomed) && good;
    if (good && (beside == BESIDE_READER || doomed))
        good = ended(start(come_after, &(struct row){.found = FOUND_NEW}), false);
    if (good && hf_check_file(path, NULL, NULL) != 0) {
        snprintf(ledger->message, sizeof ledger->message, "hf_check_file: %.300s",
                 hf_last_error()->message);
        good = false;
    }
    if (good && files_left(false, false) != 1) {
        snprintf(ledger->message, sizeof ledger->message, "%u files after the last close",
                 files_left(false, false));
        good = false;
    }
    return good;
}

static void run_all(unsigned beside, const char *who)
{
    const char *only = getenv("HF_TEST_ROW");
    unsigned failed = 0;
    for (size_t i = 0; i < ROWS; i++) {
        if ((rows[i].beside & beside) == 0 || (only != NULL && strcmp(only, rows[i].name) != 0))
            continue;
        if (!run_row(&rows[i], beside)) {
            print_message("'%s' beside %s: %s\n", rows[i].name, who, ledger->message);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static void test_takeover_beside_nobody(void **state)
{
    (void)state;
    run_all(BESIDE_NOBODY, "nobody");
}

static void test_takeover_beside_a_writer(void **state)
{
    (void)state;
    run_all(BESIDE_WRITER, "a writer");
}

/* What it did must be found by a recovery: it must not have gone on in a log that doesn't count. */
static void test_takeover_beside_a_writer_that_dies_next(void **state)
{
    (void)state;
    doomed = true;
    run_all(BESIDE_WRITER, "a writer that dies next");
}

static void test_takeover_beside_a_reader(void **state)
{
    (void)state;
    doomed = false; /* the test before may have failed in the midst */
    run_all(BESIDE_READER, "a reader");
}

int main(void)
{
    counted_engine = HF_ENGINE_LOG;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takeover_beside_nobody),
        cmocka_unit_test(test_takeover_beside_a_writer),
        cmocka_unit_test(test_takeover_beside_a_writer_that_dies_next),
        cmocka_unit_test(test_takeover_beside_a_reader),
    };
    counted_engine = HF_ENGINE_LOG;
    ledger = share();
    counted_engine = HF_ENGINE_LOG;
    if (!choose_directory())
        return 2;
    int failed = cmocka_run_group_tests_name("takeover", tests, NULL, NULL);
    remove_directory();
    return failed;
}
