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
 *   - On the log engine (files, unless another was chosen) views and the transaction don't wait for
 *     each other. A view shows the last commit that is durable and was applied when it began. A
 *     commit is applied when no view is open for a moment; until then later views, of whatever
 *     thread, may not show it: hf_sync waits for that. NOSYNC commits are shown before they are
 *     durable.
 *   - A view that stays open keeps all commits from being applied. They wait in the log, which may
 *     grow to 1 GiB; then hf_commit returns HF_ELOGFULL and names the process.
 *   - On the direct engine readers and the writer exclude each other: hf_begin waits until the
 *     views have ended, hf_view_begin until the transaction has.
 *   - Pointers from a transaction are dead after it, those from a view after that. On the log engine
 *     the same object has one address in a transaction and another in views: compare hf_ref.
 *   - What an acknowledged commit survives: docs/durability.md.
 */
#ifndef HOLDFAST_TXN_H
#define HOLDFAST_TXN_H

#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * hf_begin - begins the transaction, waiting for the one that is open (options.lock_timeout_ms).
 * If its owner died, its changes are rolled back and the caller goes on. The first one since the
 * store was clean makes its sidecars, for which there must be room.
 * Errors: HF_EBUSY (pid of the holder in hf_last_error), HF_ENESTED (this thread's own is open),
 * HF_EDEADLOCK (this thread has a view open), HF_EREADONLY, HF_EFORKED, HF_ENOSPC, HF_ENOMEM,
 * HF_EIO, HF_ECORRUPT, HF_EADDRSPACE; log engine: HF_ENETFS (a file system on which private mappings
 * don't follow the file), HF_ECOMMIT_UNKNOWN (an earlier commit's sync failed, and so does going on
 * from it), HF_ELOGMISSING and HF_ELOGFOREIGN (beside a reader, of a store that was not closed).
 */
HF_API int hf_begin(hf_store *store, hf_txn **out);

/*
 * hf_commit - makes all changes visible at once and ends txn, whatever it returns.
 * On an error, HF_ECOMMIT_UNKNOWN aside, everything has been undone; the error may be that of an
 * earlier hf_free. On return the changes survive the death of any process. Log engine: with HF_SYNC
 * they survive a crash of the machine and power loss, too; with HF_LAZY within 10 ms or after
 * hf_sync; with HF_NOSYNC after hf_sync or hf_close. Direct engine: after hf_sync.
 * Errors: HF_EPTR (a wrong hf_free), HF_ENOSPC, HF_ENOMEM, HF_EFORKED; log engine: HF_EIO, HF_ELOGFULL
 * (pid of the reader), HF_ECOMMIT_UNKNOWN (the log could not be written or synced: the next hf_begin,
 * or the next open, finds either this commit or the one before, and says so by its content only).
 */
HF_API int hf_commit(hf_txn *txn);

/* hf_abort - undoes everything since hf_begin and ends txn. NULL is allowed. Cannot fail. */
HF_API void hf_abort(hf_txn *txn);

/*
 * hf_view_begin - begins a view. One that the same thread already has open is joined: the same
 * handle is returned and must be ended as often as begun.
 * On the log engine it waits for no transaction, only for the moment in which commits are applied.
 * Errors: HF_EBUSY, HF_ENESTED (this thread has the transaction: use hf_txn_view), HF_EREADERS,
 * HF_EFORKED, HF_EADDRSPACE (another process grew the store past what this one could reserve). If
 * what a dead process left must be recovered first, also the errors of that: HF_EIO, HF_ENOSPC,
 * HF_ENOMEM, HF_ECORRUPT; log engine, read-only handles: HF_ELOGMISSING, HF_ELOGFOREIGN, HF_ETRUNCATED.
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
 * Errors: HF_EPTR (not inside the used part of the store), HF_ENOSPC (direct engine: no room to keep
 * the old content), HF_ENOMEM, HF_EINVAL. Idea: RVM's set_range, pmemobj_tx_add_range.
 */
HF_API void *hf_edit(hf_txn *txn, const void *p, size_t size_bytes);

#ifdef __cplusplus
}
#endif
#endif
