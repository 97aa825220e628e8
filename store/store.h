/* SPDX-License-Identifier: MIT */
/*
 * store.h - what a handle is made of
 *
 *   hf_store --- struct hf__segment   the writable view, with the edit door in front
 *            |-- struct hf__heap      allocator over it        (alloc/)
 *            |-- struct hf__locks     lock table               (sync/)
 *            |-- struct hf__undo      old content for aborts   (undo.h)
 *            |-- struct hf_txn        the one transaction this handle can have
 *            `-- hf_view[]            one for each reader slot, so that a view needs no malloc
 *
 * Files of this room: open.c (hf_open and its kin), attach.c (locks, sidecars, fork), header.c
 * (file header), mapping.c (address space, growth), txn.c (transactions), engine.h with direct.c
 * (and undo.c) and log_engine.c (and what log.h lists) behind it, view.c, object.c, type.c,
 * iterate.c, memory.c, check.c, repair.c, resize.c, space.c, space_auto.c,
 * space_copy.c, save.c, info.c.
 */
#ifndef HF_STORE_STORE_H
#define HF_STORE_STORE_H

#include "alloc/allocator.h"
#include "base/error.h"
#include "base/segment.h"
#include "holdfast/holdfast.h"
#include "index/index.h"
#include "layout.h"
#include "log.h"
#include "object_format.h"
#include "store_format.h"
#include "sync/locks.h"
#include "undo.h"

#include <sys/types.h>

enum hf__backing { HF__BACKING_FILE, HF__BACKING_HEAP, HF__BACKING_BUFFER };

#define HF__TYPE_IDS 256u

/* How a handle stands towards the file (attach.c). */
enum hf__role {
    HF__ROLE_WRITER,    /* transactions and views, through the lock sidecar                      */
    HF__ROLE_READER,    /* views, through the lock sidecar                                       */
    HF__ROLE_FROZEN,    /* keeps writers out for its life; no sidecar                            */
    HF__ROLE_ALONE      /* keeps everybody out for its life: grow, shrink, repair, remove        */
};

struct hf_view {
    hf_store *store;
    struct hf__segment *seg;      /* &own, or the store's for a transaction's view               */
    struct hf__segment own;
    struct hf_view *next_on_thread;
    void *replay;                 /* private mapping with a dead writer's changes undone, or NULL */
    uint32_t slot, depth;
    uint64_t thread;              /* whose it is                                                  */
    uint64_t memory_id;           /* tells what a thread remembers of its names (object.c); 0: nothing */
};

/* A savepoint: where undo list and pending frees stood. */
struct hf__savepoint {
    uint64_t id, undo_end;
    size_t pending_count;
};

struct hf_txn {
    hf_store *store;
    struct hf_view view;
    uint64_t serial;              /* tells the marks of different transactions apart             */
    bool active;
    bool zeroed;                  /* free memory was, which no rollback undoes and a record tells  */
    int failed;                   /* sticky error of hf_free, 0 = none                           */
    hf_error failure;             /* its details, for hf_commit                                  */
    uint64_t failed_id;           /* savepoint_id then: a rollback to that or before forgets it  */
    hf_ref *pending;              /* entries of hf__block_free_later, to free at commit           */
    size_t pending_count, pending_room;
    struct hf__savepoint *savepoints;
    size_t savepoint_count, savepoint_room;
    uint64_t savepoint_id;        /* last id given                                               */
    uint64_t raw_change;          /* of raw_count, not written yet                               */
};

struct hf__engine;

struct hf_store {
    enum hf__backing backing;
    enum hf__role role;
    uint32_t mode;
    int64_t lock_timeout_ms;
    char *path, *lock_path, *undo_path; /* canonical; NULL for memory backings                   */
    int fd;
    bool fd_read_only;            /* the data file could not be opened for writing               */
    bool written_mapped;          /* the log engine may write it through mappings: hf__fs_check  */
    dev_t device;
    ino_t inode;
    mode_t file_mode;

