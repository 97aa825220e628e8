/* SPDX-License-Identifier: MIT */
/*
 * locks.c - the lock table: making it, joining it, telling the living from the dead
 *
 * Invariants
 *   P1  who holds the liveness byte of slot i alone owns slot i; only the owner writes the slot
 *   P2  a handle's id stands in no word of the table before its byte is locked and its slot
 *       written, and its slot keeps the id until every word that named it has been cleared
 *   P3  a slot's generation goes up with every owner, so an id in a word is alive only if its slot
 *       carries that very id and somebody holds the byte
 *   P4  a slot is touched only below *_backed: there are disk blocks under it (no SIGBUS). A new lock
 *       file is one page long; all of the table is mapped, far past its end
 *
 * From P1-P3: hf__locks_dead(id) never calls a living handle dead, and calls a dead one dead as
 * soon as the kernel has dropped its locks.
 */
#include "sync/locks.h"

#include "base/error.h"
#include "base/os.h"
#include "sync/range_lock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOT_BITS 10
#define SLOT_MASK ((1u << SLOT_BITS) - 1)
#define GENERATION_MASK ((1u << (32 - SLOT_BITS)) - 1)
#define SLOTS_A_PAGE (4096u / 64u)
#define LOCK_FILE_BYTES_MIN 4096

static uint32_t id_of(uint32_t slot, uint32_t generation)
{
    return generation << SLOT_BITS | (slot + 1);
}

uint64_t hf__deadline_in_ms(int64_t timeout_ms)
{
    if (timeout_ms == 0)
        return HF__NO_DEADLINE;
    if (timeout_ms < 0)
        return 0;
    uint64_t now = hf__os->now_ns(), room = (HF__NO_DEADLINE - now) / 1000000u;
    return (uint64_t)timeout_ms >= room ? HF__NO_DEADLINE : now + (uint64_t)timeout_ms * 1000000u;
}

/* ---- making and joining the table ------------------------------------------------------------ */

int hf__locks_open_private(struct hf__locks *locks, const char *path)
{
    struct hf__lock_table *table = calloc(1, sizeof *table);
    if (table == NULL)
        return hf__fail(HF_ENOMEM, "lock table");
    table->header.magic = HF__LOCK_MAGIC;
    table->header.processes_backed = HF_PROCESSES_MAX;
    table->header.readers_backed = HF_READERS_MAX;
    table->header.processes_high = 1;
    *locks = (struct hf__locks){.table = table, .path = path, .data_fd = -1, .lock_fd = -1};
    locks->own = id_of(0, 1);
    table->near_processes[0].owner = locks->own;
    table->near_processes[0].generation = 1;
    table->near_processes[0].pid = getpid();
    return 0;
}

static int map_table(struct hf__locks *locks, const char *lock_path)
{
    void *at = hf__os->mmap(NULL, sizeof(struct hf__lock_table), PROT_READ | PROT_WRITE, MAP_SHARED,
                            locks->lock_fd, 0);
    if (at == MAP_FAILED)
        return hf__fail_os(errno, lock_path, "mmap");
    locks->table = at;
    return 0;
}

/* The header and the first slots of a new table: as a whole, and disk blocks under it with that. Writing
 * costs less than fallocate where the file is gone again before the kernel writes it back. */
static int write_first_page(int fd, const struct hf__lock_header *header)
{
    _Alignas(struct hf__lock_header) unsigned char page[4096] = {0};
    memcpy(page, header, sizeof *header);
    return hf__write_at(fd, page, sizeof page, 0);
}

/* Makes the file, after removing what has its name. */
static int make_file(const char *lock_path, mode_t mode)
{
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    int fd = hf__os->open(lock_path, flags, mode);
    if (fd < 0 && errno == EEXIST) {
        if (hf__os->unlink(lock_path) != 0 && errno != ENOENT)
            return hf__fail_os(errno, lock_path, "unlink");
        fd = hf__os->open(lock_path, flags, mode);
    }
    return fd < 0 ? hf__fail_os(errno, lock_path, "open") : fd;
}

/* What was durable by the table that the dead have left, if it is of this boot and this store: as long as nobody
 * has rebooted, the page cache alone may hold what comes after. */
