/* SPDX-License-Identifier: MIT */
/*
 * holdfast - a persistent object store in a memory-mapped file
 *
 * One file is a small database. Objects with names lie in it and are used through plain pointers;
 * a general allocator works inside the file; changes are made in transactions that are all or
 * nothing. The parts of this manual:
 *
 *   error.h     the codes every function returns, and what hf_last_error() tells about them
 *   store.h     opening, closing, sizes, information, maintenance of closed stores
 *   txn.h       views, transactions, savepoints, and the edit door
 *   object.h    types, named, unique and anonymous objects, iteration
 *   upgrade.h   objects of an older version of a type become objects of a newer one
 *   memory.h    raw memory: aligned, many at once, resized in place
 *   pointer.h   what may be stored inside the file instead of raw pointers
 *   check.h     check_sanity, page checksums, and checking and repairing closed files
 *   snapshot.h  a live store's commit as a new store
 *   compact.h   a closed store rebuilt without its holes
 *   pool.h      nodes of one size
 *   archive.h   a live store as a compressed stream, whole or what has changed, and back
 *   salvage.h   saving what is intact from a wreck
 *   log.h       who reads, where the log stands and what is in it, tuning, debugging checks
 *
 * Example
 *
 *   #include <holdfast.h>
 *   struct counter { uint64_t hits; };
 *   static const hf_type counter_type = {.name = "counter", .version = 1,
 *                                        .size_bytes = sizeof(struct counter), .align_bytes = 8};
 *   int main(void) {
 *       hf_store *store; hf_txn *txn; int code = hf_open("hits.hf", NULL, &store);
 *       if (code == 0 && (code = hf_begin(store, &txn)) == 0) {
 *           struct counter *c = hf_find_or_construct(txn, "hits", &counter_type, 1, NULL);
 *           if (c != NULL && (c = hf_edit(txn, c, sizeof *c)) != NULL) c->hits++;
 *           code = hf_commit(txn);
 *           hf_close(store);
 *       }
 *       return code == 0 ? 0 : 1;
 *   }
 *
 * Caveats
 *
 *   - Raw pointers are never stored in the file: every process maps it at its own address. Store an
 *     hf_ref or an HF_PTR (pointer.h).
 *   - Memory is written only inside a transaction, and announced first with hf_edit. What was not
 *     announced is not undone by an abort or after a crash.
 *   - A pointer from a view is valid until the view ends; one from a transaction until that ends.
 *   - Files have the log engine: what is acknowledged survives the death of any process and, with
 *     HF_SYNC, the loss of power. Stores in memory, and files made with HF_ENGINE_DIRECT, have the
 *     direct engine, which answers for the death of processes only: such a file that was being
 *     written when the machine went down is refused (HF_ETORN).
 *   - A child of fork() may not use its parent's handles (HF_EFORKED), except to hf_close them.
 *   - Network file systems are refused (HF_ENETFS): their locks and mappings don't keep our
 *   promises.
 *
 * Limits: names HF_NAME_BYTES_MAX bytes, HF_PROCESSES_MAX attached processes, HF_READERS_MAX views
 * at a time over all processes, alignment HF_ALIGN_BYTES_MAX, a store up to 128 TiB.
 */
#ifndef HOLDFAST_HOLDFAST_H
#define HOLDFAST_HOLDFAST_H

#include "error.h"
#include "store.h"
#include "txn.h"
#include "object.h"
#include "upgrade.h"
#include "memory.h"
#include "pool.h"
#include "pointer.h"
#include "check.h"
#include "compact.h"
#include "snapshot.h"
#include "salvage.h"
#include "log.h"
#include "archive.h"

#endif
