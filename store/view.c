/* SPDX-License-Identifier: MIT */
/*
 * view.c - readers' sections
 *
 * A view is a reader slot (sync/gate.c) and a base address. It normally reads the handle's own
 * mapping. A handle that may not write and finds the gate left closed by a dead writer keeps its
 * slot, which holds up whoever will undo the dead one's changes, and reads a private mapping in
 * which it has undone them for itself.
 *
 * The views a thread has open are chained through thread-local memory, so that a second one on the
 * same store joins the first: with the gate closing between the two, a thread would else wait for a
 * writer that waits for it.
 */
#include "engine.h"
#include "store.h"

#include "base/os.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local hf_view *open_views;
static _Thread_local uint64_t thread_id;

/* The kernel's number: an address in thread-local memory would come back with the next thread. */
uint64_t hf__thread_id(void)
{
    if (thread_id == 0)
        thread_id = (uint64_t)syscall(SYS_gettid);
    return thread_id;
}

hf_view *hf__view_of_thread(const hf_store *store)
{
    for (hf_view *view = open_views; view != NULL; view = view->next_on_thread)
        if (view->store == store)
            return view;
    return NULL;
}

int hf__view_judge(const hf_view *view)
{
    if (view == NULL)
        return hf__fail(HF_EINVAL, "no view");
    if (view->store->forked)
        return hf__fail(HF_EFORKED, "the view is the parent's");
    return 0;
}

void hf__view_of_txn_init(hf_txn *txn)
{
    /* It is part of what hf_open cleared, and only these are ever set in it: not all of it again, by a loop. */
    txn->view.store = txn->store;
    txn->view.seg = &txn->store->seg;
    txn->view.memory_id = 0;
}

hf_view *hf_txn_view(hf_txn *txn)
{
    return hf__txn_usable(txn) == 0 ? &txn->view : NULL;
}

/* Enters, undoing a dead writer's changes first if this handle may. If it may not: 0, too, and *replay is
 * what it reads instead. */
__attribute__((noinline)) static int enter(hf_store *store, uint32_t *out_slot, void **replay)
{
    uint64_t deadline = hf__deadline_in_ms(store->lock_timeout_ms);
    if (deadline == 0 && store->engine == &hf__engine_log)
        deadline = hf__os->now_ns() + HF__MOMENT_NS;
    const bool may_write = store->role == HF__ROLE_WRITER || store->role == HF__ROLE_ALONE;
    int code = hf__reader_enter(&store->locks, deadline, !may_write, out_slot);
    while (code == 1 && may_write) {
        code = store->engine->unstick(store, deadline);
        if (code == 0)
            code = hf__reader_enter(&store->locks, deadline, false, out_slot);
    }
    if (code != 1)
        return code;
    code = store->engine->replay(store, replay);
    if (code != 0)
        hf__reader_leave(&store->locks, *out_slot);
    return code;
}

/* How far this view may read. */
static int view_size(hf_store *store, hf_view *view)
{
    uint64_t size = hf__segment_header(&view->own)->size_bytes;
    if (size > store->constants.size_max_bytes)
        return hf__corrupt("segment.size", offsetof(struct hf__segment_header, size_bytes));
    if (size > store->size_max_bytes)
        return hf__fail_outgrown(store);
    view->own.size_bytes = size;
    return hf__map_shown(store, size);
}

int hf_view_begin(hf_store *store, hf_view **out)
{
    if (store == NULL || out == NULL)
        return hf__fail(HF_EINVAL, "hf_view_begin");
    if (store->forked)
        return hf__fail(HF_EFORKED, "open the store anew in the child");
    hf_view *view = hf__view_of_thread(store);
    if (view != NULL) {
        view->depth++;
        *out = view;
        return 0;
    }
    if (__atomic_load_n(&store->writer_thread, __ATOMIC_RELAXED) == hf__thread_id())
        return hf__fail_path(HF_ENESTED, 0, store->path, "use hf_txn_view");
    uint32_t slot;
    void *replay = NULL;
    int code = hf__reader_enter_at_once(&store->locks, &slot) ? 0 : enter(store, &slot, &replay);
    if (code != 0)
        return code;
    view = &store->views[slot];
    /* Field by field: clearing the whole by a loop costs as much as all the rest. Its size is read below: the
     * handle's is the writer's, who may be at work beside us. */
    view->store = store;
    view->own.base = store->seg.base;
    view->own.size_bytes = 0;
    view->own.salt = store->seg.salt;
    view->own.door = NULL;
    view->own.owner = store->seg.owner;
    view->next_on_thread = open_views;
    view->replay = replay;
    view->slot = slot;
    view->depth = 1;
    view->memory_id = 0;
    view->thread = hf__thread_id();
    view->seg = &view->own;
    if (replay != NULL)
        view->own.base = (unsigned char *)replay + HF__SEGMENT_OFFSET;
    else if (store->log.shared != NULL)
        view->own.base = store->log.shared + HF__SEGMENT_OFFSET;
    code = view_size(store, view);
    if (code != 0)
        goto err_leave;
    hf__reader_shows(&store->locks, slot, hf__segment_header(&view->own)->commit);
    open_views = view;
    *out = view;
    return 0;

err_leave:
    if (replay != NULL)
        hf__os->munmap(replay, (size_t)store->reserved_bytes);
    hf__reader_leave(&store->locks, slot);
    return code;
}

static void unchain(const hf_view *view)
{
    for (hf_view **at = &open_views; *at != NULL; at = &(*at)->next_on_thread)
        if (*at == view) {
            *at = view->next_on_thread;
            return;
        }
}

void hf__view_drop_thread(const hf_store *store)
{
    for (hf_view *view; (view = hf__view_of_thread(store)) != NULL;)
        unchain(view);
}

void hf_view_end(hf_view *view)
{
    if (view == NULL || view->store == NULL || view == &view->store->txn.view || view->depth == 0)
        return;
    if (view->thread != hf__thread_id()) {
        hf__fail(HF_EINVAL, "hf_view_end: the view is another thread's");
        return;
    }
    if (--view->depth != 0)
        return;
    unchain(view);
    hf_store *store = view->store;
    if (store->forked)
        return;
    if (view->replay != NULL)
        hf__os->munmap(view->replay, (size_t)store->reserved_bytes);
    hf__reader_leave(&store->locks, view->slot);
}