static void take_over_durable(const char *lock_path, struct hf__lock_header *header)
{
    struct hf__lock_header old;
    int fd = hf__os->open(lock_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0)
        return;
    ssize_t n = hf__read_at(fd, &old, sizeof old, 0);
    hf__os->close(fd);
    if (n != (ssize_t)sizeof old || old.magic != HF__LOCK_MAGIC || old.device != header->device ||
        old.inode != header->inode || memcmp(old.uuid, header->uuid, sizeof old.uuid) != 0 ||
        memcmp(old.boot_id, header->boot_id, sizeof old.boot_id) != 0 ||
        old.log.recover == HF__RECOVER_ALL)
        return;
    header->log.recover = HF__RECOVER_UNDURABLE;
    header->log.durable = old.log.durable;
}

int hf__locks_create(struct hf__locks *locks, const char *path, const char *lock_path, int data_fd,
                     const uint8_t uuid[16], mode_t mode, const struct hf__lock_start *start)
{
    struct hf__lock_header header = {.magic = HF__LOCK_MAGIC,
                                     .processes_backed = HF__NEAR_PROCESSES,
                                     .readers_backed = HF__NEAR_READERS,
                                     .header_marked = start->marked,
                                     .touched = !start->settled,
                                     .sync_failed = start->sync_failed,
                                     .log.recover = start->recover ? HF__RECOVER_ALL : 0,
                                     .gate = start->pending ? HF__NOBODY : 0};
    struct stat st, own;
    int code;
    *locks = (struct hf__locks){.path = path, .data_fd = data_fd, .lock_fd = -1};
    if (hf__boot_id(header.boot_id) != 0)
        return hf__fail_os(errno, "boot_id", "reading");
    if (hf__os->fstat(data_fd, &st) != 0)
        return hf__fail_os(errno, path, "fstat");
    memcpy(header.uuid, uuid, 16);
    header.device = (uint64_t)st.st_dev;
    header.inode = (uint64_t)st.st_ino;
    if (start->recover)
        take_over_durable(lock_path, &header);
    int fd = make_file(lock_path, mode);
    if (fd < 0)
        return fd;
    locks->lock_fd = fd;
    if (hf__os->fstat(fd, &own) != 0 ||
        ((own.st_mode & 07777) != mode && hf__os->fchmod(fd, mode) != 0) ||
        write_first_page(fd, &header) != 0) {
        code = hf__fail_os(errno, lock_path, "making the lock file");
        goto err_unlink;
    }
    /* Whoever may use the store may use its lock file, also when root was here first. */
    if (own.st_uid != st.st_uid || own.st_gid != st.st_gid)
        (void)!hf__os->fchown(fd, st.st_uid, st.st_gid);
    code = map_table(locks, lock_path);
    if (code == 0)
        return 0;

err_unlink:
    hf__os->unlink(lock_path);
    hf__os->close(fd);
    locks->lock_fd = -1;
    return code;
}

int hf__locks_attach(struct hf__locks *locks, const char *path, const char *lock_path, int data_fd,
                     bool data_read_only, const uint8_t uuid[16])
{
    struct stat data, lock;
    uint8_t boot_id[16];
    int code;
    if (hf__boot_id(boot_id) != 0)
        return hf__fail_os(errno, "boot_id", "reading");
    *locks = (struct hf__locks){
        .path = path, .data_fd = data_fd, .lock_fd = -1, .data_read_only = data_read_only};
    int fd = hf__os->open(lock_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0 && errno == ENOENT)
        return hf__fail_path(HF_EOTHERPATH, 0, path, "no lock file under this name");
    if (fd < 0)
        return hf__fail_os(errno, lock_path, "open");
    locks->lock_fd = fd;
    if (hf__os->fstat(data_fd, &data) != 0 || hf__os->fstat(fd, &lock) != 0) {
        code = hf__fail_os(errno, lock_path, "fstat");
        goto err_close;
    }
    if (lock.st_size < LOCK_FILE_BYTES_MIN || lock.st_size > (off_t)sizeof(struct hf__lock_table)) {
        code = hf__fail_path(HF_ESIDECAR, 0, lock_path, "not a lock file");
        goto err_close;
    }
    code = map_table(locks, lock_path);
    if (code != 0)
        goto err_close;
    const struct hf__lock_header *header = &locks->table->header;
    if (header->magic != HF__LOCK_MAGIC)
        code = hf__fail_path(HF_ESIDECAR, 0, lock_path, "not a lock file");
    else if (memcmp(header->boot_id, boot_id, 16) != 0)
        code = hf__fail_path(HF_ESIDECAR, 0, lock_path, "left over from before the last boot");
    else if (header->device != (uint64_t)data.st_dev || header->inode != (uint64_t)data.st_ino ||
             memcmp(header->uuid, uuid, 16) != 0)
        code = hf__fail_path(HF_EOTHERPATH, 0, path, "the lock file is another store's");
    if (code == 0)
        return 0;
    hf__os->munmap(locks->table, sizeof *locks->table);
    locks->table = NULL;
err_close:
    hf__os->close(fd);
    locks->lock_fd = -1;
    return code;
}