    unsigned char *range;         /* the address range this handle holds, NULL for buffers       */
    uint64_t range_bytes;
    unsigned char *reserved;      /* in it, aligned: where the file's start is mapped, P if two are */
    uint64_t reserved_bytes;
    unsigned char *shown;         /* what readers look through: log.shared or reserved           */
    uint64_t shown_bytes;         /* how far into the segment it is mapped (M3); atomic          */
    bool writers_mapped;          /* P is mapped, too; under the writer's place                  */
    int map_fd;                   /* the log engine's mappings are made from it; it carries no locks */
    pthread_mutex_t map_mutex;    /* for mapping more of `shown`                                 */
    uint64_t size_max_bytes;      /* largest segment this handle can address                     */
    struct hf__segment seg;
    struct hf__heap heap;
    const struct hf__index_ops *index_ops;
    struct hf__constants constants;
    uint64_t found_bytes;         /* the segment's size when the file was judged                 */

    const struct hf__engine *engine;
    struct hf__locks locks;
    struct hf__undo undo;
    struct hf__log log;           /* the log engine's                                            */
    uint32_t durability;          /* HF_SYNC, HF_LAZY, HF_NOSYNC                                 */
    hf_recovery recovery;
    bool opening;                 /* rollbacks now count as cold                                 */

    struct {
        uint64_t from, to; /* had blocks put there in this transaction                           */
        bool changed;      /* some were: they must be on stable storage before a commit is        */
    } backed;

    struct hf_txn txn;
    uint64_t writer_thread;       /* which thread of this process has it; atomic                 */
    struct hf_view *views;        /* HF_READERS_MAX, by slot                                     */

    uint32_t type_ids[HF__TYPE_IDS]; /* by hash of name and version: where to look first         */

    bool forked;                  /* set in the child of a fork: the handle is dead              */
    struct hf_store *next;        /* in the process's list of open stores (attach.c)             */
};

/* What the log engine's processes share. */
static inline struct hf__log_words *hf__words(const hf_store *store)
{
    return &store->locks.table->header.log;
}

/* Does the lock table tell where the log stands? Not to who keeps writers out, nor of a log that was
 * left behind. */
static inline bool hf__log_is_live(const hf_store *store)
{
    return store->constants.engine == HF_ENGINE_LOG && store->backing == HF__BACKING_FILE &&
           store->role != HF__ROLE_FROZEN && !hf__flag(&hf__words(store)->recover);
}

/* The kernel tells of a failed write-back once, and who is told may die before he passes it on. So
 * whoever syncs the data file, its header included, says beforehand that it failed, and takes that
 * back when it didn't. The writer's place is held. */
static inline uint32_t hf__data_suspect(hf_store *store)
{
    return __atomic_exchange_n(&hf__words(store)->data_failed, 1, __ATOMIC_SEQ_CST);
}
static inline void hf__data_acquit(hf_store *store, uint32_t before)
{
    hf__set_flag(&hf__words(store)->data_failed, before);
}

static inline const struct hf__segment_header *hf__segment_header(const struct hf__segment *seg)
{
    return (const struct hf__segment_header *)seg->base;
}

static inline int hf__fail_outgrown(const hf_store *store)
{
    return hf__fail_path(HF_EADDRSPACE, 0, store->path,
                         "it has grown past what this process could reserve");
}

/* Sizes in a file are whole pages: the next one up. */
static inline uint64_t hf__whole_pages(uint64_t size_bytes)
{
    return (size_bytes + HF__PAGE_BYTES - 1) & ~(uint64_t)(HF__PAGE_BYTES - 1);
}

/* For qsort and bsearch over arrays of hf_ref. */
static inline int hf__compare_refs(const void *a, const void *b)
{
    hf_ref x = *(const hf_ref *)a, y = *(const hf_ref *)b;
    return (x > y) - (x < y);
}

#define HF__HEAP_ROOT offsetof(struct hf__segment_header, heap)
#define HF__NAMED_ROOT offsetof(struct hf__segment_header, named)
#define HF__UNIQUE_ROOT offsetof(struct hf__segment_header, unique)
#define HF__FIRST_BLOCK HF__SEGMENT_HEADER_BYTES

