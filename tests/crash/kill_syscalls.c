/* SPDX-License-Identifier: MIT */
/*
 * kill_syscalls.c - a process is killed before and after every system call it makes, and between
 * the instructions of the moments that make no calls
 *
 * Where kill_direct.c throws dice, this test goes through them all. A traced child runs a short
 * scenario (open, commit, sync, grow, create, remove, repair ...); it is stopped at its n-th entry
 * into or return from the kernel and killed there, for every n. What follows is one of the
 * aftermaths below, each of which must meet the state of a commit k with
 * acknowledged <= k <= attempted.
 *
 *   COLD      nobody else is there: the next opener recovers; then check, transaction, close
 *   LOOK      the file is looked at first by those who don't write: copy-on-write, read-only, check
 *   IDLE      beside the victim a reader and a writer that never began: the writer closes, the
 *             reader looks before and after
 *   GOES_ON   beside the victim a writer: it commits, then is killed in the middle of its next
 *             transaction
 *   TWICE     a second process is killed near the same place, beside a bystander
 *
 * The stepping part lets a child run hf_abort, hf_commit and hf_begin one instruction at a time and
 * copies the files at each: a copy is what a kill there would leave. It is opened and checked.
 *
 * All of it on both engines: on the direct engine at every stop; on the log engine, which makes more
 * calls and has test_takeover.c besides, at every seventh (HF_TEST_SCALE=10: at every one).
 *
 * Where tracing isn't permitted the test is skipped (exit code 77).
 */
#include "store/store.h"
#include "tests/support/counted_store.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

enum { EXIT_SKIPPED = 77, HANG_SECONDS = 20, TIMEOUT_MS = 5000 };
#define STOPS_MAX 5000u

static struct ledger *beside; /* the bystander's */

static bool logged(void)
{
    return counted_engine == HF_ENGINE_LOG;
}
static struct campaign campaign;

/* ---- what is in the store ------------------------------------------------------------------ */

_Noreturn static void give_up(const char *what)
{
    snprintf(ledger->message, sizeof ledger->message, "%s: %s", what, hf_last_error()->message);
    _exit(1);
}

static hf_store *must_open(uint32_t mode)
{
    hf_options options = counted_options(mode, TIMEOUT_MS);
    if (mode != HF_OPEN_OR_CREATE && mode != HF_CREATE_NEW)
        options.engine = 0; /* as recorded */
    hf_store *store;
    if (hf_open(path, &options, &store) != 0)
        give_up("hf_open");
    return store;
}

