/* SPDX-License-Identifier: MIT */
/*
 * test_compact.c - hf_compact by hand-written cases: what it keeps, refuses, and leaves behind
 */
#include "store_fixture.h"

#include "base/os.h"
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

struct pair {
    hf_ref next;
    HF_PTR(struct pair) other;
    uint64_t value, more; /* 64 bytes with the header: a size that needs no rounding */
};
static const hf_type pair_type;
static const hf_field pair_refs[] = {{offsetof(struct pair, next), HF_FIELD_REF, &pair_type},
                                     {offsetof(struct pair, other), HF_FIELD_PTR, &pair_type}};
static const hf_type pair_type = {"pair", 1, sizeof(struct pair), 8, 0, pair_refs, 2};
static const hf_type blob_type = {"blob", 1, 1, 8, HF_TYPE_BLOB, NULL, 0};
static const hf_type page_type = {"pages", 1, 4096, 65536, HF_TYPE_BLOB, NULL, 0};

static char path[PATH_BYTES];

static int set_up(void **state)
{
    (void)state;
    fixture_path(path, fixture_disk_directory(), "s.hf");
    return 0;
}

static hf_txn *begin(hf_store *store)
{
    hf_txn *txn;
    assert_ok(hf_begin(store, &txn));
    return txn;
}

/* Objects named "0" ... of which every second is destroyed again, with `bytes` each. */
static void make_half(int count, size_t bytes)
{
    char name[16];
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = begin(store);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%d", i);
        unsigned char *at = hf_construct(txn, name, &blob_type, bytes);
        assert_got(at);
        memset(at, 1 + i % 200, bytes);
    }
    assert_ok(hf_commit(txn));
    txn = begin(store);
    for (int i = 0; i < count; i += 2) {
        snprintf(name, sizeof name, "%d", i);
        assert_ok(hf_destroy(txn, name));
    }
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
}

static void assert_half(int count, size_t bytes)
{
    char name[16];
    hf_view *view;
    hf_check_report report;
    assert_ok(hf_check_file(path, NULL, &report));
    hf_store *store = fixture_open(path, HF_READ_ONLY);
    assert_ok(hf_view_begin(store, &view));
    assert_int_equal(hf_count_named(view), count / 2);
    for (int i = 1; i < count; i += 2) {
        snprintf(name, sizeof name, "%d", i);
        const unsigned char *at = hf_find(view, name, &blob_type, NULL);
        assert_got(at);
        assert_int_equal(at[0], 1 + i % 200);
        assert_memory_equal(at, at + 1, bytes - 1);
    }
    hf_view_end(view);
    assert_ok(hf_close(store));
}

static unsigned char *read_file(uint64_t *out_bytes)
{
    *out_bytes = fixture_file_bytes(path);
    unsigned char *bytes = malloc((size_t)*out_bytes + 1);
    FILE *file = fopen(path, "rb");
    assert_non_null(bytes);
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, (size_t)*out_bytes, file), *out_bytes);
    fclose(file);
    return bytes;
}

static int names_in_directory(void)
{
    int count = 0;
    DIR *dir = opendir(fixture_disk_directory());
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += strncmp(entry->d_name, "s.hf", 4) == 0;
    closedir(dir);
    return count;
}

/* The file has these bytes still, and nothing stands beside it. */
static void assert_untouched(const unsigned char *bytes, uint64_t size_bytes)
{
    uint64_t now_bytes;
    unsigned char *now = read_file(&now_bytes);
    assert_int_equal(now_bytes, size_bytes);
    assert_memory_equal(now, bytes, size_bytes);
    assert_int_equal(names_in_directory(), 1);
    free(now);
}

/* ---- arguments, holders ---------------------------------------------------------------------- */

static void test_compact_refuses_what_it_does_not_know(void **state)
{
    (void)state;
    hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
    make_half(10, 100);
    assert_code(hf_compact(NULL, NULL), HF_EINVAL);
    options.flags = 4;
    assert_code(hf_compact(path, &options), HF_EINVAL);
    options.flags = 0;
    options.reserved[5] = 1;
    assert_code(hf_compact(path, &options), HF_EINVAL);
    options.reserved[5] = 0;
    options.reserved32 = 1;
    assert_code(hf_compact(path, &options), HF_EINVAL);
    assert_ok(hf_compact(path, NULL));
    assert_half(10, 100);
    unlink(path);
    assert_code(hf_compact(path, NULL), HF_ENOENT);
    assert_false(fixture_exists(path));
}