static inline struct hf__heap hf__heap_over(const hf_store *store, struct hf__segment *seg)
{
    return (struct hf__heap){seg, HF__HEAP_ROOT, store->heap.algorithm,
                             seg == &store->seg ? store->heap.cache : NULL};
}
static inline struct hf__index hf__index_over(const hf_store *store, struct hf__segment *seg,
                                              uint64_t root)
{
    return (struct hf__index){seg, root, store->index_ops, NULL};
}

/* ---- header.c -------------------------------------------------------------------------------- */

void hf__constants_seal(struct hf__constants *constants);
bool hf__constants_ok(const struct hf__constants *constants);
/* The newest valid slot. HF_ENOTSTORE, HF_ETRUNCATED, HF_EENDIAN, HF_ENEWER, HF_EPAGESIZE,
 * HF_ECORRUPT, HF_EIO. read_only accepts unknown ro_compat features. */
int hf__header_read(int fd, const char *path, bool read_only, struct hf__file_header *out);
/* The same; *agree: both slots are valid and in the same state. */
int hf__header_read_both(int fd, const char *path, bool read_only, struct hf__file_header *out,
                         bool *agree);
/* What is wrong with one slot: 0 or one of the codes above, recorded nowhere. */
int hf__header_judge(const struct hf__file_header *slot);
/* Seals *header with the next sequence number, writes it into the older slot and syncs. */
int hf__header_write(int fd, const char *path, struct hf__file_header *header);
/* Makes the slot that doesn't count say the same as the one that does. */
int hf__header_settle(int fd, const char *path);
/* Both slots, for a new file; not synced. */
int hf__header_write_first(int fd, const char *path, const struct hf__constants *constants,
                           uint64_t size_bytes, uint64_t used_end);
/* Reads the segment header with pread, checks its constants, and that the file reaches its used end
 * (HF_ETRUNCATED), unless by *header a log is to be replayed. quiet: nobody is changing it; if it is
 * clean, too, the fields must fit each other. */
int hf__segment_header_read(int fd, const char *path, const struct hf__file_header *header,
                            bool quiet, struct hf__segment_header *out);

/* ---- mapping.c ------------------------------------------------------------------------------- */

/* Reserves address space for a segment of up to want_bytes, halving down to at least need_bytes;
 * sets reserved, reserved_bytes, size_max_bytes and seg.base. twice: also log.shared, for the log
 * engine's second mapping. HF_EADDRSPACE. */
int hf__map_reserve(hf_store *store, uint64_t want_bytes, uint64_t need_bytes, bool twice);
/* Maps the whole data file over the reservation: shared, or private (writable in memory only). */
int hf__map_file(hf_store *store, bool writable, bool is_private);
/* For the log engine: maps what readers look through, shared and read-only, as far as a segment of
 * size_bytes reaches. */
int hf__map_readers(hf_store *store, uint64_t size_bytes);
/* The same, further; at any time, by any thread. */
int hf__map_more_shown(hf_store *store, uint64_t size_bytes);
static inline int hf__map_shown(hf_store *store, uint64_t size_bytes)
{
    return size_bytes <= __atomic_load_n(&store->shown_bytes, __ATOMIC_ACQUIRE)
               ? 0
               : hf__map_more_shown(store, size_bytes);
}
/* P, private, and the table of its pages, if the handle has one and it isn't there yet. With the writer's
 * place held. */
int hf__map_writers(hf_store *store);
void hf__map_release(hf_store *store);
/* Maps the segment from from_bytes (whole pages) to its end anew: private again, or shared. Where sharing
 * fails it is private, as before or anew; torn: some of it may be shared all the same. */
int hf__map_tail(hf_store *store, uint64_t from_bytes);
int hf__map_tail_shared(hf_store *store, uint64_t from_bytes, bool *torn);
/* A shared, writable mapping of the file, of reserved_bytes, somewhere; NULL if it can't be had. */
unsigned char *hf__map_through(hf_store *store);
/* A private, writable mapping of the whole reservation. The caller munmaps reserved_bytes. */
int hf__map_private(hf_store *store, unsigned char **out);
/* Puts memory of zeros behind the part of a private mapping up to size_bytes of the segment that lies behind
 * the file's end, and not below from_bytes: there is some already. */
int hf__map_private_to(hf_store *store, unsigned char *mapping, uint64_t from_bytes,
                       uint64_t size_bytes);
