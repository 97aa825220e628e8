/* SPDX-License-Identifier: MIT */
/* ex_counter - the ten-line example of the README: a counter that survives its program */
#include <holdfast.h>

#include <inttypes.h>
#include <stdio.h>

struct counter {
    uint64_t hits;
};
static const hf_type counter_type = {
    .name = "counter", .version = 1, .size_bytes = sizeof(struct counter), .align_bytes = 8};

/* Opens (or creates) the store, adds one, and tells the sum. 0 on an error. */
static uint64_t count_one(const char *path)
{
    hf_store *store;
    hf_txn *txn;
    uint64_t hits = 0;
    if (hf_open(path, NULL, &store) != 0)
        return 0;
    if (hf_begin(store, &txn) == 0) {
        struct counter *c = hf_find_or_construct(txn, "hits", &counter_type, 1, NULL);
        if (c != NULL)
            hits = ++c->hits; /* what find_or_construct returns is announced already */
        if (hf_commit(txn) != 0)
            hits = 0;
    }
    hf_close(store);
    return hits;
}

int main(void)
{
    hf_remove("ex_counter.hf");
    for (uint64_t run = 1; run <= 3; run++) {
        uint64_t hits = count_one("ex_counter.hf");
        if (hits != run) {
            fprintf(stderr, "surprise: %s\n", hf_last_error()->message);
            return 1;
        }
        printf("run %" PRIu64 ": the counter in the file says %" PRIu64 "\n", run, hits);
    }
    return hf_remove("ex_counter.hf") == 0 ? 0 : 1;
}
