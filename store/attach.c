/* SPDX-License-Identifier: MIT */
/*
 * attach.c - coming to a file and leaving it: locks, sidecars, fork
 *
 * Every handle holds the ATTACH range of the data file's inode, shared or exclusive (range_lock.h).
 *
 *   alone (exclusive)   first in: judges the header, makes the lock sidecar anew, then shares
 *                       last out: syncs, marks the file clean, removes the sidecars
 *                       HF__ROLE_ALONE: stays alone
 *   with others         joins the lock sidecar that is there
 *   frozen              no sidecar: keeps writers out for its life
 *
 * Invariants
 *   T1  a sidecar is made or removed only by who holds ATTACH exclusively
 *   T2  whoever holds ATTACH shared and is not frozen has joined a sidecar that stays as long as he
 *   does
 *   T3  header state IN_USE (this boot) implies that the undo sidecar of that generation exists,
 *       LOGGED and UNSYNCED that the log files do
 *   T4  after the lock is had, the name still leads to the locked inode (else: try again)
 *
 *   T5  as long as the lock table says "untouched", the file's header slots are clean and agree, and
 *       the lock file is the only sidecar: who makes another one or writes a header says so before,
 *       and the last one out has nothing to look for
 *
 *   T6  while header_marked is 0 in the lock table of a store with a log, "clean" is on the disk: it is
 *       1 from before the header may say "logged" until "clean" was synced, and from the start where a
 *       reader was first and found log files; as long as it is 1, they stay
 *
 * A lock sidecar made while an undo list waits starts with its gate closed by nobody: the rollback
 * is then the same as beside living processes, done by the first who takes the writer's place.
 */
#include "engine.h"
#include "store.h"

#include "base/bug.h"
#include "base/os.h"
#include "sync/range_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGAIN 1 /* somebody stands in the way for now */
#define RACED 2 /* we came between another one's steps */
#define PAUSE_NS ((int64_t)1000 * 1000)
#define RACES_MAX 50u

/* ---- the process's open stores, and fork ----------------------------------------------------- */

static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t list_once = PTHREAD_ONCE_INIT;
static hf_store *list_head;

static void fork_prepare(void)
{
    pthread_mutex_lock(&list_mutex);
}

static void fork_parent(void)
{
    pthread_mutex_unlock(&list_mutex);
}

/* The child shares the parent's open file descriptions and with them its locks: closing its copies
 * at once keeps the parent's death visible to others. */
static void fork_child(void)
{
    for (hf_store *store = list_head; store != NULL; store = store->next) {
        store->forked = true;
        hf__drop_fd(&store->fd);
        hf__drop_fd(&store->map_fd);
        hf__drop_fd(&store->locks.lock_fd);
        hf__drop_fd(&store->undo.fd);
        hf__log_drop_fds(&store->log);
    }
    list_head = NULL;
    pthread_mutex_unlock(&list_mutex);
}

static void watch_forks(void)
{
    pthread_atfork(fork_prepare, fork_parent, fork_child);
}

void hf__list_remove(hf_store *store)
{
    pthread_mutex_lock(&list_mutex);
    for (hf_store **at = &list_head; *at != NULL; at = &(*at)->next)
        if (*at == store) {
            *at = store->next;
            break;
        }
    pthread_mutex_unlock(&list_mutex);
}

/* Is it the same file, or the same buffer? */
static bool same_store(const hf_store *a, const hf_store *b)
{
    if (a->backing != b->backing)
        return false;
    return a->backing == HF__BACKING_FILE
               ? a->fd >= 0 && a->device == b->device && a->inode == b->inode
               : a->seg.base == b->seg.base;
}

static int list_add_locked(hf_store *store)
{
    int code = 0;
    for (const hf_store *other = list_head; other != NULL; other = other->next)
        if (same_store(other, store))
            code = HF_EALREADYOPEN;
    if (code != 0)
        return hf__fail_path(code, 0, store->path, "share the handle between threads");
    store->next = list_head;
    list_head = store;
    return 0;
}

int hf__list_add(hf_store *store)
{
    pthread_once(&list_once, watch_forks);
    pthread_mutex_lock(&list_mutex);
    int code = list_add_locked(store);
    pthread_mutex_unlock(&list_mutex);
    return code;
}