/* Backs the segment up to at least size_bytes, in a step. The door's grow for each backing. */
int hf__map_grow(hf_store *store, uint64_t size_bytes);
/* A heap store that begins large, made just now: asks for large pages where it will be used as such. */
void hf__map_heap(hf_store *store);
/* Disk blocks for [offset, offset + size_bytes), of a free block that ends at `end` and may have holes.
 * HF_ENOSPC. The door's back for files. */
int hf__map_back(hf_store *store, uint64_t offset, uint64_t size_bytes, uint64_t end);
/* Undoes above position `to` what lies in base[0, room), and of that in what the file has; keep as in
 * hf__undo_apply. HF_EADDRSPACE: nothing was changed, and the file, perhaps the list too, reaches beyond. */
int hf__map_undo(hf_store *store, struct hf__undo *undo, unsigned char *base, uint64_t room,
                 uint64_t to, bool keep, struct hf__undo_stats *stats);
/* The same of all, in a private mapping of the file. */
int hf__map_undone(hf_store *store, struct hf__undo *undo, unsigned char *mapping,
                   struct hf__undo_stats *stats);
/* A second, private mapping of the file with the pending undo list applied: for readers that meet a
 * dead writer and may not write. The caller munmaps reserved_bytes. */
int hf__map_replay(hf_store *store, void **out);

/* ---- space.c --------------------------------------------------------------------------------- */

struct hf__trim_wish {
    uint64_t deadline, span_min; /* fewer bytes of a free block are left alone                    */
    bool keeps_margin;           /* of the tail, for growing                                      */
};
/* What hf_trim does. *report is added to. */
int hf__space_trim(hf_store *store, const struct hf__trim_wish *wish, hf_trim_report *report);
/* Bytes of marked blocks and above the size; and those that hf_trim would give back now. */
int hf__space_count(const hf_store *store, struct hf__segment *seg, uint64_t *given_back,
                    uint64_t *to_give);
/* hf_zero_free_memory's part: the pages of marked blocks that aren't holes. HF_EIO, HF_ECORRUPT. */
int hf__space_zero(hf_store *store, hf__zeroed_fn *zeroed, void *user);
/* Free bytes, but for the tail that growing needs. */
uint64_t hf__space_spare(const struct hf__segment_header *header);

/* With the file held alone, before it is made clean: a tail that is much longer than it need be is
 * given up, in a commit. */
int hf__space_lower(hf_store *store);
/* After that: the file is cut to what its clean header says. */
void hf__space_cut(hf_store *store, const struct hf__file_header *header);

/* ---- space_copy.c ---------------------------------------------------------------------------- */

/* Disk blocks for a copy of size_bytes, but for what may be holes in it. 0, or -1 with errno. */
int hf__space_allocate(int fd, const struct hf__segment_header *header, uint64_t size_bytes);

/* ---- space_auto.c ---------------------------------------------------------------------------- */

/* With the writer's place held: after a commit, and when all has been marked that can be. */
void hf__space_look(hf_store *store);
void hf__space_settled(hf_store *store);
/* The housekeeper's: gives back what has been free for long enough; in so many ns he may look again. */
int64_t hf__space_keep(hf_store *store);

/* ---- attach.c -------------------------------------------------------------------------------- */

/* Opens store->path and takes the locks that store->role needs, with sidecars (a reader that can't
 * use them becomes HF__ROLE_FROZEN). On success store->fd, the locks and *header are valid and
 * store is in the process's list. repair goes on in spite of HF_ETORN and a missing undo list. */
/* The file at store->path alone, nothing read or made: for hf_remove. */
/* Opens it and keeps writers out, whatever is in it: for hf_check_file. HF_EBUSY at once. */
int hf__attach_to_look(hf_store *store);
int hf__attach_for_removal(hf_store *store, uint64_t deadline);
int hf__attach(hf_store *store, bool repair, uint64_t deadline, struct hf__file_header *header);
/* Lets go: the last one out cleans up. Returns the first error of making the file clean. */
int hf__detach(hf_store *store);
/* The same for a handle that changed nothing: whatever sidecars stand there stay. */
void hf__detach_unused(hf_store *store);
/* Lists a handle, so that a fork marks it and a second one is refused (HF_EALREADYOPEN); takes it
 * off. */