/* ---- slots ----------------------------------------------------------------------------------- */

/* A page of slots gets disk blocks. Others may be using it already, so nothing of theirs is written:
 * without fallocate one byte that is always zero, the last of the page's last slot, does it. */
static int back_page(int fd, off_t page)
{
    if (hf__os->fallocate(fd, 0, page, 4096) == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return -1;
    return hf__write_at(fd, "", 1, (uint64_t)page + 4095);
}

/* Sees to it that there are blocks under slot index of those whose far ones, the first number `near`,
 * begin at file offset `at`. */
static int back_slot(struct hf__locks *locks, uint32_t *backed, uint32_t near, off_t at, uint32_t index)
{
    uint32_t have = __atomic_load_n(backed, __ATOMIC_ACQUIRE);
    while (index >= have) {
        if (back_page(locks->lock_fd, at + (off_t)(have - near) * 64) != 0)
            return hf__fail_os(errno, locks->path, "growing the lock file");
        /* Whoever loses this race has allocated what was allocated already. */
        __atomic_compare_exchange_n(backed, &have, have + SLOTS_A_PAGE, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE);
        have = __atomic_load_n(backed, __ATOMIC_ACQUIRE);
    }
    return 0;
}

static void raise_to(uint32_t *high, uint32_t value)
{
    uint32_t have = __atomic_load_n(high, __ATOMIC_ACQUIRE);
    while (have < value && !__atomic_compare_exchange_n(high, &have, value, false, __ATOMIC_ACQ_REL,
                                                        __ATOMIC_ACQUIRE))
        ;
}

/* The byte alone: an exclusive lock, or where the file allows only shared ones, a shared lock that
 * nobody else shares. */
static bool lock_live_byte(const struct hf__locks *locks, uint32_t slot)
{
    const off_t byte = HF__RANGE_LIVE + (off_t)slot;
    if (!locks->data_read_only)
        return hf__range_exclusive(locks->data_fd, byte) == 0;
    if (hf__range_shared(locks->data_fd, byte) != 0)
        return false;
    if (!hf__range_held(locks->data_fd, byte))
        return true;
    hf__range_unlock(locks->data_fd, byte);
    return false;
}

static int claim_slot(struct hf__locks *locks, uint32_t index)
{
    struct hf__lock_header *header = &locks->table->header;
    struct hf__process_slot *slot = hf__process_slot(locks->table, index);
    int code = back_slot(locks, &header->processes_backed, HF__NEAR_PROCESSES,
                         offsetof(struct hf__lock_table, far_processes), index);
    if (code != 0)
        return code;
    uint32_t generation = (slot->generation + 1) & GENERATION_MASK;
    slot->generation = generation;
    slot->pid = getpid();
    slot->since_ns = hf__os->wall_ns();
    slot->flags = locks->data_read_only ? HF__PROCESS_READ_ONLY : 0;
    locks->own = id_of(index, generation);
    __atomic_store_n(&slot->owner, locks->own, __ATOMIC_SEQ_CST);
    raise_to(&header->processes_high, index + 1);
    return 0;
}

int hf__locks_claim(struct hf__locks *locks)
{
    const struct hf__lock_header *header = &locks->table->header;
    int full = 0;
    /* Free slots first, if there are blocks for one more; then also those whose owner may be dead. */
    for (int pass = 0; pass < 2; pass++) {
        uint32_t high = __atomic_load_n(&header->processes_high, __ATOMIC_ACQUIRE);
        for (uint32_t i = 0; i < HF_PROCESSES_MAX; i++) {
            const struct hf__process_slot *slot = hf__process_slot(locks->table, i);
            if (pass == 0 && i < high && __atomic_load_n(&slot->owner, __ATOMIC_ACQUIRE) != 0)
                continue;
            if (!lock_live_byte(locks, i))
                continue;
            full = claim_slot(locks, i);
            if (full == 0)
                return 0;
            hf__range_unlock(locks->data_fd, HF__RANGE_LIVE + (off_t)i);
            break;
        }
    }
    return full != 0 ? full
                     : hf__fail_path(HF_EPROCESSES, 0, locks->path, "at most %d", HF_PROCESSES_MAX);
}

void hf__locks_detach(struct hf__locks *locks, bool release)
{
    if (locks->table == NULL)
        return;
    if (locks->lock_fd == -1 && locks->data_fd < 0) {
        free(locks->table);
        locks->table = NULL;
        return;
    }
    if (release && locks->own != 0) {
        uint32_t index = (locks->own & SLOT_MASK) - 1;
        __atomic_store_n(&hf__process_slot(locks->table, index)->owner, 0, __ATOMIC_SEQ_CST);
        hf__range_unlock(locks->data_fd, HF__RANGE_LIVE + (off_t)index);
    }
    hf__os->munmap(locks->table, sizeof *locks->table);
    locks->table = NULL;
    if (locks->lock_fd >= 0)
        hf__os->close(locks->lock_fd);
    locks->lock_fd = -1;
}

static uint32_t backed_processes(const struct hf__locks *locks)
{
    const uint32_t backed =
        __atomic_load_n(&locks->table->header.processes_backed, __ATOMIC_ACQUIRE);
    return backed < HF_PROCESSES_MAX ? backed : HF_PROCESSES_MAX;
}

bool hf__locks_dead(const struct hf__locks *locks, uint32_t owner)
{
    uint32_t index = (owner & SLOT_MASK) - 1;
    if (owner == locks->own)
        return false;
    if (index >= backed_processes(locks))
        return true;
    const struct hf__process_slot *slot = hf__process_slot(locks->table, index);
    if (__atomic_load_n(&slot->owner, __ATOMIC_SEQ_CST) != owner)
        return true;
    return locks->data_fd >= 0 &&
           !hf__range_held(locks->data_fd, HF__RANGE_LIVE + (off_t)index);
}

/* Where in the file a process slot is. */
static uint64_t slot_at(uint32_t index)
{
    return index < HF__NEAR_PROCESSES
               ? offsetof(struct hf__lock_table, near_processes) + index * sizeof(struct hf__process_slot)
               : offsetof(struct hf__lock_table, far_processes) +
                     (index - HF__NEAR_PROCESSES) * sizeof(struct hf__process_slot);
}

int64_t hf__locks_find_pid(const char *lock_path, int data_fd, bool writes)
{
    /* Who wants to write is let in beside those in the lock file. */
    int64_t pid = writes ? hf__range_name(data_fd) : 0;
    if (pid != 0)
        return pid;
    int fd = hf__os->open(lock_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0)
        return hf__range_name(data_fd);
    for (uint32_t i = 0; i < HF_PROCESSES_MAX && pid == 0; i++) {
        struct hf__process_slot slot;
        if (hf__read_at(fd, &slot, sizeof slot, slot_at(i)) != (ssize_t)sizeof slot)
            break;
        if (slot.owner != 0 && hf__range_held(data_fd, HF__RANGE_LIVE + (off_t)i))
            pid = slot.pid;
    }
    hf__os->close(fd);
    return pid != 0 ? pid : hf__range_name(data_fd);
}

int64_t hf__locks_pid(const struct hf__locks *locks, uint32_t owner)
{
    uint32_t index = (owner & SLOT_MASK) - 1;
    return index < backed_processes(locks) ? hf__process_slot(locks->table, index)->pid : 0;
}

int hf__locks_back_reader(struct hf__locks *locks, uint32_t index)
{
    struct hf__lock_header *header = &locks->table->header;
    int code = back_slot(locks, &header->readers_backed, HF__NEAR_READERS,
                         offsetof(struct hf__lock_table, far_readers), index);
    if (code == 0)
        raise_to(&header->readers_high, index + 1);
    return code;
}