/* ---- names and file systems ------------------------------------------------------------------ */

int hf__paths_set(hf_store *store, const char *path)
{
    if (path == NULL || path[0] == '\0')
        return hf__fail(HF_EINVAL, "a path is needed");
    const size_t length = strlen(path);
    if (length >= 5 && (strcmp(path + length - 5, "-lock") == 0 ||
                        strcmp(path + length - 5, "-undo") == 0 ||
                        strcmp(path + length - 5, "-log0") == 0 ||
                        strcmp(path + length - 5, "-log1") == 0))
        return hf__fail_path(HF_EINVAL, 0, path, "the name of a sidecar");
    char *real = realpath(path, NULL);
    if (real == NULL && errno == ENOENT) {
        /* The file itself may be still to come; its directory must be there. */
        const char *slash = strrchr(path, '/');
        char *directory = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
        const char *name = slash == NULL ? path : slash + 1;
        char *real_directory = directory == NULL ? NULL : realpath(directory, NULL);
        int error = errno;
        free(directory);
        if (real_directory == NULL)
            return hf__fail_os(error, path, "finding the directory");
        if (asprintf(&real, "%s/%s", real_directory, name) < 0)
            real = NULL;
        free(real_directory);
    } else if (real == NULL) {
        return hf__fail_os(errno, path, "finding the file");
    }
    store->path = real;
    if (real == NULL || asprintf(&store->lock_path, "%s-lock", real) < 0 ||
        asprintf(&store->undo_path, "%s-undo", real) < 0 ||
        asprintf(&store->log.paths[0], "%s-log0", real) < 0 ||
        asprintf(&store->log.paths[1], "%s-log1", real) < 0)
        return hf__fail(HF_ENOMEM, "file names");
    return 0;
}

int hf__fs_check(int fd, const char *path, bool *mapped)
{
    static const uint32_t network[] = {NFS_SUPER_MAGIC, SMB_SUPER_MAGIC,  SMB2_SUPER_MAGIC,
                                       0xff534d42,      V9FS_MAGIC,       AFS_SUPER_MAGIC,
                                       CODA_SUPER_MAGIC, CEPH_SUPER_MAGIC, 0x0bd00bd0};
    /* Those that overwrite a block where it is, and can't share it with another file. */
    static const uint32_t in_place[] = {EXT4_SUPER_MAGIC, TMPFS_MAGIC, RAMFS_MAGIC};
    uint64_t magic;
    *mapped = false;
    if (hf__os->fs_type(fd, &magic) != 0)
        return hf__fail_os(errno, path, "fstatfs");
    for (size_t i = 0; i < sizeof network / sizeof *network; i++)
        if (magic == network[i])
            return hf__fail_path(HF_ENETFS, 0, path, "a network file system (type %#llx)",
                                 (unsigned long long)magic);
    for (size_t i = 0; i < sizeof in_place / sizeof *in_place; i++)
        *mapped |= magic == in_place[i];
    return 0;
}

/* ---- opening the file ------------------------------------------------------------------------ */

static int open_file_locked(hf_store *store)
{
    const int flags = O_CLOEXEC | O_NONBLOCK; /* a fifo must not make us wait */
    struct stat st;
    int code;
    int fd = store->role == HF__ROLE_FROZEN ? -1 : hf__os->open(store->path, O_RDWR | flags, 0);
    store->fd_read_only = false;
    if (fd < 0 && (store->role == HF__ROLE_FROZEN ||
                   (store->role == HF__ROLE_READER &&
                    (errno == EACCES || errno == EPERM || errno == EROFS || errno == ETXTBSY)))) {
        fd = hf__os->open(store->path, O_RDONLY | flags, 0);
        store->fd_read_only = true;
    }
    if (fd < 0)
        return hf__fail_os(errno, store->path, "open");
    if (hf__os->fstat(fd, &st) != 0) {
        code = hf__fail_os(errno, store->path, "fstat");
        goto err_close;
    }
    if (!S_ISREG(st.st_mode)) {
        code = hf__fail_path(HF_ENOTSTORE, 0, store->path, "not a regular file");
        goto err_close;
    }
    store->device = st.st_dev;
    store->inode = st.st_ino;
    store->file_mode = st.st_mode & 0666;
    store->undo.user = st.st_uid;
    store->undo.group = st.st_gid;
    code = hf__fs_check(fd, store->path, &store->written_mapped);
    if (code != 0)
        goto err_close;
    store->fd = fd;
    code = list_add_locked(store);
    if (code == 0)
        return 0;
    store->fd = -1;
err_close:
    hf__os->close(fd);
    return code;
}