int hf__list_add(hf_store *store);
void hf__list_remove(hf_store *store);
/* Sets path, lock_path and undo_path from a name: the directory resolved, links followed. */
int hf__paths_set(hf_store *store, const char *path);
/* Network file systems: HF_ENETFS. *mapped: a store through a shared mapping of allocated blocks can't
 * meet a full disk. */
int hf__fs_check(int fd, const char *path, bool *mapped);

/* ---- create.c -------------------------------------------------------------------------------- */

/* Fills constants for a new store. HF_EINVAL for options that make no sense. */
int hf__constants_new(struct hf__constants *out, const hf_options *options, uint32_t engine,
                      uint64_t size_max_bytes);
/* Makes a new, closed store under `path`: temporary name, synced, RENAME_NOREPLACE. HF_EEXIST. */
int hf__create_file(const char *path, const hf_options *options);
/* Removes the spare files of those who died while they made a store of that name. */
void hf__create_clean_up(const char *path);
/* Removes a spare file, with the sidecars it may have. */
void hf__spare_unlink(const char *path);
/* Writes header, heap root and empty indexes into plain memory of size_bytes. HF_EFULL,
 * HF_EINVAL. */
int hf__format_segment(unsigned char *base, uint64_t size_bytes,
                       const struct hf__constants *constants);
/* Makes a file the safe way: `write` fills one of a spare name, which is then synced and given its
 * name with RENAME_NOREPLACE, and the directory synced. HF_EEXIST, HF_ENOSPC, HF_EIO, ... */
int hf__create_with(const char *path, uint32_t permissions,
                    int (*write)(int fd, const char *path, const void *what), const void *what);
/* The same in place of the file behind old_fd, which is at path and held alone: owner, mode and extended
 * attributes are its own. After an error whose cause is the directory's sync the new file is there. */
int hf__replace_with(const char *path, int old_fd,
                     int (*write)(int fd, const char *path, const void *what), const void *what);
/* The same in place of a store that hf__removal_begin gave the caller, with a mode of its own: until the
 * new file is whole and synced, nothing of the old one is touched; then its sidecars go. */
int hf__create_over(hf_store *old, uint32_t permissions,
                    int (*write)(int fd, const char *path, const void *what), const void *what);
/* Gives a new file the owner, mode and extended attributes of one that it is to replace. Until then nobody but
 * its owner may look into it. */
int hf__take_after(int fd, int old_fd, const char *path);
/* Gives a file its name (a rename of hf__os) and syncs the directory. Whatever fails but that sync leaves
 * the name as it was. */
int hf__give_name(const char *temporary, const char *path,
                  int (*name)(const char *from, const char *to), bool synced);
/* Plain memory, whose owner is the heap over it; it doesn't grow. */
extern const struct hf__door hf__plain_door;

/* ---- save.c ---------------------------------------------------------------------------------- */

/* Writes [from, to) of the segment, leaving out pages of zeros. 0, or -1 and errno. */
int hf__write_sparse(int fd, const unsigned char *base, uint64_t from, uint64_t to);

/* ---- txn.c ----------------------------------------------------------------------------------- */

/* 0, or HF_EINVAL, HF_EFORKED. */
int hf__txn_judge(const hf_txn *txn);
static inline int hf__txn_usable(const hf_txn *txn)
{
    return txn != NULL && txn->active && !txn->store->forked ? 0 : hf__txn_judge(txn);
}
/* Writes what the transaction keeps in process memory alone - claims of the slab allocator, raw_count -
 * so that the segment shows all of it. 0, HF_ENOSPC, HF_ENOMEM, HF_ECORRUPT. */
int hf__txn_settle(hf_store *store);
/* Announces nothing, but tells the engine that the transaction writes space that was free. */
void hf__txn_fresh(hf_txn *txn, hf_ref offset, uint64_t size_bytes);
/* Frees block, of that kind (0 = any), when the transaction ends. 0, HF_EPTR, HF_ENOMEM,
 * HF_ENOSPC. */