static void test_compact_names_the_holder(void **state)
{
    (void)state;
    int ready[2];
    char byte;
    make_half(10, 100);
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    assert_code(hf_compact(path, NULL), HF_EALREADYOPEN);
    assert_ok(hf_close(store));
    assert_int_equal(pipe(ready), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        hf_options options = HF_OPTIONS_INIT;
        options.mode = HF_OPEN_EXISTING;
        if (hf_open(path, &options, &store) != 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_code(hf_compact(path, NULL), HF_EBUSY);
    assert_int_equal(hf_last_error()->pid, pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_ok(hf_compact(path, NULL)); /* what the dead one left is cleared first */
    assert_half(10, 100);
    assert_int_equal(names_in_directory(), 1);
    close(ready[0]);
    close(ready[1]);
}

/* ---- what is kept ---------------------------------------------------------------------------- */

static void test_compact_keeps_owner_mode_and_attributes(void **state)
{
    (void)state;
    struct stat st;
    char link_path[PATH_BYTES], value[8] = "";
    const bool root = geteuid() == 0;
    make_half(10, 100);
    assert_int_equal(chmod(path, 0640), 0);
    if (root)
        assert_int_equal(chown(path, 65534, 65533), 0);
    const bool attribute = setxattr(path, "user.note", "kept", 4, 0) == 0;
    fixture_path(link_path, fixture_disk_directory(), "link");
    assert_int_equal(symlink(path, link_path), 0);
    assert_ok(hf_compact(link_path, NULL));
    assert_int_equal(lstat(link_path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0640);
    if (root) {
        assert_int_equal(st.st_uid, 65534);
        assert_int_equal(st.st_gid, 65533);
    }
    if (attribute) {
        assert_int_equal(getxattr(path, "user.note", value, sizeof value), 4);
        assert_memory_equal(value, "kept", 4);
    }
    unlink(link_path);
    assert_half(10, 100);
}

static void test_compact_keeps_what_identifies_the_store(void **state)
{
    (void)state;
    uint64_t bytes;
    hf_compact_report report;
    hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
    options.report = &report;
    make_half(3000, 300);
    unsigned char *before = read_file(&bytes);
    const struct hf__segment_header *old =
        (const struct hf__segment_header *)(before + HF__SEGMENT_OFFSET);
    const struct hf__file_header *old_slot = (const struct hf__file_header *)before;
    assert_ok(hf_compact(path, &options));
    unsigned char *after = read_file(&bytes);
    const struct hf__segment_header *new =
        (const struct hf__segment_header *)(after + HF__SEGMENT_OFFSET);
    assert_memory_equal(&old->constants, &new->constants, sizeof new->constants);
    assert_int_equal(new->commit, old->commit + 1);
    assert_int_equal(report.commit, new->commit);
    for (int slot = 0; slot < 2; slot++) {
        const struct hf__file_header *header =
            (const struct hf__file_header *)(after + (slot == 0 ? 0 : HF__SLOT_B_OFFSET));
        assert_int_equal(header->state, HF__STATE_CLEAN);
        assert_int_equal(header->generation, old_slot->generation);
        assert_true(header->generation != 0);
    }
    const struct hf__page_sector *sector =
        (const struct hf__page_sector *)(after + HF__TABLE_OFFSET);
    assert_int_equal(sector->entries[3].commit, new->commit);
    free(before);
    free(after);
}

static void test_compact_leaves_no_tail_and_little_else(void **state)
{
    (void)state;
    enum { COUNT = 60000 };
    hf_compact_report report;
    hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = begin(store);
    struct pair *before = hf_construct(txn, "list", &pair_type, 1), **all;
    assert_got(before);
    all = malloc(COUNT * sizeof *all);
    assert_non_null(all);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_got(all[i] = hf_new(txn, &pair_type, 1));
    for (uint64_t i = 0; i < COUNT; i++)
        if (i * 2654435761u % 5 < 2)
            assert_ok(hf_destroy_ptr(txn, all[i]));
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    free(all);
    options.report = &report;
    assert_ok(hf_compact(path, &options));
    assert_true(report.size_after_bytes < report.size_before_bytes * 3 / 4);
    /* A store of 2 MB has its headers and tables, and the last chunk may be all but empty. */
    assert_true((double)(report.size_after_bytes - HF__SEGMENT_OFFSET) <
                (double)report.live_bytes * 1.03 + 131072);
    assert_int_equal(fixture_file_bytes(path), report.size_after_bytes);
    assert_ok(hf_shrink_to_fit(path));
    assert_true(fixture_file_bytes(path) + HF__PAGE_BYTES >= report.size_after_bytes);
}

/* Objects of two types alternate, and the list runs against the order in which they were made. */
static void test_compact_puts_together_what_belongs_together(void **state)
{
    (void)state;
    hf_view *view;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = begin(store);
    hf_ref next = 0;
    for (int i = 0; i < 100; i++) {
        struct pair *pair = hf_new(txn, &pair_type, 1);
        assert_got(pair);
        assert_got(hf_new(txn, &blob_type, sizeof(struct pair)));
        hf_ptr_set(&pair->other, NULL);
        pair->next = next;
        next = hf_ref_of(hf_txn_view(txn), pair);
    }
    struct pair *head = hf_construct(txn, "head", &pair_type, 1);
    assert_got(head);
    hf_ptr_set(&head->other, NULL);
    head->next = next;
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    assert_ok(hf_compact(path, NULL));
    store = fixture_open(path, HF_READ_ONLY);
    assert_ok(hf_view_begin(store, &view));
    const struct pair *at = hf_find(view, "head", &pair_type, NULL);
    assert_got(at);
    at = hf_at(view, at->next);
    for (int i = 0; i < 99; i++) {
        const hf_ref from = hf_ref_of(view, at);
        assert_true(at->next > from && at->next - from < 256);
        at = hf_at(view, at->next);
    }
    assert_int_equal(at->next, 0);
    hf_view_end(view);
    assert_ok(hf_close(store));
}

/* Named objects lie in the order of their names, also where the index has none: here many names agree in
 * the eight bytes behind what all begin with. */
static void test_compact_orders_by_names(void **state)
{
    enum { COUNT = 300 };
    (void)state;
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    hf_view *view;
    char name[32];
    options.index = HF_INDEX_HASH;
    assert_ok(hf_open(path, &options, &store));
    hf_txn *txn = begin(store);
    for (int i = 0; i < COUNT; i++) {
        const int number = i * 7919 % COUNT;
        snprintf(name, sizeof name, "n%s%05d", number < COUNT / 2 ? "ayyyyyyyy" : "byyyyyyyy", number);
        struct pair *pair = hf_construct(txn, name, &pair_type, 1);
        assert_got(pair);
        hf_ptr_set(&pair->other, NULL);
    }
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    assert_ok(hf_compact(path, NULL));
    store = fixture_open(path, HF_READ_ONLY);
    assert_ok(hf_view_begin(store, &view));
    hf_ref before = 0;
    for (int number = 0; number < COUNT; number++) {
        snprintf(name, sizeof name, "n%s%05d", number < COUNT / 2 ? "ayyyyyyyy" : "byyyyyyyy", number);
        const void *pair = hf_find(view, name, &pair_type, NULL);
        assert_got(pair);
        assert_true(hf_ref_of(view, pair) > before);
        before = hf_ref_of(view, pair);
    }
    hf_view_end(view);
    assert_ok(hf_close(store));
}

static void test_compact_keeps_large_and_aligned_objects(void **state)
{
    (void)state;
    enum { PAGES = 700 };
    hf_view *view;
    size_t count;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = begin(store);
    assert_got(hf_construct(txn, "hole", &blob_type, 300000));
    unsigned char *large = hf_construct(txn, "large", &page_type, PAGES);
    assert_got(large);
    for (size_t i = 0; i < PAGES; i += 3) /* others stay zero */
        memset(large + i * 4096, (int)(i % 255) + 1, 4000);
    assert_ok(hf_destroy(txn, "hole"));
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    assert_ok(hf_compact(path, NULL));
    store = fixture_open(path, HF_READ_ONLY);
    assert_ok(hf_view_begin(store, &view));
    const unsigned char *at = hf_find(view, "large", &page_type, &count);
    assert_got(at);
    assert_int_equal(count, PAGES);
    assert_int_equal(hf_ref_of(view, at) % 65536, 0);
    for (size_t i = 0; i < PAGES; i++)
        for (size_t b = 0; b < 4096; b += 999)
            assert_int_equal(at[i * 4096 + b], i % 3 != 0 || b >= 4000 ? 0 : i % 255 + 1);
    hf_view_end(view);
    assert_ok(hf_close(store));
}

static hf_store *create(uint32_t allocator, uint32_t index)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.mode = HF_CREATE_NEW;
    options.allocator = allocator;
    options.index = index;
    assert_ok(hf_open(path, &options, &store));
    return store;
}

/* Objects of no elements, of every kind, and what leads to them. */
static void make_empty_ones(uint32_t allocator)
{
    char name[16];
    hf_store *store = create(allocator, HF_INDEX_SET);
    hf_txn *txn = begin(store);
    struct pair *first = hf_construct(txn, "first", &pair_type, 3);
    assert_got(first);
    for (int i = 0; i < 20; i++) { /* so that none is the last by chance */
        snprintf(name, sizeof name, "%.*s", 1 + i % 10, i < 10 ? "aaaaaaaaaa" : "zzzzzzzzzz");
        assert_got(hf_construct(txn, name, i % 2 == 0 ? &blob_type : NULL, 0));
    }
    const void *const to[] = {hf_construct(txn, "none", &pair_type, 0), hf_new(txn, &pair_type, 0),
                              hf_construct_unique(txn, &page_type, 0)};
    for (int i = 0; i < 2; i++) {
        assert_got(to[i]);
        first[i].next = hf_ref_of(hf_txn_view(txn), (const char *)to[i] - 1) + 1;
    }
    assert_got(to[2]);
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
}

static void test_compact_keeps_objects_of_no_elements(void **state)
{
    static const uint32_t allocators[] = {HF_ALLOC_BEST_FIT, HF_ALLOC_SEQ_FIT, HF_ALLOC_SLAB};
    (void)state;
    for (size_t a = 0; a < sizeof allocators / sizeof *allocators; a++) {
        hf_compact_report report;
        hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
        hf_view *view;
        size_t count = 1;
        options.report = &report;
        make_empty_ones(allocators[a]);
        assert_ok(hf_compact(path, &options));
        assert_int_equal(report.dangling, 0);
        assert_ok(hf_check_file(path, NULL, NULL));
        hf_store *store = fixture_open(path, HF_READ_ONLY);
        assert_ok(hf_view_begin(store, &view));
        assert_int_equal(hf_count_named(view), 22);
        const struct pair *first = hf_find(view, "first", &pair_type, &count);
        assert_int_equal(count, 3);
        const char *none = hf_find(view, "none", &pair_type, &count);
        assert_got(none);
        assert_int_equal(count, 0);
        assert_int_equal(first[0].next, hf_ref_of(view, none - 1) + 1);
        hf_object_info info;
        assert_ok(hf_object_at(view, (const char *)hf_at(view, first[1].next - 1) + 1, &info));
        assert_int_equal(info.kind, HF_KIND_ANONYMOUS);
        assert_int_equal(info.count, 0);
        assert_got(hf_find_unique(view, &page_type, &count));
        assert_int_equal(count, 0);
        hf_view_end(view);
        assert_ok(hf_close(store));
        assert_ok(hf_remove(path));
    }
}

/* What the store writes in front of plain bytes (an index's links, a name, a header) pins nothing. */
static void test_compact_pins_only_what_bytes_may_lead_to(void **state)
{
    static const uint32_t indexes[] = {HF_INDEX_SET, HF_INDEX_HASH, HF_INDEX_FLAT};
    (void)state;
    for (size_t k = 0; k < sizeof indexes / sizeof *indexes; k++) {
        hf_compact_options compact = HF_COMPACT_OPTIONS_INIT;
        hf_compact_report report;
        char name[16];
        hf_store *store = create(HF_ALLOC_DEFAULT, indexes[k]);
        hf_txn *txn = begin(store);
        for (int i = 0; i < 1000; i++) {
            snprintf(name, sizeof name, "%d", i);
            assert_got(hf_construct(txn, name, i % 2 == 0 ? NULL : &blob_type, 40));
        }
        assert_ok(hf_commit(txn));
        assert_ok(hf_close(store));
        compact.report = &report;
        assert_ok(hf_compact(path, &compact));
        assert_int_equal(report.pinned_opaque, 500);
        assert_int_equal(report.pinned_referred, 0);
        assert_ok(hf_remove(path));
    }
}

static void test_compact_keeps_type_ids(void **state)
{
    (void)state;
    hf_type_info before[4], after;
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_view *view;
    int types = 0;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = begin(store);
    assert_got(hf_construct(txn, "a", &page_type, 0));
    assert_got(hf_construct(txn, "b", &pair_type, 1));
    assert_got(hf_construct(txn, "c", &blob_type, 1));
    assert_ok(hf_destroy(txn, "a"));
    assert_ok(hf_commit(txn));
    assert_ok(hf_view_begin(store, &view));
    while (hf_next_type(view, &cursor, &before[types]) == 1)
        types++;
    assert_int_equal(types, 3);
    hf_view_end(view);
    assert_ok(hf_close(store));
    assert_ok(hf_compact(path, NULL));
    store = fixture_open(path, HF_OPEN_EXISTING);
    assert_ok(hf_view_begin(store, &view));
    cursor = (hf_cursor)HF_CURSOR_INIT;
    for (int i = 0; i < types; i++) {
        assert_int_equal(hf_next_type(view, &cursor, &after), 1);
        assert_int_equal(after.id, before[i].id);
        assert_int_equal(after.align_bytes, before[i].align_bytes);
    }
    hf_view_end(view);
    txn = begin(store);
    assert_got(hf_construct(txn, "v", &value_type, 1)); /* the table can grow */
    assert_ok(hf_commit(txn));
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

/* ---- pointers -------------------------------------------------------------------------------- */

static void test_compact_makes_dangling_pointers_null(void **state)
{
    (void)state;
    hf_compact_report report;
    hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
    hf_view *view;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = begin(store);
    struct pair *gone = hf_new(txn, &pair_type, 1), *array = hf_construct(txn, "a", &pair_type, 5);
    assert_got(gone);
    assert_got(array);
    array[0].next = hf_ref_of(hf_txn_view(txn), gone);
    hf_ptr_set(&array[0].other, gone);
    array[1].next = 77; /* marks */
    array[2].next = UINT64_MAX;
    hf_ptr_set(&array[1].other, NULL);
    hf_ptr_set(&array[2].other, &array[2].other);
    hf_ptr_set(&array[3].other, &array[5]);
    array[3].next = hf_ref_of(hf_txn_view(txn), array);
    assert_ok(hf_destroy_ptr(txn, gone));
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    options.report = &report;
    assert_ok(hf_compact(path, &options));
    assert_int_equal(report.dangling, 2);
    store = fixture_open(path, HF_READ_ONLY);
    assert_ok(hf_view_begin(store, &view));
    const struct pair *at = hf_find(view, "a", &pair_type, NULL);
    assert_got(at);
    assert_int_equal(at[0].next, 0);
    assert_null(hf_ptr_get(&at[0].other));
    assert_int_equal(at[1].next, 77);
    assert_null(hf_ptr_get(&at[1].other));
    assert_true(at[2].next == UINT64_MAX);
    assert_ptr_equal(hf_ptr_get(&at[2].other), &at[2].other);
    assert_ptr_equal(hf_ptr_get(&at[3].other), &at[5]);
    assert_int_equal(at[3].next, hf_ref_of(view, at));
    assert_ptr_equal(hf_ptr_get(&at[4].other), &at[4].other); /* zero: itself */
    hf_view_end(view);
    assert_ok(hf_close(store));
}

/* Nodes are opaque: they, their pool, and what a node leads to stay; the pool works on. */
static void test_compact_leaves_pools_where_they_are(void **state)
{
    (void)state;
    enum { NODES = 500 };
    static hf_ref nodes[NODES];
    hf_compact_report report;
    hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = begin(store);
    assert_got(hf_construct(txn, "hole", &blob_type, 100000));
    struct pair *held = hf_new(txn, &pair_type, 1);
    assert_got(held);
    held->value = 4711;
    const hf_ref held_ref = hf_ref_of(hf_txn_view(txn), held);
    hf_pool *pool = hf_pool_create(txn, "pool", 48, 1);
    assert_got(pool);
    for (int i = 0; i < NODES; i++) {
        uint64_t *node = hf_pool_alloc(txn, pool);
        assert_got(node);
        memset(node, 0, 48);
        node[0] = (uint64_t)i << 48;
        node[5] = i == 7 ? held_ref : 0;
        nodes[i] = hf_ref_of(hf_txn_view(txn), node);
    }
    assert_ok(hf_destroy(txn, "hole"));
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    options.report = &report;
    assert_ok(hf_compact(path, &options));
    assert_true(report.pinned_opaque >= 2 && report.pinned_referred == 2);
    store = fixture_open(path, HF_OPEN_EXISTING);
    txn = begin(store);
    pool = (hf_pool *)(uintptr_t)hf_pool_find(hf_txn_view(txn), "pool");
    assert_got(pool);
    for (int i = 0; i < NODES; i++) {
        const uint64_t *node = hf_at(hf_txn_view(txn), nodes[i]);
        assert_true(node[0] == (uint64_t)i << 48);
        assert_ok(hf_pool_free(txn, pool, node));
    }
    assert_int_equal(((const struct pair *)hf_at(hf_txn_view(txn), held_ref))->value, 4711);
    assert_got(hf_pool_alloc(txn, pool));
    assert_ok(hf_commit(txn));
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

/* What repair has set aside is kept where it is, till somebody says that it may go. */
static void test_compact_keeps_lost_blocks_unless_told(void **state)
{
    (void)state;
    hf_compact_report report;
    hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
    hf_view *view;
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    hf_txn *txn = begin(store);
    assert_got(hf_construct(txn, "hole", &blob_type, 50000));
    unsigned char *raw = hf_alloc(txn, 5000);
    assert_got(raw);
    memset(raw, 0x5a, 5000);
    const hf_ref ref = hf_ref_of(hf_txn_view(txn), raw);
    assert_got(hf_new(txn, &blob_type, 3000));
    assert_ok(hf_destroy(txn, "hole"));
    assert_ok(hf_commit(txn));
    txn = begin(store);
    assert_ok(hf__block_set_lost(&store->heap, ref));
    assert_ok(hf__reserve(&store->seg, HF__EDIT_COST(8)));
    --*(uint64_t *)hf__edit(&store->seg, offsetof(struct hf__segment_header, raw_count), 8);
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    options.report = &report;
    assert_ok(hf_compact(path, &options));
    assert_int_equal(report.pinned_opaque, 1);
    assert_int_equal(report.unreachable, 2);
    assert_int_equal(report.dropped, 0);
    store = fixture_open(path, HF_READ_ONLY);
    assert_ok(hf_view_begin(store, &view));
    raw = (unsigned char *)(uintptr_t)hf_at(view, ref);
    assert_true(raw[0] == 0x5a && memcmp(raw, raw + 1, 4999) == 0);
    hf_view_end(view);
    assert_ok(hf_close(store));
    options.flags = HF_COMPACT_DROP_UNREACHABLE;
    assert_ok(hf_compact(path, &options));
    assert_int_equal(report.dropped, 2);
    assert_int_equal(report.pinned_opaque, 0);
    assert_int_equal(report.live_bytes, 0);
    assert_int_equal(report.size_after_bytes, HF__SEGMENT_OFFSET + HF__SEGMENT_BYTES_MIN);
    assert_ok(hf_check_file(path, NULL, NULL));
}

/* ---- refusals and failures ------------------------------------------------------------------- */

static void test_compact_refuses_damage(void **state)
{
    (void)state;
    uint64_t bytes;
    make_half(100, 300);
    fixture_patch(path, HF__SEGMENT_OFFSET + 20000, "rotten", 6);
    unsigned char *before = read_file(&bytes);
    assert_code(hf_compact(path, NULL), HF_ECORRUPT);
    assert_untouched(before, bytes);
    free(before);

    set_up(NULL);
    make_half(100, 300);
    assert_int_equal(truncate(path, HF__SEGMENT_OFFSET + 8192), 0);
    before = read_file(&bytes);
    assert_code(hf_compact(path, NULL), HF_ETRUNCATED);
    assert_untouched(before, bytes);
    fixture_patch(path, 0, before + 9000, 512);
    fixture_patch(path, HF__SLOT_B_OFFSET, before + 9000, 512);
    free(before);
    before = read_file(&bytes);
    assert_code(hf_compact(path, NULL), HF_ENOTSTORE);
    assert_untouched(before, bytes);
    free(before);
}

static void test_compact_refuses_a_file_with_two_names(void **state)
{
    (void)state;
    char second[PATH_BYTES];
    uint64_t bytes;
    make_half(10, 100);
    fixture_path(second, fixture_disk_directory(), "second");
    assert_int_equal(link(path, second), 0);
    unsigned char *before = read_file(&bytes);
    assert_code(hf_compact(path, NULL), HF_EOTHERPATH);
    assert_untouched(before, bytes);
    unlink(second);
    free(before);
}

struct cancelling {
    int left;
    uint64_t done;
};

static int cancel(void *user, uint64_t done, uint64_t total)
{
    struct cancelling *cancelling = user;
    assert_true(done >= cancelling->done && done <= total);
    cancelling->done = done;
    return cancelling->left-- == 0;
}

static void test_compact_can_be_cancelled_anywhere(void **state)
{
    (void)state;
    uint64_t bytes;
    int code = HF_ECANCELLED, stops = 0;
    make_half(20, 3 << 20);
    unsigned char *before = read_file(&bytes);
    for (; code == HF_ECANCELLED; stops++) {
        struct cancelling cancelling = {stops, 0};
        hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
        options.on_progress = cancel;
        options.user = &cancelling;
        code = hf_compact(path, &options);
        if (code == HF_ECANCELLED)
            assert_untouched(before, bytes);
    }
    assert_ok(code);
    assert_true(stops > 10);
    assert_half(20, 3 << 20);
    free(before);
}

/* ---- the thread that checks ------------------------------------------------------------------ */

static pid_t caller;
static bool may_cancel, was_cancelled;
static unsigned reads_beside;

static int cancel_once_it_reads(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    while (may_cancel && __atomic_load_n(&reads_beside, __ATOMIC_SEQ_CST) == 0)
        usleep(1000);
    __atomic_store_n(&was_cancelled, may_cancel, __ATOMIC_SEQ_CST);
    return may_cancel;
}

/* The thread that was called waits for the other one. */
static bool caller_sleeps(void)
{
    char name[64], line[256] = "";
    snprintf(name, sizeof name, "/proc/self/task/%d/stat", (int)caller);
    FILE *file = fopen(name, "r");
    if (file == NULL)
        return true;
    (void)!fgets(line, sizeof line, file);
    fclose(file);
    return strstr(line, ") S") != NULL;
}

static ssize_t read_beside(int fd, void *buffer, size_t size_bytes, off_t offset)
{
    const bool beside = (pid_t)syscall(SYS_gettid) != caller;
    if (beside)
        __atomic_add_fetch(&reads_beside, 1, __ATOMIC_SEQ_CST);
    while (beside && may_cancel &&
           !(__atomic_load_n(&was_cancelled, __ATOMIC_SEQ_CST) && caller_sleeps()))
        usleep(1000);
    return hf__os_system.pread(fd, buffer, size_bytes, offset);
}

/* Cancelling doesn't wait until all pages of the old file are compared. */
static void test_compact_cancelled_ends_the_check_beside_it(void **state)
{
    (void)state;
    static struct hf__os os;
    hf_compact_options options = HF_COMPACT_OPTIONS_INIT;
    unsigned reads[2];
    options.on_progress = cancel_once_it_reads;
    options.flags = HF_COMPACT_DRY_RUN;
    hf_options store_options = HF_OPTIONS_INIT;
    hf_store *store;
    store_options.mode = HF_CREATE_NEW;
    assert_ok(hf_open(path, &store_options, &store));
    hf_txn *txn = begin(store);
    assert_got(hf_construct(txn, "large", NULL, 120 << 20));
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(store));
    os = hf__os_system;
    os.pread = read_beside;
    caller = (pid_t)syscall(SYS_gettid);
    for (int i = 0; i < 2; i++) {
        may_cancel = i == 1;
        was_cancelled = false;
        reads_beside = 0;
        hf__os = &os;
        const int code = hf_compact(path, &options);
        hf__os = &hf__os_system;
        assert_int_equal(code, may_cancel ? HF_ECANCELLED : HF_OK);
        reads[i] = reads_beside;
    }
    assert_true(reads[0] > 400);
    assert_true(reads[1] < reads[0] / 4 * 3); /* up to 8 threads have begun 8 MiB each */
}

/* ---- calls ----------------------------------------------------------------------------------- */

static struct hf__os table;
static int fails_in, calls, old_inode_writes;
static ino_t old_inode;
static bool renamed, dirty, directory_synced;

static bool fails(int fd)
{
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == old_inode)
        old_inode_writes++;
    errno = ENOSPC;
    return ++calls == fails_in;
}

static ssize_t watched_pwrite(int fd, const void *bytes, size_t size_bytes, off_t offset)
{
    dirty = true;
    return fails(fd) ? -1 : hf__os_system.pwrite(fd, bytes, size_bytes, offset);
}

static int watched_ftruncate(int fd, off_t size_bytes)
{
    dirty = true;
    return fails(fd) ? -1 : hf__os_system.ftruncate(fd, size_bytes);
}

static int watched_fallocate(int fd, int mode, off_t offset, off_t size_bytes)
{
    dirty = true;
    return fails(fd) ? -1 : hf__os_system.fallocate(fd, mode, offset, size_bytes);
}

static int watched_fsync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    if (!renamed && fails(fd))
        return -1;
    directory_synced |= renamed && S_ISDIR(st.st_mode);
    dirty = dirty && !S_ISREG(st.st_mode);
    return hf__os_system.fsync(fd);
}

static int watched_fdatasync(int fd)
{
    return fails(fd) ? -1 : hf__os_system.fdatasync(fd);
}

static int watched_fchmod(int fd, mode_t mode)
{
    return fails(fd) ? -1 : hf__os_system.fchmod(fd, mode);
}

static int watched_rename(const char *from, const char *to)
{
    assert_false(dirty);
    assert_string_equal(strrchr(to, '/'), "/s.hf");
    if (fails(-1))
        return -1;
    renamed = true;
    return hf__os_system.rename(from, to);
}

static int watch(int fail_at)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    old_inode = st.st_ino;
    fails_in = fail_at;
    calls = old_inode_writes = 0;
    renamed = dirty = directory_synced = false;
    table = hf__os_system;
    table.pwrite = table.pwrite_apart = watched_pwrite;
    table.ftruncate = watched_ftruncate;
    table.fallocate = watched_fallocate;
    table.fsync = watched_fsync;
    table.fdatasync = watched_fdatasync;
    table.fchmod = watched_fchmod;
    table.rename = watched_rename;
    hf__os = &table;
    const int code = hf_compact(path, NULL);
    hf__os = &hf__os_system;
    return code;
}

static void test_compact_syncs_before_it_renames(void **state)
{
    (void)state;
    make_half(200, 500);
    assert_ok(watch(0));
    assert_true(renamed && directory_synced && !dirty);
    assert_int_equal(old_inode_writes, 0);
    assert_half(200, 500);
}

static void test_compact_leaves_nothing_when_a_call_fails(void **state)
{
    (void)state;
    uint64_t bytes;
    int fail_at = 0, code;
    make_half(200, 500);
    unsigned char *before = read_file(&bytes);
    while ((code = watch(++fail_at)) != 0) {
        assert_int_equal(code, HF_ENOSPC);
        assert_false(renamed);
        assert_untouched(before, bytes);
    }
    assert_true(fail_at > 8);
    assert_half(200, 500);
    free(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_compact_refuses_what_it_does_not_know, set_up),
        cmocka_unit_test_setup(test_compact_names_the_holder, set_up),
        cmocka_unit_test_setup(test_compact_keeps_owner_mode_and_attributes, set_up),
        cmocka_unit_test_setup(test_compact_keeps_what_identifies_the_store, set_up),
        cmocka_unit_test_setup(test_compact_leaves_no_tail_and_little_else, set_up),
        cmocka_unit_test_setup(test_compact_puts_together_what_belongs_together, set_up),
        cmocka_unit_test_setup(test_compact_orders_by_names, set_up),
        cmocka_unit_test_setup(test_compact_keeps_large_and_aligned_objects, set_up),
        cmocka_unit_test_setup(test_compact_keeps_objects_of_no_elements, set_up),
        cmocka_unit_test_setup(test_compact_pins_only_what_bytes_may_lead_to, set_up),
        cmocka_unit_test_setup(test_compact_keeps_type_ids, set_up),
        cmocka_unit_test_setup(test_compact_makes_dangling_pointers_null, set_up),
        cmocka_unit_test_setup(test_compact_leaves_pools_where_they_are, set_up),
        cmocka_unit_test_setup(test_compact_keeps_lost_blocks_unless_told, set_up),
        cmocka_unit_test_setup(test_compact_refuses_damage, set_up),
        cmocka_unit_test_setup(test_compact_refuses_a_file_with_two_names, set_up),
        cmocka_unit_test_setup(test_compact_can_be_cancelled_anywhere, set_up),
        cmocka_unit_test_setup(test_compact_cancelled_ends_the_check_beside_it, set_up),
        cmocka_unit_test_setup(test_compact_syncs_before_it_renames, set_up),
        cmocka_unit_test_setup(test_compact_leaves_nothing_when_a_call_fails, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