/* A fork between the opening and the list would leave the child with a descriptor that nobody closes,
 * and with it the parent's locks. */
static int open_file(hf_store *store)
{
    pthread_once(&list_once, watch_forks);
    pthread_mutex_lock(&list_mutex);
    int code = open_file_locked(store);
    pthread_mutex_unlock(&list_mutex);
    return code;
}

static void close_file(hf_store *store)
{
    hf__os->lock(store->fd, F_UNLCK, 0, 0); /* also those a forked child's copy would keep */
    hf__list_remove(store);
    hf__os->close(store->fd);
    store->fd = -1;
}

/* T4 */
static bool same_file(const hf_store *store)
{
    struct stat st;
    return hf__os->stat(store->path, &st) == 0 && st.st_dev == store->device &&
           st.st_ino == store->inode;
}

/* ---- judging --------------------------------------------------------------------------------- */

static int this_boot(const struct hf__file_header *header, bool *out)
{
    uint8_t boot_id[16];
    if (hf__boot_id(boot_id) != 0)
        return hf__fail_os(errno, "boot_id", "reading");
    *out = memcmp(boot_id, header->boot_id, sizeof boot_id) == 0;
    return 0;
}

/* Beside writers (quiet false) the segment header may change between the two reads. */
static int read_headers(hf_store *store, struct hf__file_header *header, bool repair, bool quiet,
                        bool *settled)
{
    bool agree = false;
    struct hf__segment_header segment = {0};
    bool read_only = store->mode == HF_READ_ONLY || store->mode == HF_COPY_ON_WRITE;
    int code = repair ? hf__repair_headers(store, header)
                      : hf__header_read_both(store->fd, store->path, read_only, header, &agree);
    if (code == 0)
        code = hf__segment_header_read(store->fd, store->path, header, quiet, &segment);
    if (code == 0)
        store->constants = segment.constants;
    store->found_bytes = segment.size_bytes;
    *settled = agree && header->state == HF__STATE_CLEAN && header->table_state == HF__TABLE_TRUE;
    if (code == 0 &&
        memcmp(&header->constants, &segment.constants, sizeof segment.constants) != 0)
        code = hf__fail_path(HF_ECORRUPT, 0, store->path,
                             "header and segment are not of one store");
    return code;
}

/* Looks at what a former use left behind. */
static int judge_leftovers(hf_store *store, const struct hf__file_header *header, bool repair,
                           bool read_only, bool *in_use, struct hf__lock_start *start)
{
    *in_use = false;
    *start = (struct hf__lock_start){.marked = false};
    if (header->state == HF__STATE_CLEAN)
        return 0;
    if (header->state >= HF__STATE_LOGGED) {
        *start = (struct hf__lock_start){.pending = true, .recover = true};
        *in_use = true;
        if (header->state == HF__STATE_LOGGED || HF__BUG(UNSYNCED_TRUSTED))
            return 0;
    }
    int code = this_boot(header, in_use);
    if (code != 0)
        return code;
    if (*in_use && header->state == HF__STATE_UNSYNCED)
        return 0;
    start->pending = start->recover = false;
    if (!*in_use)
        return repair ? 0
                      : hf__fail_path(HF_ETORN, 0, store->path,
                                      "check it with fsck; fsck --repair lets it be opened again");
    code = hf__undo_open_file(&store->undo, header->constants.uuid, 0, false, read_only);
    if (code == 0 && hf__undo_header(&store->undo)->generation != header->generation)
        code = hf__fail_path(HF_ESIDECAR, 0, store->undo_path, "an undo list of another time");
    if (code == HF_ENOENT)
        code = hf__fail_path(HF_ESIDECAR, 0, store->undo_path,
                             "the store was not closed and its undo list is missing");
    if (code == 0)
        *start = (struct hf__lock_start){
            .pending = hf__undo_end(&store->undo) != HF__UNDO_FIRST,
            .sync_failed = !repair && hf__undo_header(&store->undo)->sync_failed != 0};
    if (code != 0 || read_only)
        hf__undo_close(&store->undo);
    return repair && code == HF_ESIDECAR ? 0 : code;
}