static void must_close(hf_store *store)
{
    if (hf_close(store) != 0)
        give_up("hf_close");
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

/* ---- what the victim does ------------------------------------------------------------------ */

static void do_open_close(void)
{
    must_close(must_open(HF_OPEN_EXISTING));
}

static void do_commit(void)
{
    hf_store *store = must_open(HF_OPEN_EXISTING);
    change(store, 0);
    change(store, 0);
    must_close(store);
}

static void do_sync(void)
{
    hf_store *store = must_open(HF_OPEN_EXISTING);
    for (int i = 0; i < 2; i++) {
        change(store, 0);
        if (hf_sync(store) != 0)
            give_up("hf_sync");
    }
    must_close(store);
}

static void do_create(void)
{
    hf_store *store = must_open(HF_OPEN_OR_CREATE);
    change(store, 0);
    must_close(store);
}

static void do_grow_in_place(void)
{
    hf_store *store = must_open(HF_OPEN_EXISTING);
    change(store, 1 << 20);
    must_close(store);
}

static void do_abort(void)
{
    hf_store *store = must_open(HF_OPEN_EXISTING);
    hf_txn *txn = change_half(store, 1 << 20);
    hf_abort(txn);
    ledger->attempted--;
    change(store, 0);
    must_close(store);
}

static void do_resize(void)
{
    if (hf_grow(path, 100000) != 0)
        give_up("hf_grow");
    if (hf_shrink_to_fit(path) != 0)
        give_up("hf_shrink_to_fit");
}

/* What is found afterwards is the same counted state in either store. */
static void do_compact(void)
{
    hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
    options.flags = HF_COMPACT_DRY_RUN;
    if (hf_compact(path, &options) != 0)
        give_up("hf_compact, dry");
    if (hf_compact(path, NULL) != 0)
        give_up("hf_compact");
}

/* A free block, and the tail, that become holes and are used again. */
static void do_trim(void)
{
    hf_store *store = must_open(HF_OPEN_EXISTING);
    hf_txn *txn;
    if (hf_begin(store, &txn) != 0)
        give_up("hf_begin");
    void *large = hf_alloc(txn, 300000);
    if (large == NULL || hf_alloc(txn, 3000) == NULL)
        give_up("hf_alloc");
    const hf_ref ref = hf_ref_of(hf_txn_view(txn), large);
    if (hf_commit(txn) != 0 || hf_begin(store, &txn) != 0)
        give_up("hf_commit");
    hf_free(txn, hf_at(hf_txn_view(txn), ref));
    if (hf_commit(txn) != 0)
        give_up("hf_commit");
    if (hf_trim(store, NULL) != 0)
        give_up("hf_trim");
    change(store, 200000);
    must_close(store);
}

static void do_save(void)
{
    hf_store *store = must_open(HF_OPEN_EXISTING);
    if (hf_save_as(store, copy_path, 0) != 0)
        give_up("hf_save_as");
    must_close(store);
}

static void do_remove(void)
{
    if (hf_remove(path) != 0)
        give_up("hf_remove");
}

static void do_read(void)
{
    hf_store *store = must_open(HF_READ_ONLY);
    if (!look(store, "read-only"))
        _exit(1);
    must_close(store);
    store = must_open(HF_COPY_ON_WRITE);
    change(store, 1 << 20);
    ledger->acknowledged--;
    ledger->attempted--;
    must_close(store);
}

static void do_repair(void)
{
    hf_check_report report;
    if (hf_repair_file(path, NULL, &report) != 0)
        give_up("hf_repair_file");
}

enum { BESIDE_NOBODY = 1, MAY_VANISH = 2, START_EMPTY = 4, START_PENDING = 8, START_DAMAGED = 16 };
static const struct scenario {
    const char *name;
    void (*run)(void);
    unsigned flags;
} scenarios[] = {
    {"open and close", do_open_close, 0},
    {"commit twice", do_commit, 0},
    {"sync twice", do_sync, 0},
    {"grow in a transaction", do_grow_in_place, 0},
    {"abort", do_abort, 0},
    {"read-only and copy-on-write", do_read, BESIDE_NOBODY}, /* the latter keeps writers out */
    {"recover", do_open_close, START_PENDING},
    {"recover and commit", do_commit, START_PENDING | BESIDE_NOBODY},
    {"create", do_create, START_EMPTY | MAY_VANISH | BESIDE_NOBODY},
    {"grow and shrink", do_resize, BESIDE_NOBODY},
    {"compact", do_compact, BESIDE_NOBODY},
    {"recover and compact", do_compact, START_PENDING | BESIDE_NOBODY},
    {"trim", do_trim, 0},
    {"save as", do_save, 0},
    {"remove", do_remove, MAY_VANISH | BESIDE_NOBODY},
    {"repair", do_repair, START_DAMAGED | BESIDE_NOBODY},
};
#define SCENARIOS (sizeof scenarios / sizeof *scenarios)

/* ---- processes ----------------------------------------------------------------------------- */

static pid_t start(void (*run)(void), bool traced)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    /* One that is stepped waits while thousands of copies are verified. */
    alarm(traced ? 10 * HANG_SECONDS : HANG_SECONDS);
    if (traced && ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(EXIT_SKIPPED);
    if (traced)
        raise(SIGSTOP);
    run();
    _exit(0);
}

/* How a child that isn't traced ended, in words; NULL: well. */
static const char *ended(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) != pid)
        return "lost";
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return NULL;
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGALRM ? "hangs" : "was ended by a signal";
    return ledger->message[0] != '\0' ? ledger->message : "failed";
}

static bool wait_for_stage(const struct ledger *of, int stage)
{
    for (int i = 0; i < HANG_SECONDS * 20000; i++) {
        if (__atomic_load_n(&of->stage, __ATOMIC_ACQUIRE) >= stage)
            return true;
        usleep(50);
    }
    return false;
}