int hf__txn_free_later(hf_txn *txn, hf_ref block, uint32_t kind);
/* Process memory for one hf__txn_free_later, so that it can't fail for want of it. HF_ENOMEM. */
int hf__txn_prepare_free(hf_txn *txn);
/* The same for all that one operation gives back through the door: with each reservation that a release
 * may be part of. A smaller one may be made halfway, and can't be refused for this. HF_ENOMEM. */
#define HF__RELEASES_MAX 32u
int hf__txn_make_room(hf_txn *txn);
static inline int hf__txn_room_to_release(hf_txn *txn, uint64_t cost_bytes)
{
    return cost_bytes < HF__OP_COST || txn->pending_room - txn->pending_count >= HF__RELEASES_MAX
               ? 0
               : hf__txn_make_room(txn);
}
/* The door's release, of both engines. */
int hf__txn_release(struct hf__segment *seg, hf_ref block);
/* Takes back an hf__txn_free_later, whose block turns out to be needed. */
void hf__txn_keep(hf_txn *txn, hf_ref block);
/* It can't be committed any more, but for a rollback to before: the error of hf_last_error says why. */
void hf__txn_fail(hf_txn *txn, int code);
/* Releases what hf_txn holds in process memory. */
void hf__txn_dispose(hf_txn *txn);
/* An address in any mapping of the store as an offset, or UINT64_MAX; mostly it is in the view's. */
uint64_t hf__offset_in_any(const hf_view *view, const void *p);
static inline uint64_t hf__offset_of(const hf_view *view, const void *p)
{
    const uint64_t offset = (uint64_t)(uintptr_t)p - (uint64_t)(uintptr_t)view->seg->base;
    return offset < view->seg->size_bytes ? offset : hf__offset_in_any(view, p);
}
/* Reads seg.size_bytes anew (X4). HF_ECORRUPT, HF_EADDRSPACE. */
int hf__txn_refresh_size(hf_store *store);
/* hf_begin with a deadline of its own. */
int hf__begin_by(hf_store *store, uint64_t deadline, hf_txn **out);
/* Used part of the segment, for judging addresses: [HF__FIRST_BLOCK, end). */
static inline uint64_t hf__used_end(const struct hf__segment *seg)
{
    const uint64_t end = hf__segment_header(seg)->heap.used_end;
    return end < seg->size_bytes ? end : seg->size_bytes;
}

/* ---- view.c ---------------------------------------------------------------------------------- */

int hf__view_judge(const hf_view *view);
static inline int hf__view_usable(const hf_view *view)
{
    return view != NULL && !view->store->forked ? 0 : hf__view_judge(view);
}
/* The view this thread has open on the store, or NULL. */
hf_view *hf__view_of_thread(const hf_store *store);
/* Forgets the views this thread has open on a store that is being closed. */
void hf__view_drop_thread(const hf_store *store);
uint64_t hf__thread_id(void);
void hf__view_of_txn_init(hf_txn *txn);

/* iterate.c: there is a cursor, with flags that there are, and room for the answer. HF_EINVAL. */
int hf__cursor_usable(const hf_cursor *cursor, const void *out);

/* info.c: for functions that work with or without a transaction of the calling thread: its view, or
 * a new one that the caller ends (begun). */
int hf__view_borrow(hf_store *store, hf_view **out, bool *begun);

/* ---- object.c, type.c ------------------------------------------------------------------------ */

/* One object, taken apart and checked: all offsets. */
struct hf__object {
    hf_ref block;                 /* payload of its block                                        */
    hf_ref node;                  /* index node, 0 for anonymous ones                            */
    hf_ref header, elements;
    uint64_t block_bytes;         /* usable                                                      */
    uint64_t footprint_bytes;     /* with the block's header, if it has one                      */
    bool pending;
};
/* Takes apart the object whose elements are at `elements`; HF_EPTR if none is. Safe on any
 * input. */
int hf__object_at(const hf_store *store, struct hf__segment *seg, hf_ref elements,
                  struct hf__object *out);
/* What an index leads to, as a find gives it out: the header is right and the elements lie in the
 * segment, but the block isn't looked at, so all that only it tells is 0. node is node_ok.
 * HF_ECORRUPT. */