/* ---- the three ways in ----------------------------------------------------------------------- */

/* The header says "clean", with log files beside it: who wrote that died before he removed them,
 * perhaps also before it was on the disk, where "logged" may stand as long. So it is written again,
 * not only synced: of a failed sync the kernel may have told him and not us. */
static int settle_leftovers(hf_store *store, struct hf__file_header *header)
{
    if (header->state != HF__STATE_CLEAN || !hf__log_leftovers(store))
        return 0;
    return hf__header_write(store->fd, store->path, header);
}

static bool sidecars_there(const hf_store *store)
{
    struct stat st;
    return hf__log_leftovers(store) || hf__os->stat(store->undo_path, &st) == 0;
}

static void unlink_leftovers(const hf_store *store)
{
    hf__os->unlink(store->undo_path);
    hf__os->unlink(store->log.paths[0]);
    hf__os->unlink(store->log.paths[1]);
}

static int first_in(hf_store *store, bool repair, struct hf__file_header *header)
{
    struct hf__lock_start start = {.marked = false};
    bool in_use = false, settled = false;
    const bool reader = store->role == HF__ROLE_READER;
    int code = read_headers(store, header, repair, true, &settled);
    if (code == 0)
        code = judge_leftovers(store, header, repair, reader, &in_use, &start);
    if (code != 0)
        return code;
    const bool sidecars = !in_use && sidecars_there(store);
    if (sidecars && !reader) {
        code = settle_leftovers(store, header);
        if (code != 0)
            return code;
        unlink_leftovers(store);
    }
    /* Without an undo list (repair goes on without one) there is nothing that could be undone. */
    start.marked = in_use && (reader || start.recover || store->undo.map != NULL);
    /* A reader can't settle that: "clean" stays a mere claim until a writer has (T6). */
    start.marked |= sidecars && reader && store->constants.engine == HF_ENGINE_LOG &&
                    hf__log_leftovers(store);
    start.settled = settled && !in_use && !sidecars && store->role != HF__ROLE_ALONE;
    code = hf__locks_create(&store->locks, store->path, store->lock_path, store->fd,
                            header->constants.uuid, store->file_mode, &start);
    if (code != 0)
        return code;
    if (!reader && hf__range_shared(store->fd, HF__RANGE_WRITERS) != 0)
        code = hf__fail_os(errno, store->path, "locking");
    if (code == 0)
        code = hf__locks_claim(&store->locks);
    if (code == 0 && store->role != HF__ROLE_ALONE &&
        hf__range_shared(store->fd, HF__RANGE_ATTACH) != 0)
        code = hf__fail_os(errno, store->path, "locking");
    return code;
}

static int join(hf_store *store, struct hf__file_header *header)
{
    if (store->role == HF__ROLE_WRITER) {
        if (hf__range_shared(store->fd, HF__RANGE_WRITERS) != 0)
            return AGAIN;
        if (hf__range_held(store->fd, HF__RANGE_FROZEN)) {
            hf__range_unlock(store->fd, HF__RANGE_WRITERS);
            return AGAIN;
        }
    }
    bool settled;
    int code = read_headers(store, header, false, false, &settled);
    if (code == 0)
        code = hf__locks_attach(&store->locks, store->path, store->lock_path, store->fd,
                                store->fd_read_only, header->constants.uuid);
    if (code == 0)
        code = hf__locks_claim(&store->locks);
    return code;
}