static void reach_stage(struct ledger *of, int stage)
{
    __atomic_store_n(&of->stage, stage, __ATOMIC_RELEASE);
}

/* Runs the victim up to its stop-th stop and kills it. False if it ended before. */
static bool run_and_kill(void (*run)(void), unsigned stop, int *out_status)
{
    pid_t pid = start(run, true);
    bool killed = false;
    if (waitpid(pid, out_status, 0) != pid || !WIFSTOPPED(*out_status))
        return false;
    ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
    for (unsigned n = 0; !killed;) {
        if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) != 0 || waitpid(pid, out_status, 0) != pid ||
            !WIFSTOPPED(*out_status))
            return false;
        if (WSTOPSIG(*out_status) == (SIGTRAP | 0x80))
            killed = n++ == stop;
        else if (WSTOPSIG(*out_status) == SIGALRM || WSTOPSIG(*out_status) == SIGSEGV)
            break;
    }
    kill(pid, SIGKILL);
    waitpid(pid, out_status, 0);
    return killed;
}

/* ---- aftermaths ---------------------------------------------------------------------------- */

static bool may_vanish, damaged;

static void verify_cold(void)
{
    if (may_vanish && access(path, F_OK) != 0)
        return;
    if (damaged && hf_repair_file(path, NULL, NULL) != 0)
        give_up("hf_repair_file, again");
    hf_store *store = must_open(HF_OPEN_EXISTING);
    if (!look(store, "the next opener"))
        _exit(1);
    change(store, 0);
    if (!look(store, "after a transaction more"))
        _exit(1);
    must_close(store);
    if (hf_check_file(path, NULL, NULL) != 0)
        give_up("hf_check_file");
    unlink(copy_path);
    if (files_left(false, false) != 1) {
        snprintf(ledger->message, sizeof ledger->message, "sidecars stay after the last close");
        _exit(1);
    }
}

static void verify_look(void)
{
    static const uint32_t modes[3] = {HF_COPY_ON_WRITE, HF_READ_ONLY, HF_READ_ONLY};
    if (may_vanish && access(path, F_OK) != 0)
        return;
    for (int i = 0; i < 3; i++) {
        hf_store *store = must_open(modes[i]);
        if (!look(store, modes[i] == HF_READ_ONLY ? "a reader" : "a copy-on-write handle"))
            _exit(1);
        must_close(store);
    }
    verify_cold();
}

/* Bystanders: stage 1 = open; told 1 = look, 2 = go; stage 2, 3 = done. */
static void wait_until_told(int what)
{
    while (__atomic_load_n(&beside->told, __ATOMIC_ACQUIRE) < what)
        usleep(50);
}

static void bystander_reads(void)
{
    hf_store *store = must_open(HF_READ_ONLY);
    reach_stage(ledger, 1);
    wait_until_told(1);
    if (!look(store, "the reader beside it"))
        _exit(1);
    reach_stage(ledger, 2);
    wait_until_told(2);
    if (!look(store, "the reader, after a writer closed"))
        _exit(1);
    must_close(store);
}

static void bystander_is_idle(void)
{
    hf_store *store = must_open(HF_OPEN_EXISTING);
    reach_stage(beside, 1);
    wait_until_told(1);
    must_close(store);
}

static void bystander_goes_on(void)
{
    hf_store *store = must_open(HF_OPEN_EXISTING);
    reach_stage(beside, 1);
    wait_until_told(1);
    if (!look(store, "the writer beside it"))
        _exit(1);
    change(store, 0);
    change_half(store, 1 << 20);
    kill(getpid(), SIGKILL);
}

static void bystander_stays(void)
{
    hf_store *store = must_open(HF_OPEN_EXISTING);
    change(store, 0); /* so that both victims find the same sidecars and a clean header */
    if (hf_sync(store) != 0)
        give_up("hf_sync");
    reach_stage(beside, 1);
    for (;;)
        pause();
}

static void tell(int what)
{
    __atomic_store_n(&beside->told, what, __ATOMIC_RELEASE);
}

