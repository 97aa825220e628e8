/* SPDX-License-Identifier: MIT */
/*
 * ex_atomic_objects - several objects appear together, or not at all
 *
 * A transaction takes the place of Boost's atomic_func: what is made in it is seen by others at its
 * commit, all at once. An abort takes everything back; a savepoint lets a part be taken back.
 */
#include "example.h"

static const hf_type account_type = {"account", 1, sizeof(int64_t), 8, HF_TYPE_BLOB, NULL, 0};

static int64_t *make(hf_txn *txn, const char *name, int64_t value)
{
    int64_t *account = hf_construct(txn, name, &account_type, 1);
    check(account != NULL, "an account is made");
    *account = value;
    return account;
}

static uint64_t count(hf_store *store)
{
    hf_view *view;
    check(hf_view_begin(store, &view) == 0, "a view begins");
    uint64_t n = hf_count_named(view);
    hf_view_end(view);
    return n;
}

int main(void)
{
    hf_store *store;
    hf_txn *txn;
    check(hf_open_heap(1 << 20, NULL, &store) == 0, "a store in memory opens");

    check(hf_begin(store, &txn) == 0, "a transaction begins");
    make(txn, "alice", 10);
    make(txn, "bob", 20);
    hf_abort(txn);
    printf("after an abort there are %" PRIu64 " accounts\n", count(store));
    check(count(store) == 0, "nothing was made");

    check(hf_begin(store, &txn) == 0, "a transaction begins");
    int64_t *alice = make(txn, "alice", 10);
    int64_t *bob = make(txn, "bob", 20);
    hf_mark before_transfer;
    check(hf_savepoint(txn, &before_transfer) == 0, "a savepoint is set");
    alice = hf_edit(txn, alice, sizeof *alice); /* announced again: the savepoint shall cover it */
    bob = hf_edit(txn, bob, sizeof *bob);
    check(alice != NULL && bob != NULL, "both are announced");
    *alice -= 15;
    *bob += 15;
    make(txn, "receipt", 15);
    if (*alice < 0)
        check(hf_rollback_to(txn, before_transfer) == 0, "the transfer is taken back");
    check(*alice == 10 && *bob == 20, "the balances are those of the savepoint");
    check(hf_commit(txn) == 0, "it commits");
    printf("after a commit with a transfer taken back there are %" PRIu64 "\n", count(store));
    check(count(store) == 2, "alice and bob appeared together, the receipt did not");
    check(hf_close(store) == 0, "it closes");
    return 0;
}