static int freeze(hf_store *store, struct hf__file_header *header)
{
    struct hf__lock_start ignored;
    bool in_use, settled;
    hf__locks_detach(&store->locks, false);
    if (hf__range_shared(store->fd, HF__RANGE_FROZEN) != 0)
        return AGAIN;
    if (hf__range_held(store->fd, HF__RANGE_WRITERS)) {
        hf__range_unlock(store->fd, HF__RANGE_FROZEN);
        return AGAIN;
    }
    /* For messages only. */
    (void)hf__range_shared(store->fd, HF__RANGE_NAMES + getpid());
    int code = read_headers(store, header, false, true, &settled);
    if (code == 0)
        code = judge_leftovers(store, header, false, true, &in_use, &ignored);
    if (code == 0)
        code = hf__locks_open_private(&store->locks, store->path);
    if (code == 0)
        store->role = HF__ROLE_FROZEN;
    return code;
}

/* Errors of the lock sidecar that a reader can do without it. */
static bool can_do_without(int code)
{
    return code == HF_EACCES || code == HF_EOTHERPATH || code == HF_ESIDECAR || code == HF_ENOSPC;
}

/* A missing lock sidecar is a race with the last one out far more often than a hard link: between
 * two of our tries it removed its sidecars and went. Another try finds the file free, or the next
 * one's sidecar. Several who raced here see each other; only patience tells that from a second
 * path. */
static int try_attach(hf_store *store, bool repair, bool patient, struct hf__file_header *header)
{
    int code = open_file(store);
    if (code != 0)
        return code;
    errno = EAGAIN; /* of the lock that isn't tried at all */
    const enum hf__role role = store->role;
    bool alone = role != HF__ROLE_FROZEN && !store->fd_read_only &&
                 hf__range_exclusive(store->fd, HF__RANGE_ATTACH) == 0;
    if (!alone && (role == HF__ROLE_ALONE || hf__range_shared(store->fd, HF__RANGE_ATTACH) != 0))
        code = errno == EAGAIN || errno == EACCES ? AGAIN
                                                  : hf__fail_os(errno, store->path, "locking");
    else if (!same_file(store))
        code = AGAIN;
    else if (role == HF__ROLE_FROZEN)
        code = freeze(store, header);
    else if (alone)
        code = first_in(store, repair, header);
    else
        code = join(store, header);
    if (code == HF_EOTHERPATH && patient && !store->fd_read_only)
        code = RACED;
    if (role == HF__ROLE_READER && can_do_without(code)) {
        code = alone && hf__range_shared(store->fd, HF__RANGE_ATTACH) != 0 ? AGAIN
                                                                          : freeze(store, header);
    }
    if (code != 0) {
        hf__detach_unused(store);
        store->role = role;
    }
    return code;
}

int hf__attach(hf_store *store, bool repair, uint64_t deadline, struct hf__file_header *header)
{
    uint32_t nothing = 0;
    for (uint32_t races = 0;;) {
        int code = try_attach(store, repair, races < RACES_MAX, header);
        if (code == RACED) {
            /* Pauses of different length for those who race each other. */
            uint32_t quarters = 1 + ((uint32_t)getpid() + races++) % 7;
            hf__os->futex_wait(&nothing, 0, PAUSE_NS / 4 * quarters);
            continue;
        }
        if (code != AGAIN)
            return code;
        if (deadline != HF__NO_DEADLINE && hf__os->now_ns() >= deadline)
            break;
        hf__os->futex_wait(&nothing, 0, PAUSE_NS);
    }
    int64_t pid = 0;
    int fd = hf__os->open(store->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd >= 0) {
        pid = hf__locks_find_pid(store->lock_path, fd, store->role == HF__ROLE_WRITER);
        hf__os->close(fd);
    }
    return hf__fail_busy(pid, store->path, "open elsewhere");
}

int hf__attach_to_look(hf_store *store)
{
    int code = open_file(store);
    if (code != 0)
        return code;
    if (hf__range_shared(store->fd, HF__RANGE_ATTACH) == 0 &&
        hf__range_shared(store->fd, HF__RANGE_FROZEN) == 0 &&
        !hf__range_held(store->fd, HF__RANGE_WRITERS)) {
        (void)hf__range_shared(store->fd, HF__RANGE_NAMES + getpid());
        return 0;
    }
    int64_t pid = hf__locks_find_pid(store->lock_path, store->fd, false);
    close_file(store);
    return hf__fail_busy(pid, store->path, "open for writing");
}