static const char *after_idle(pid_t reader, pid_t writer)
{
    tell(1);
    const char *why = wait_for_stage(ledger, 2) ? NULL : "the reader beside it meets no view";
    const char *closed = ended(writer);
    tell(2);
    const char *read = ended(reader);
    return read != NULL ? read : closed != NULL ? closed : why;
}

static const char *after_going_on(pid_t writer)
{
    int status;
    tell(1);
    if (waitpid(writer, &status, 0) != writer || !WIFSIGNALED(status))
        return ledger->message[0] != '\0' ? ledger->message : "the writer beside it failed";
    return WTERMSIG(status) == SIGKILL ? NULL : "the writer beside it hangs or crashes";
}

/* Counts; says why it failed for the first few of each kind, one fault shows at many stops. */
static void judge(const char *what, const char *aftermath, unsigned long long at, const char *why)
{
    static char kind[PATH_BYTES];
    static unsigned told;
    char now[sizeof kind];
    if (why == NULL) {
        campaign.passed++;
        return;
    }
    snprintf(now, sizeof now, "%s, %s", what, aftermath);
    if (strcmp(now, kind) != 0)
        told = 0;
    memcpy(kind, now, sizeof kind);
    campaign.failed++;
    if (told++ < 3)
        printf("FAILED (seed %llu): %s, at %llu: %s\n", (unsigned long long)campaign.seed, now, at,
               why);
}

enum aftermath { COLD, LOOK, IDLE, GOES_ON, TWICE, AFTERMATHS };
static const char *const aftermath_names[] = {"cold", "look", "idle writer closes",
                                              "writer goes on", "killed twice"};

static void stop_bystander(pid_t pid)
{
    if (pid > 0 && kill(pid, SIGKILL) == 0)
        waitpid(pid, NULL, 0);
}

/* One kill and what follows. Returns false once the scenario ends before its stop-th stop. */
static bool one_kill(const struct scenario *scenario, const struct image *image, unsigned stop,
                     enum aftermath aftermath, int second)
{
    pid_t reader = -1, writer = -1;
    const char *why = NULL;
    int status = 0;
    uint64_t first = scenario->flags & START_EMPTY                ? 0
                     : logged() && scenario->flags & START_PENDING ? 2
                                                                   : 1;
    *ledger = (struct ledger){.attempted = first, .acknowledged = first};
    *beside = (struct ledger){0};
    if (!campaign_expect(&campaign, image_put(image), "writing the files of a scenario"))
        return false;
    if (aftermath == IDLE) {
        reader = start(bystander_reads, false);
        if (!wait_for_stage(ledger, 1))
            why = "the reader can't open";
    }
    if (aftermath >= IDLE && why == NULL) {
        writer = start(aftermath == IDLE      ? bystander_is_idle
                       : aftermath == GOES_ON ? bystander_goes_on
                                              : bystander_stays,
                       false);
        if (!wait_for_stage(beside, 1))
            why = "the bystander can't open";
    }
    bool killed = run_and_kill(scenario->run, stop, &status);
    bool well = killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
    if (!well && why == NULL)
        why = ledger->message[0] != '\0' ? ledger->message : "the scenario itself fails";
    may_vanish = (scenario->flags & MAY_VANISH) != 0;
    damaged = (scenario->flags & START_DAMAGED) != 0;
    if (aftermath == TWICE) {
        int again;
        run_and_kill(scenario->run, (unsigned)((int)stop + second < 0 ? 0 : (int)stop + second),
                     &again);
    }
    if (why == NULL && aftermath == IDLE)
        why = after_idle(reader, writer);
    else if (why == NULL && aftermath == GOES_ON)
        why = after_going_on(writer);
    else {
        stop_bystander(reader);
        stop_bystander(writer);
    }
    if (why == NULL)
        why = ended(start(aftermath == LOOK ? verify_look : verify_cold, false));
    judge(scenario->name, aftermath_names[aftermath], stop, why);
    return killed && well;
}

/* ---- the files a scenario begins with ------------------------------------------------------ */

