/* SPDX-License-Identifier: MIT */
/*
 * model_dump.c - random stores survive dump and load, whatever engine, allocator and index
 *
 * A store is dumped and loaded into one of another make, and the two are compared without the
 * dump's help. Loaded into a store of its own make it gives the same dump again, byte for byte.
 * (Elsewhere raw blocks may be larger than they were.)
 */
#include "tests/tools/dump_graph.h"

static const char *const engines[] = {"log", "direct"};
static const char *const allocators[] = {"slab", "best_fit", "seq_fit"};
static const char *const indexes[] = {"set", "hash", "flat"};

static bool same_files(const char *path_a, const char *path_b)
{
    size_t size_a, size_b;
    char *a = dump_graph_read(path_a, &size_a), *b = dump_graph_read(path_b, &size_b);
    bool same = size_a == size_b && memcmp(a, b, size_a) == 0;
    free(a);
    free(b);
    return same;
}

static void check(struct campaign *c, struct rng *rng, uint64_t round)
{
    hf_options options = HF_OPTIONS_INIT;
    options.mode = HF_CREATE_NEW;
    options.engine = (uint32_t)rng_below(rng, 2);
    options.allocator = 1 + (uint32_t)rng_below(rng, 3);
    options.index = (uint32_t)rng_below(rng, 3);
    options.size_max_bytes = UINT64_C(1) << 30;
    options.layout = rng_percent(rng, 50) ? "org.example \xff" : NULL;
    options.layout_version = options.layout == NULL ? 0 : 5;
    const char *engine = engines[rng_below(rng, 2)], *allocator = allocators[rng_below(rng, 3)];
    const char *index = indexes[rng_below(rng, 3)];
    dump_graph_make("a.hf", &options, rng, 1 + (unsigned)rng_below(rng, 60));
    int code = dump_graph_run("dump --quiet a.hf >a.dump 2>dump.err");
    campaign_expect(c, code == 0, "round %llu: dump: exit code %d", (unsigned long long)round,
                    code);
    code = dump_graph_run("load --quiet --engine %s --allocator %s --index %s b.hf a.dump 2>err",
                          engine, allocator, index);
    if (!campaign_expect(c, code == 0, "round %llu: load: exit code %d", (unsigned long long)round,
                         code))
        exit(campaign_end(c));
    campaign_expect(c, dump_graph_same("a.hf", "b.hf"), "round %llu: %s %s %s: the stores differ",
                    (unsigned long long)round, engine, allocator, index);
    campaign_expect(c, dump_graph_run("fsck --quiet --no-pointers b.hf >fsck.out") == 0, "round %llu: fsck",
                    (unsigned long long)round);
    /* Into a store of the first one's make, through standard input, and back to the same text. */
    campaign_expect(c, dump_graph_run("load --quiet c.hf <a.dump") == 0, "round %llu: load again",
                    (unsigned long long)round);
    campaign_expect(c, dump_graph_run("dump --quiet c.hf >c.dump 2>dump.err") == 0,
                    "round %llu: dump again", (unsigned long long)round);
    campaign_expect(c, same_files("a.dump", "c.dump"), "round %llu: the dumps differ",
                    (unsigned long long)round);
    campaign_expect(c, dump_graph_run("dump --quiet --json a.hf >a.json 2>dump.err") == 0,
                    "round %llu: dump --json", (unsigned long long)round);
    campaign_expect(c, dump_graph_run("dump --quiet --pretty a.hf >a.txt 2>dump.err") == 0,
                    "round %llu: dump --pretty", (unsigned long long)round);
    hf_remove("a.hf");
    hf_remove("b.hf");
    hf_remove("c.hf");
}

/* A pool can't be moved: it is left out, and said so; what refers to its nodes leads nowhere. */
static void check_pool(struct campaign *c)
{
    static const hf_field fields[] = {{0, HF_FIELD_REF, NULL}};
    static const hf_type type = {"holder", 1, 8, 8, 0, fields, 1};
    hf_store *store;
    hf_txn *txn;
    if (hf_open("p.hf", NULL, &store) != 0 || hf_begin(store, &txn) != 0)
        exit(2);
    hf_pool *pool = hf_pool_create(txn, "pool", 64, 2);
    hf_ref *holder = hf_construct(txn, "holder", &type, 2);
    void *nodes[2000]; /* full chunks, one with room, and empty ones */
    if (holder == NULL || pool == NULL || hf_pool_alloc_many(txn, pool, 2000, nodes) != 0 ||
        hf_pool_free_many(txn, pool, nodes + 600, 1400) != 0)
        exit(2);
    holder[0] = hf_ref_of(hf_txn_view(txn), nodes[0]);
    holder[1] = hf_ref_of(hf_txn_view(txn), holder);
    /* No chunk, though it has the pool's place where a chunk has it. */
    hf_ref *raw = hf_alloc(txn, 5000);
    if (raw == NULL)
        exit(2);
    memset(raw, 0, 5000);
    raw[1] = hf_ref_of(hf_txn_view(txn), pool);
    if (hf_commit(txn) != 0 || hf_close(store) != 0)
        exit(2);
    campaign_expect(c, dump_graph_run("dump p.hf >p.dump 2>err") == 1, "a pool: exit code");
    campaign_expect(c, system("grep -q '1 pools are left out' err") == 0, "a pool: the message");
    campaign_expect(c, system("grep -q 'pool \"pool\", 600 nodes of 64 bytes' err") == 0,
                    "a pool: named");
    campaign_expect(c,
                    system("grep -q '\"elements\":\\[{\"#0\":{\"dangling\":true}},"
                           "{\"#0\":{\"ref\":1}}\\]' p.dump") == 0,
                    "a pool: pointers");
    campaign_expect(c, system("grep -q '\"raw\":1[,}]' p.dump") == 0, "a pool: raw blocks");
    campaign_expect(c, dump_graph_run("load q.hf p.dump >p.out 2>err") == 0, "a pool: load");
    campaign_expect(c, system("grep -q 'made without the 1 pools' err") == 0, "a pool: load says it");
    campaign_expect(c, dump_graph_run("fsck --quiet --no-pointers q.hf") == 0, "a pool: fsck");
    campaign_expect(c, system("test $($HF_COMMAND ls q.hf) = holder") == 0, "a pool: names");
}

int main(void)
{
    struct campaign c;
    struct rng rng;
    campaign_start(&c, "dump and load");
    rng = (struct rng){c.seed};
    for (uint64_t i = 0; i < campaign_count(&c, 40); i++)
        check(&c, &rng, i);
    check_pool(&c);
    return campaign_end(&c);
}