int hf__attach_for_removal(hf_store *store, uint64_t deadline)
{
    uint32_t nothing = 0;
    for (;;) {
        int code = open_file(store);
        if (code != 0)
            return code;
        if (hf__range_exclusive(store->fd, HF__RANGE_ATTACH) == 0 && same_file(store))
            return 0;
        int64_t pid = hf__locks_find_pid(store->lock_path, store->fd, false);
        close_file(store);
        if (deadline != HF__NO_DEADLINE && hf__os->now_ns() >= deadline)
            return hf__fail_busy(pid, store->path, "open elsewhere");
        hf__os->futex_wait(&nothing, 0, PAUSE_NS);
    }
}

/* ---- out ------------------------------------------------------------------------------------- */

/* With ATTACH exclusive: nobody else is there, so nothing but this handle needs the sidecars. */
static int last_out(hf_store *store)
{
    struct hf__file_header header;
    bool written = false;
    int code = 0;
    if (!hf__flag(&store->locks.table->header.touched)) { /* T5 */
        if (same_file(store))
            hf__os->unlink(store->lock_path);
        return 0;
    }
    if (store->role != HF__ROLE_READER)
        code = hf__header_read(store->fd, store->path, true, &header);
    if (store->role != HF__ROLE_READER && code == 0 &&
        (store->locks.table->header.header_marked || header.state != HF__STATE_CLEAN ||
         header.table_state != HF__TABLE_TRUE)) {
        if (HF__BUG(END_LOGS_GO_FIRST))
            unlink_leftovers(store);
        written = true;
        (void)hf__space_lower(store);
        code = store->engine->clean(store, HF__NO_DEADLINE);
    }
    /* At rest both slots say the same, so that losing either loses nothing. */
    if (store->role != HF__ROLE_READER && code == 0)
        code = hf__header_settle(store->fd, store->path);
    if (code == 0 && hf__header_read(store->fd, store->path, true, &header) == 0 &&
        header.state == HF__STATE_CLEAN && same_file(store)) {
        if (written)
            hf__space_cut(store, &header);
        /* A reader may not know that "clean" is on the disk: the logs are the next writer's then. */
        if (!hf__flag(&store->locks.table->header.header_marked)) /* T6 */
            unlink_leftovers(store);
        hf__os->unlink(store->lock_path);
    }
    return code;
}

/* Others stay. If none of them writes, the file is made clean now: readers never touch it. */
static int writer_out(hf_store *store)
{
    if (hf__range_held(store->fd, HF__RANGE_WRITERS))
        return 0;
    int code = store->engine->clean(store, hf__deadline_in_ms(1000));
    /* A new writer came: the duty is his. A reader stays: the file stays in use. */
    return code == HF_EBUSY ? 0 : code;
}

static void let_go(hf_store *store)
{
    hf__locks_detach(&store->locks, true);
    hf__undo_close(&store->undo);
    close_file(store);
}

void hf__detach_unused(hf_store *store)
{
    /* A lock sidecar that was made for nothing goes again, if nobody has joined it. */
    if (store->locks.table != NULL && store->locks.lock_fd >= 0 && !store->fd_read_only &&
        hf__range_exclusive(store->fd, HF__RANGE_ATTACH) == 0 &&
        !store->locks.table->header.header_marked && same_file(store))
        hf__os->unlink(store->lock_path);
    let_go(store);
}

int hf__detach(hf_store *store)
{
    int code = 0;
    uint32_t nothing = 0;
    if (store->role != HF__ROLE_FROZEN && !store->fd_read_only) {
        while (hf__range_exclusive(store->fd, HF__RANGE_CLOSING) != 0 &&
               (errno == EAGAIN || errno == EACCES))
            hf__os->futex_wait(&nothing, 0, PAUSE_NS);
        if (hf__range_exclusive(store->fd, HF__RANGE_ATTACH) == 0)
            code = last_out(store);
        else if (store->role == HF__ROLE_WRITER)
            code = writer_out(store);
    }
    let_go(store);
    return code;
}
