/* SPDX-License-Identifier: MIT */
/*
 * upgrade.h - objects of an older version of a type become objects of a newer one
 *
 * A program whose struct has changed gives its type a new version and says how an element of the
 * old one becomes an element of the new one. All live objects of the old version - named, unique,
 * anonymous, arrays - are then replaced inside a transaction, and whatever points to them goes on
 * pointing to them.
 *
 * Example
 *
 *   struct user_v1 { char name[24]; hf_ref next; };
 *   struct user    { char name[24]; hf_ref next; uint64_t created; };      // version 2
 *   static int to_v2(void *argument, hf_txn *txn, const void *old, void *new_, size_t index) {
 *       const struct user_v1 *from = old; struct user *to = new_;           // to is zeroed
 *       memcpy(to->name, from->name, sizeof to->name);
 *       to->next = from->next;                    // as it was: corrected afterwards if that moves
 *       to->created = *(const uint64_t *)argument;
 *       return 0;
 *   }
 *   static const hf_upgrade_step steps[] = {{&user_v1_type, &user_type, to_v2, &now}};
 *   if (hf_begin(store, &txn) == 0 && hf_upgrade_all(txn, steps, 1, 0, NULL) == 0) hf_commit(txn);
 *
 * How
 *
 *   - An object stays where it is if the elements of the new version fit into its block, aligned, and
 *     keep their distance (one element, or the same size). Else a new object takes its place, with
 *     the same kind and name, and every pointer field of every typed object that led to one of its
 *     elements is made to lead to that element again.
 *   - The old element is a copy outside the store, whose self-relative fields can be followed all the
 *     same. Everything else in the store is read as it is at that moment: some of it may have been
 *     upgraded already. Pointers in the new element are set as they were in the old one, never to
 *     other new elements of the same upgrade. A self-relative field that was 0 (leads to itself,
 *     nobody has set it) is 0 again where its value was passed on.
 *   - The function may allocate and construct objects in the transaction and point to them; it may
 *     not destroy any, nor call hf_upgrade, hf_savepoint or hf_rollback_to.
 *
 * Caveats
 *
 *   - Opaque memory (without a type, or of hf_alloc; nodes of pools) may hold references that nobody
 *     can tell from numbers. If a word in it leads to an object that would move, or a pointer field
 *     leads into the middle of one, where the new version may have something else, nothing is
 *     changed and HF_EBUSY returned. With HF_UPGRADE_ALLOW_STRAY such words are left as they are,
 *     and such fields keep their distance from the element's start.
 *   - Addresses of upgraded objects found before are dead afterwards.
 *   - It is one transaction: the old content of all it changes is kept until the end, in process
 *     memory (log engine) or in the undo list (direct engine), and objects that move are there twice
 *     until the commit. Reckon with the size of the objects of the old version and of all objects
 *     that point to them, and on the log engine with a log as large. A map of all live blocks takes 24 to
 *     30 bytes a block of process memory.
 *   - Types whose pointers name an upgraded type as their target name its old version still. That is
 *     no finding of the check (a newer version will do), but hf_find with a descriptor whose target is the new
 *     version is refused (HF_ETYPE): give those types a new version, too, and an upgrade without a
 *     function.
 */
#ifndef HOLDFAST_UPGRADE_H
#define HOLDFAST_UPGRADE_H

#include "object.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * hf_upgrade_fn - makes element number index of an object of the new version out of that of the old
 * one. new_element is zeroed and may be written. Not 0 stops the upgrade, which is then undone, and
 * is returned as hf_last_error()->os_errno with HF_ECANCELLED.
 */
typedef int (*hf_upgrade_fn)(void *user, hf_txn *txn, const void *old_element, void *new_element,
                             size_t index);

enum { /* flags */
    HF_UPGRADE_ALLOW_STRAY = 1 /* go on in spite of references that can't be corrected            */
};

typedef struct hf_upgrade_report {
    uint64_t objects, elements; /* upgraded                                                       */
    uint64_t in_place, moved;   /* of the objects                                                 */
    uint64_t pointers;          /* fields that were made to lead to a new place                   */
    uint64_t stray;             /* words and fields that seem to lead to what moved, not corrected */
    uint64_t steps;             /* hf_upgrade_all: those that found anything                      */
    uint64_t reserved[4];
} hf_upgrade_report;

/*
 * hf_upgrade - makes all objects of type `from` objects of type `to`: the same name, a higher version.
 *
 * A NULL function copies the bytes that both versions have, and pointers right. report may be NULL; it
 * is written on success, and its stray on HF_EBUSY. A store that never had the old version is left as
 * it is. On an error nothing has changed and the transaction is still good. Costs a walk over all
 * blocks and, if anything moves, over all pointer fields and all opaque memory.
 * Errors: HF_EINVAL (other names, or no higher version; an unknown flag), HF_ETYPE (registered
 * otherwise), HF_EBUSY (see above), HF_ECANCELLED (the function), HF_ENOSPC, HF_EFULL, HF_ENOMEM,
 * HF_ECORRUPT.
 */
HF_API int hf_upgrade(hf_txn *txn, const hf_type *from, const hf_type *to, hf_upgrade_fn fn,
                      void *user, uint32_t flags, hf_upgrade_report *report);

/* One step of a program's history. */
typedef struct hf_upgrade_step {
    const hf_type *from, *to;
    hf_upgrade_fn fn;
    void *user;
} hf_upgrade_step;

/*
 * hf_upgrade_all - all steps of a program's history, whatever version the store is of: v1 to v2, v2 to
 * v3. A step is done after all those of the same type with a lower version; else the order is that of
 * the table. What has no objects of the old version is skipped, so that a program may call it after
 * each hf_open: then it costs a walk over all blocks, or nothing if none of the old types is
 * registered. All or nothing. report is the sum. Errors: as hf_upgrade.
 */
HF_API int hf_upgrade_all(hf_txn *txn, const hf_upgrade_step *steps, size_t count, uint32_t flags,
                          hf_upgrade_report *report);

#ifdef __cplusplus
}
#endif
#endif