int hf__object_found(const struct hf__segment *seg, uint32_t kind, hf_ref node,
                     struct hf__object *out);
/* The same from an index node, and from a block's payload. HF_ECORRUPT. */
int hf__object_of_node(const hf_store *store, struct hf__segment *seg, hf_ref node,
                       struct hf__object *out);
int hf__object_of_block(const hf_store *store, struct hf__segment *seg,
                        const struct hf__block_info *block, struct hf__object *out);
static inline const struct hf__object_header *hf__object_header(const struct hf__segment *seg,
                                                                const struct hf__object *object)
{
    return (const struct hf__object_header *)hf__at(seg, object->header);
}
/* Is the name what it was when the object was made? */
bool hf__object_name_ok(const struct hf__segment *seg, const struct hf__object *object);
uint32_t hf__object_check(const struct hf__segment *seg, hf_ref header,
                          const struct hf__object_header *value);
/* Is an object header there, its check right? Safe on any offset. */
bool hf__object_header_ok(const struct hf__segment *seg, hf_ref at);
void hf__object_info_fill(const struct hf__segment *seg, const struct hf__object *object,
                          hf_object_info *out);

/* The type's id, registered if it is new. HF_ETYPE, HF_ENOSPC, HF_EFULL, HF_ENOMEM, HF_ENAME. */
int hf__type_register(hf_txn *txn, const hf_type *type, uint32_t *out_id);
/* The id of a type that is registered, for the transaction's owner. HF_ENOTFOUND, HF_ETYPE
 * (otherwise than described). */
int hf__type_find(hf_store *store, const hf_type *type, uint32_t *out_id);
/* Would the descriptor be taken? HF_ETYPE, HF_ENAME. */
int hf__type_descriptor_check(const hf_type *type);
/* The record of an id, or NULL: safe on any input, checksum verified only if verify. */
const struct hf__type_record *hf__type_record(const struct hf__segment *seg, uint32_t id,
                                              bool verify);
static inline const char *hf__type_record_name(const struct hf__type_record *record)
{
    return (const char *)(record + 1) + record->field_count * sizeof(struct hf__type_field);
}
uint64_t hf__type_record_check(const struct hf__segment *seg, const struct hf__type_record *record);
/* Is a sound record there, in a block with room bytes? Its id, its fields and its text may be nonsense. */
bool hf__type_record_fits(const struct hf__segment *seg, const struct hf__type_record *record,
                          uint64_t room);
/* Does the object of this id have this type (NULL = any)? */
bool hf__type_matches(const struct hf__segment *seg, uint32_t id, const hf_type *type);

/* ---- check.c --------------------------------------------------------------------------------- */

/* Everything inside the segment. */
void hf__check_segment(const hf_store *store, struct hf__segment *seg, struct hf__check *check);

/* ---- repair.c -------------------------------------------------------------------------------- */

/* Makes header slots and the segment header's constants whole from one another; *header is then the
 * newest valid slot. The file is held alone. */
int hf__repair_headers(hf_store *store, struct hf__file_header *header);

/* ---- repair_copy.c --------------------------------------------------------------------------- */

/* Copies the store at path, which must be to be had alone, with its sidecars; lets `repair` work on the copy; if
 * that returns 0 the copy takes the store's place. Else the store is as it was. */
int hf__repair_copy(const char *path, int (*repair)(const char *path, void *user), void *user);

/* ---- open.c ---------------------------------------------------------------------------------- */

int hf__store_new(hf_store **out, enum hf__backing backing, const hf_options *options);
void hf__store_free(hf_store *store);
/* hf_open for maintenance: alone, optionally in spite of damage. */
int hf__open_alone(const char *path, bool repair, hf_store **out);
/* A closed store, or a damaged one, that is to go: nobody else has it until hf__removal_end. What a dead
 * process left is undone first. HF_EBUSY, HF_ENOENT, HF_EACCES, HF_ENOTSTORE: it stays. */
int hf__removal_begin(const char *path, hf_store **out);
void hf__removal_sidecars(hf_store *store);
void hf__removal_end(hf_store *store);

#endif
