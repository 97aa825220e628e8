/* SPDX-License-Identifier: MIT */
/*
 * txn.h - views, transactions, and the edit door
 *
 * A view is a reader's section: what it sees doesn't change until it ends. A transaction is the one
 * writer: all its changes appear together at hf_commit, or never. hf_txn_view gives a transaction's
 * own view, so every function that reads works in both.
 *
 * Example
 *
 *   hf_txn *txn;
 *   if (hf_begin(store, &txn) != 0) ...
 *   const struct account *seen = hf_find(hf_txn_view(txn), "alice", &account_type, NULL);
 *   struct account *alice = seen ? hf_edit(txn, seen, sizeof *seen) : NULL;
 *   if (alice == NULL) { hf_abort(txn); ... }
 *   alice->balance -= 10;
 *   if (hf_commit(txn) != 0) ...
 *
 * Caveats
 *
 *   - Announce with hf_edit before writing. What hf_construct, hf_new, hf_alloc and their kin
 *     return, and what hf_edit returned, stays writable until the transaction ends; but after an
 *     hf_savepoint announce again what hf_rollback_to shall be able to undo.
 *   - On the direct engine readers and the writer exclude each other: hf_begin waits until the
 *     views have ended, hf_view_begin until the transaction has.
 *   - Pointers from a transaction are dead after it, those from a view after that.
 */
#ifndef HOLDFAST_TXN_H
#define HOLDFAST_TXN_H

#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * hf_begin - begins the transaction, waiting for the one that is open (options.lock_timeout_ms).
 * If its owner died, its changes are rolled back and the caller goes on.
 * Errors: HF_EBUSY (pid of the holder in hf_last_error), HF_ENESTED (this thread's own is open),
 * HF_EDEADLOCK (this thread has a view open), HF_EREADONLY, HF_EFORKED, HF_ENOSPC, HF_ENOMEM,
 * HF_EIO, HF_ECORRUPT.
 */
HF_API int hf_begin(hf_store *store, hf_txn **out);

/*
 * hf_commit - makes all changes visible at once and ends txn, whatever it returns.
 * On an error everything has been undone; the error may be that of an earlier hf_free. On return
 * the changes survive the death of any process; hf_sync makes them survive the machine's.
 * Errors: HF_EPTR (a wrong hf_free), HF_ENOSPC, HF_ENOMEM, HF_EFORKED.
 */
HF_API int hf_commit(hf_txn *txn);

/* hf_abort - undoes everything since hf_begin and ends txn. NULL is allowed. Cannot fail. */
HF_API void hf_abort(hf_txn *txn);

/*
 * hf_view_begin - begins a view. One that the same thread already has open is joined: the same
 * handle is returned and must be ended as often as begun.
 * Errors: HF_EBUSY, HF_ENESTED (this thread has the transaction: use hf_txn_view), HF_EREADERS,
 * HF_EFORKED, HF_EADDRSPACE (another process grew the store past what this one could reserve).
 */
HF_API int hf_view_begin(hf_store *store, hf_view **out);

/* hf_view_end - ends a view. NULL is allowed. Only the thread that began it can: in another one
 * nothing happens (HF_EINVAL in hf_last_error). A thread that ends without it leaves the view open
 * until hf_close. */
HF_API void hf_view_end(hf_view *view);

/* hf_txn_view - the transaction's own view, with its changes so far. Not ended by itself. */
HF_API hf_view *hf_txn_view(hf_txn *txn);

/* A point within a transaction. Opaque; good until the transaction ends or goes back before it. */
typedef struct hf_mark {
    uint64_t opaque[6];
} hf_mark;

/*
 * hf_savepoint - remembers this point. Any number, nested; costs nothing but what is edited later.
 * Errors: HF_EINVAL, HF_EFORKED.
 */
HF_API int hf_savepoint(hf_txn *txn, hf_mark *out);

/*
 * hf_rollback_to - undoes what was done since the mark; the transaction goes on and the mark stays
 * good. An error of an hf_free since the mark is forgotten with it. Errors: HF_EINVAL (not a mark
 * of this transaction, or one that an earlier rollback took back).
 */
HF_API int hf_rollback_to(hf_txn *txn, hf_mark mark);

/*
 * hf_edit - announces that size_bytes at p will be written; returns where to write them, or NULL.
 * p is an address in the store, from a view or a transaction. Nothing has changed on an error, and
 * the transaction is still good. size_bytes may span any part of the store.
 * Errors: HF_EPTR (not inside the used part of the store), HF_ENOSPC (no room to keep the old
 * content), HF_ENOMEM, HF_EINVAL. Idea: RVM's set_range, pmemobj_tx_add_range.
 */
HF_API void *hf_edit(hf_txn *txn, const void *p, size_t size_bytes);

#ifdef __cplusplus
}
#endif
#endif