static void make_clean(void)
{
    hf_store *store = must_open(HF_CREATE_NEW);
    change(store, 0);
    must_close(store);
}

static void make_pending(void)
{
    /* The direct engine leaves what wasn't committed, the log engine what was. */
    hf_store *store = must_open(HF_OPEN_EXISTING);
    store->durability = HF_LAZY;
    store->log.lazy_interval_ns = INT64_C(3600000000000);
    if (logged())
        change(store, 0);
    change_half(store, 1 << 20);
    kill(getpid(), SIGKILL);
}

static bool make_image(const struct scenario *scenario, struct image *image)
{
    files_left(true, true);
    *image = (struct image){{NULL}, {0}};
    *ledger = (struct ledger){0};
    if (scenario->flags & START_EMPTY)
        return true;
    if (ended(start(make_clean, false)) != NULL)
        return false;
    if (scenario->flags & START_PENDING)
        waitpid(start(make_pending, false), NULL, 0);
    if (!image_take(image))
        return false;
    if (scenario->flags & START_DAMAGED) /* one header slot, and a counter of the segment's */
        image->bytes[0][100] ^= 1, image->bytes[0][65536 + 24] ^= 1;
    return image->bytes[0] != NULL;
}

static void run_scenario(const struct scenario *scenario)
{
    struct image image;
    if (!campaign_expect(&campaign, make_image(scenario, &image), "making a store"))
        return;
    const enum aftermath last = scenario->flags & START_DAMAGED   ? COLD
                                : scenario->flags & BESIDE_NOBODY ? LOOK
                                : scenario->run == do_sync        ? TWICE
                                                                  : GOES_ON;
    const int pace = campaign.scale >= 10 ? 1 : 2;
    printf("%s:", scenario->name);
    for (int aftermath = COLD; aftermath <= (int)last; aftermath++) {
        unsigned stride = logged() && pace > 1               ? 7
                          : aftermath == LOOK && pace > 1 ? 3
                                                          : 1;
        unsigned stop = logged() && pace > 1 ? (unsigned)aftermath : 0;
        for (bool more = true; more && stop < STOPS_MAX; stop += stride)
            for (int second = aftermath == TWICE ? -6 : 2; more && second <= 2; second += pace)
                more = one_kill(scenario, &image, stop, (enum aftermath)aftermath, second);
        printf(" %s %u,", aftermath_names[aftermath], stop - stride);
    }
    printf(" stops\n");
    image_free(&image);
}

/* ---- one instruction at a time ------------------------------------------------------------- */

/* The child stops itself, runs what is stepped, and says so. */
static void step_abort(void)
{
    hf_store *store = must_open(HF_OPEN_EXISTING);
    hf_txn *txn = change_half(store, 1 << 20);
    raise(SIGSTOP);
    hf_abort(txn);
    reach_stage(beside, 1);
}

static void step_commit(void)
{
    hf_store *store = must_open(HF_OPEN_EXISTING);
    hf_txn *txn = change_half(store, 0);
    raise(SIGSTOP);
    hf_commit(txn);
    reach_stage(beside, 1);
}

static void step_begin(void)
{
    hf_store *store = must_open(HF_OPEN_EXISTING);
    hf_txn *txn;
    if (logged()) /* making the log files is too much to step through */
        change(store, 0);
    raise(SIGSTOP);
    if (hf_begin(store, &txn) == 0)
        reach_stage(beside, 1);
}

static void step_recover(void)
{
    raise(SIGSTOP);
    (void)must_open(HF_OPEN_EXISTING);
    reach_stage(beside, 1);
}

static const struct stepped {
    const char *name;
    void (*run)(void);
    unsigned flags, stride, stride_logged; /* instructions between two copies */
} stepped[] = {
    {"hf_abort", step_abort, 0, 1, 29},
    {"hf_commit", step_commit, 0, 11, 59},
    {"hf_begin", step_begin, 0, 29, 97},
    {"hf_open that recovers", step_recover, START_PENDING, 293, 997},
};

/* Verifies a copy of the child's files as they are now, under another name. */
static const char *verify_copy(void)
{
    char own[sizeof path], name[3 * PATH_BYTES];
    struct image image;
    bool ok = image_take(&image);
    struct ledger before = *ledger;
    memcpy(own, path, sizeof own);
    snprintf(path, sizeof path, "%s/copies/s.hf", directory);
    for (int i = 0; i < IMAGE_FILES && ok; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
        int fd = image.bytes[i] == NULL ? -1 : open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd >= 0)
            ok = write(fd, image.bytes[i], image.sizes[i]) == (ssize_t)image.sizes[i];
        if (fd >= 0)
            close(fd);
    }
    char whole[sizeof directory];
    memcpy(whole, directory, sizeof whole);
    snprintf(name, sizeof name, "%s/copies", whole);
    snprintf(directory, sizeof directory, "%.*s", (int)sizeof directory - 1, name);
    const char *why = ok ? ended(start(verify_cold, false)) : "copying";
    memcpy(directory, whole, sizeof whole);
    memcpy(path, own, sizeof own);
    image_free(&image);
    ledger->attempted = before.attempted;
    ledger->acknowledged = before.acknowledged;
    return why;
}

static void step_through(const struct stepped *what)
{
    struct image image;
    char copies[2 * PATH_BYTES], name[3 * PATH_BYTES];
    const struct scenario begin = {what->name, what->run, what->flags};
    int status, signal_number = 0;
    uint64_t steps = 0, verified = 0;
    const unsigned usual = logged() ? what->stride_logged : what->stride;
    const unsigned stride = campaign.scale >= 10 ? (usual + 4) / 5 : usual;
    if (!campaign_expect(&campaign, make_image(&begin, &image) && image_put(&image), "a store"))
        return;
    const uint64_t first = logged() && what->flags & START_PENDING ? 2 : 1;
    *ledger = (struct ledger){.attempted = first, .acknowledged = first};
    *beside = (struct ledger){0};
    snprintf(copies, sizeof copies, "%s/copies", directory);
    mkdir(copies, 0755);
    pid_t pid = start(what->run, true);
    waitpid(pid, &status, 0);
    ptrace(PTRACE_CONT, pid, NULL, NULL); /* to the stop before what is stepped */
    waitpid(pid, &status, 0);
    bool ok = WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP;
    may_vanish = damaged = false;
    while (ok && beside->stage == 0 && steps < 2000000) {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)(intptr_t)signal_number) != 0 ||
            waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
            break;
        signal_number = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        if (steps++ % stride != 0)
            continue;
        const char *why = verify_copy();
        verified++;
        judge(what->name, "a copy at the instruction", (unsigned long long)steps, why);
    }
    campaign_expect(&campaign, ok && beside->stage == 1, "%s was not stepped to its end",
                    what->name);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    printf("%s: %llu instructions, %llu copies\n", what->name, (unsigned long long)steps,
           (unsigned long long)verified);
    files_left(true, true);
    snprintf(name, sizeof name, "rm -rf '%s'", copies);
    if (system(name) != 0)
        printf("%s stays\n", copies);
    image_free(&image);
}

/* ---- all of it ----------------------------------------------------------------------------- */

static void do_nothing(void)
{
    breathe();
}

int main(int argc, char **argv)
{
    int status = 0;
    campaign_start(&campaign, "kill_syscalls");
    ledger = share();
    beside = share();
    if (!run_and_kill(do_nothing, 0, &status)) {
        printf("skipped: tracing isn't permitted here\n");
        return EXIT_SKIPPED;
    }
    if (!choose_directory())
        return 2;
    for (int engine = 0; engine < 2; engine++) {
        counted_engine = engine == 0 ? HF_ENGINE_LOG : HF_ENGINE_DIRECT;
        printf("The %s engine\n", logged() ? "log" : "direct");
        for (size_t i = 0; i < sizeof stepped / sizeof *stepped; i++)
            if (argc < 2 || strcmp(argv[1], stepped[i].name) == 0)
                step_through(&stepped[i]);
        for (size_t i = 0; i < SCENARIOS; i++)
            if (argc < 2 || strcmp(argv[1], scenarios[i].name) == 0)
                run_scenario(&scenarios[i]);
    }
    remove_directory();
    return campaign_end(&campaign);
}
