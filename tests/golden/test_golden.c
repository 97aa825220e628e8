/* SPDX-License-Identifier: MIT */
/*
 * test_golden.c - stores that earlier builds made are opened by this one, and what this one makes
 * has the layout that docs/format.md promises
 *
 * The files are tests/golden/format0-ALLOCATOR-INDEX.hf. Until the first release they may be
 * replaced (`test_golden --make DIRECTORY` writes them), with a line in the change log; afterwards
 * a new format version gets new files beside the old ones, which stay for ever.
 */
#include <holdfast.h>

#include "alloc/block_format.h"
#include "index/index_format.h"
#include "store/log_format.h"
#include "store/object_format.h"
#include "store/store_format.h"
#include "sync/lock_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PATH_BYTES 1024
#define DIRECTORY_BYTES 512

static const char *const allocator_names[] = {"", "best_fit", "seq_fit", "slab"};
static const char *const index_names[] = {"set", "hash", "flat", "null"};

struct golden_node {
    hf_ref next;
    HF_PTR(struct golden_node) other;
    int64_t value;
};
static const hf_type node_type;
static const hf_field node_refs[] = {{0, HF_FIELD_REF, &node_type}, {8, HF_FIELD_PTR, &node_type}};
static const hf_type node_type = {"golden/node", 7, sizeof(struct golden_node), 8, 0, node_refs, 2};

/* The object everything else hangs on where there are no names: at a reference of its own. */
struct golden_root {
    hf_ref text, first;
    uint64_t magic;
};
static const hf_type root_type = {"golden/root", 1, sizeof(struct golden_root), 8, 0, NULL, 0};
enum { NAMES = 30, NODES = 10 };
#define ROOT_MAGIC UINT64_C(0x600DF00D600DF00D)
static const char text[] = "Bytes that must be read again by every later release.";

/* Of the files at hand. */
static uint32_t engine;

static const char *file_name(char out[PATH_BYTES], const char *directory, unsigned allocator,
                             unsigned index)
{
    snprintf(out, PATH_BYTES, "%s/format%u-%s%s-%s.hf", directory, HF__FORMAT_VERSION,
             engine == HF_ENGINE_LOG ? "log-" : "", allocator_names[allocator], index_names[index]);
    return out;
}

/* ---- making ---------------------------------------------------------------------------------- */

static const char *failed_at;

/* Remembers the first claim that didn't hold. */
static int must(int holds, const char *claim)
{
    if (!holds && failed_at == NULL)
        failed_at = claim;
    return holds;
}
#define MUST(condition) must((condition) != 0, #condition)

static void make_chain(hf_txn *txn, struct golden_root *root)
{
    struct golden_node *previous = NULL;
    for (int i = 0; i < NODES; i++) {
        struct golden_node *n = hf_new(txn, &node_type, 1);
        if (n == NULL) {
            failed_at = "a node";
            return;
        }
        n->value = i * 11;
        hf_ptr_set(&n->other, previous);
        n->next = hf_ref_of(hf_txn_view(txn), previous);
        previous = n;
    }
    root->first = hf_ref_of(hf_txn_view(txn), previous);
}

static void make_names(hf_txn *txn)
{
    for (int i = 0; i < NAMES; i++) {
        char name[32];
        snprintf(name, sizeof name, "golden/%d/%d", i % 3, i);
        struct golden_node *n = hf_construct(txn, name, &node_type, (size_t)(i % 4));
        MUST(n != NULL);
        for (int k = 0; n != NULL && k < i % 4; k++) {
            hf_ptr_set(&n[k].other, NULL);
            n[k].value = i * 100 + k;
        }
    }
    MUST(hf_construct_unique(txn, &root_type, 2) != NULL);
}

/* Content and a few holes, so that the free structures are not empty. */
static int make_content(hf_store *store, unsigned index)
{
    hf_txn *txn = NULL;
    void *blocks[12];
    hf_ref refs[12] = {0};
    if (hf_begin(store, &txn) != 0)
        return 1;
    MUST(hf_alloc_many(txn, 200, 12, blocks) == 0);
    for (int i = 0; i < 12 && failed_at == NULL; i++)
        refs[i] = hf_ref_of(hf_txn_view(txn), blocks[i]);
    struct golden_root *root = index == HF_INDEX_NULL ? hf_new(txn, &root_type, 1)
                                                      : hf_construct(txn, "root", &root_type, 1);
    char *bytes = hf_alloc(txn, sizeof text);
    if (!MUST(root != NULL && bytes != NULL)) {
        hf_abort(txn);
        return 1;
    }
    memcpy(bytes, text, sizeof text);
    root->magic = ROOT_MAGIC;
    root->text = hf_ref_of(hf_txn_view(txn), bytes);
    make_chain(txn, root);
    if (index != HF_INDEX_NULL)
        make_names(txn);
    MUST(hf_commit(txn) == 0);
    if (hf_begin(store, &txn) != 0)
        return 1;
    for (int i = 0; i < 12; i += 2)
        hf_free(txn, hf_at(hf_txn_view(txn), refs[i]));
    MUST(hf_commit(txn) == 0);
    return failed_at == NULL ? 0 : 1;
}

static int make_file(const char *path, unsigned allocator, unsigned index)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.mode = HF_CREATE_NEW;
    options.engine = engine;
    options.allocator = allocator;
    options.index = index;
    options.size_initial_bytes = allocator == HF_ALLOC_SLAB ? 128 << 10 : 16 << 10;
    options.size_max_bytes = 1 << 20;
    options.layout = "golden";
    options.layout_version = 1;
    if (hf_open(path, &options, &store) != 0)
        return 1;
    int failed = make_content(store, index);
    failed |= hf_close(store) != 0;
    failed |= hf_shrink_to_fit(path) != 0;
    if (failed)
        fprintf(stderr, "%s: %s: %s\n", path, failed_at != NULL ? failed_at : "closing",
                hf_last_error()->message);
    return failed;
}

static int make_all_of_engine(const char *directory)
{
    char path[PATH_BYTES];
    for (unsigned allocator = HF_ALLOC_BEST_FIT; allocator <= HF_ALLOC_SLAB; allocator++) {
        for (unsigned index = HF_INDEX_SET; index <= HF_INDEX_NULL; index++) {
            remove(file_name(path, directory, allocator, index));
            if (make_file(path, allocator, index) != 0)
                return 1;
        }
    }
    return 0;
}

static int make_all(const char *directory)
{
    int failed = 0;
    for (engine = HF_ENGINE_LOG; engine <= HF_ENGINE_DIRECT && !failed; engine++)
        failed = make_all_of_engine(directory);
    return failed;
}

/* ---- reading --------------------------------------------------------------------------------- */

static const struct golden_root *find_root(hf_view *view, unsigned index)
{
    if (index != HF_INDEX_NULL)
        return hf_find(view, "root", &root_type, NULL);
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    while (hf_next_object(view, &cursor, &info) == 1) {
        if (strcmp(info.type_name, "golden/root") == 0)
            return info.object;
    }
    return NULL;
}

static void check_names(hf_view *view)
{
    for (int i = 0; i < NAMES; i++) {
        char name[32];
        size_t count = 99;
        snprintf(name, sizeof name, "golden/%d/%d", i % 3, i);
        const struct golden_node *n = hf_find(view, name, &node_type, &count);
        assert_non_null(n);
        assert_int_equal(count, i % 4);
        for (int k = 0; k < i % 4; k++)
            assert_int_equal(n[k].value, i * 100 + k);
    }
    assert_int_equal(hf_count_named(view), NAMES + 1);
    size_t count = 0;
    assert_non_null(hf_find_unique(view, &root_type, &count));
    assert_int_equal(count, 2);
}

static void check_content(hf_store *store, unsigned index)
{
    hf_view *view = NULL;
    assert_int_equal(hf_view_begin(store, &view), 0);
    const struct golden_root *root = find_root(view, index);
    assert_non_null(root);
    assert_true(root->magic == ROOT_MAGIC);
    assert_string_equal(hf_at(view, root->text), text);
    const struct golden_node *n = hf_at(view, root->first);
    for (int i = NODES; i-- > 0; n = hf_ptr_get(&n->other)) {
        assert_non_null(n);
        assert_int_equal(n->value, i * 11);
        assert_ptr_equal(hf_at(view, n->next), hf_ptr_get(&n->other));
    }
    assert_null(n);
    if (index != HF_INDEX_NULL)
        check_names(view);
    hf_view_end(view);
    hf_check_report report;
    assert_int_equal(hf_check_sanity(store, NULL, &report), 0);
    assert_int_equal(report.raw, 7);
    assert_int_equal(report.types, 2);
}

static const char *source_directory(char out[DIRECTORY_BYTES])
{
    const char *source = getenv("HF_SOURCE_DIR");
    if (source != NULL) {
        snprintf(out, DIRECTORY_BYTES, "%s/tests/golden", source);
        return out;
    }
    snprintf(out, DIRECTORY_BYTES, "%s", __FILE__); /* run by hand from where it was built */
    char *slash = strrchr(out, '/');
    if (slash == NULL)
        return ".";
    *slash = 0;
    return out;
}

static void copy_file(const char *from, const char *to)
{
    static char bytes[1 << 20];
    FILE *in = fopen(from, "rb");
    if (in == NULL)
        fail_msg("there is no golden file %s", from);
    size_t size = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    FILE *out = fopen(to, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void golden_files_are_read_and_can_be_written_on(void)
{
    char directory[DIRECTORY_BYTES], golden[PATH_BYTES], path[] = "golden-copy.hf";
    source_directory(directory);
    for (unsigned allocator = HF_ALLOC_BEST_FIT; allocator <= HF_ALLOC_SLAB; allocator++) {
        for (unsigned index = HF_INDEX_SET; index <= HF_INDEX_NULL; index++) {
            copy_file(file_name(golden, directory, allocator, index), path);
            hf_options options = HF_OPTIONS_INIT;
            hf_store *store = NULL;
            hf_txn *txn = NULL;
            options.mode = HF_READ_ONLY;
            options.layout = "golden";
            options.layout_version = 1;
            assert_int_equal(hf_open(path, &options, &store), 0);
            check_content(store, index);
            hf_store_info info;
            assert_int_equal(hf_info(store, &info), 0);
            assert_int_equal(info.engine, engine);
            assert_int_equal(info.allocator, allocator);
            assert_int_equal(info.index, index);
            assert_int_equal(info.format_version, HF__FORMAT_VERSION);
            assert_int_equal(hf_close(store), 0);
            options.mode = HF_OPEN_EXISTING;
            assert_int_equal(hf_open(path, &options, &store), 0);
            assert_int_equal(hf_begin(store, &txn), 0);
            for (int i = 0; i < 100; i++)
                assert_non_null(hf_new(txn, &node_type, 5));
            assert_int_equal(hf_commit(txn), 0);
            check_content(store, index);
            assert_int_equal(hf_close(store), 0);
            assert_int_equal(hf_remove(path), 0);
        }
    }
}

static void test_golden_files_are_read_and_can_be_written_on(void **state)
{
    (void)state;
    for (engine = HF_ENGINE_LOG; engine <= HF_ENGINE_DIRECT; engine++)
        golden_files_are_read_and_can_be_written_on();
}

static void what_this_build_makes_reads_back(void)
{
    char path[PATH_BYTES];
    assert_int_equal(make_all_of_engine("."), 0);
    for (unsigned allocator = HF_ALLOC_BEST_FIT; allocator <= HF_ALLOC_SLAB; allocator++) {
        for (unsigned index = HF_INDEX_SET; index <= HF_INDEX_NULL; index++) {
            hf_store *store = NULL;
            assert_int_equal(hf_open(file_name(path, ".", allocator, index), NULL, &store), 0);
            check_content(store, index);
            assert_int_equal(hf_close(store), 0);
            assert_int_equal(hf_remove(path), 0);
        }
    }
}

static void test_what_this_build_makes_reads_back(void **state)
{
    (void)state;
    for (engine = HF_ENGINE_LOG; engine <= HF_ENGINE_DIRECT; engine++)
        what_this_build_makes_reads_back();
}

/* Numbers, not names: who changes a struct and its asserts together still meets this. */
static void test_layout_is_the_documented_one(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct hf__file_header), 512);
    assert_int_equal(offsetof(struct hf__file_header, version), 12);
    assert_int_equal(offsetof(struct hf__file_header, sequence), 48);
    assert_int_equal(offsetof(struct hf__file_header, used_end), 72);
    assert_int_equal(offsetof(struct hf__file_header, constants), 112);
    assert_int_equal(offsetof(struct hf__file_header, check), 504);
    assert_int_equal(sizeof(struct hf__constants), 136);
    assert_int_equal(offsetof(struct hf__constants, layout), 56);
    assert_int_equal(sizeof(struct hf__segment_header), 1024);
    assert_int_equal(offsetof(struct hf__segment_header, heap), 64);
    assert_int_equal(offsetof(struct hf__segment_header, named), 128);
    assert_int_equal(offsetof(struct hf__segment_header, unique), 192);
    assert_int_equal(offsetof(struct hf__segment_header, constants), 256);
    assert_int_equal(sizeof(struct hf__heap_root), 64);
    assert_int_equal(offsetof(struct hf__heap_root, free_set), 24);
    assert_int_equal(sizeof(struct hf__block_header), 16);
    assert_int_equal(offsetof(struct hf__segment_header, slabs), 56);
    assert_int_equal(HF__SLABS_BYTES, 3072);
    assert_int_equal(sizeof(struct hf__slabs_entry), 24);
    assert_int_equal(sizeof(struct hf__chunk), 48);
    assert_int_equal(offsetof(struct hf__chunk, sum), 20);
    assert_int_equal(offsetof(struct hf__chunk, slot_kind), 35);
    assert_int_equal(sizeof(struct hf__chunk_word), 16);
    assert_int_equal(sizeof(struct hf__index_root), 64);
    assert_int_equal(sizeof(struct hf__index_node), 16);
    assert_int_equal(offsetof(struct hf__index_node, name_bytes), 12);
    assert_int_equal(sizeof(struct hf__object_header), 32);
    assert_int_equal(offsetof(struct hf__object_header, count), 16);
    assert_int_equal(sizeof(struct hf__type_record), 48);
    assert_int_equal(sizeof(struct hf__type_field), 16);
    assert_int_equal(sizeof(struct hf__undo_header), 64);
    assert_int_equal(sizeof(struct hf__undo_trailer), 16);
    assert_int_equal(sizeof(struct hf__log_header), 512);
    assert_int_equal(offsetof(struct hf__log_header, salt), 64);
    assert_int_equal(offsetof(struct hf__log_header, check), 504);
    assert_int_equal(sizeof(struct hf__record), 128);
    assert_int_equal(offsetof(struct hf__record, synced_through), 24);
    assert_int_equal(offsetof(struct hf__record, range_count), 64);
    assert_int_equal(offsetof(struct hf__record, body_check), 104);
    assert_int_equal(offsetof(struct hf__record, check), 120);
    assert_int_equal(sizeof(struct hf__record_range), 16);
    assert_int_equal(HF__SLOT_B_OFFSET, 4096);
    assert_int_equal(HF__SEGMENT_OFFSET, 65536);
}

/* The same promises in the bytes of a golden file, read without any struct. */
static uint64_t number_at(const unsigned char *bytes, size_t offset, size_t size_bytes)
{
    uint64_t out = 0;
    for (size_t i = size_bytes; i-- > 0;)
        out = out << 8 | bytes[offset + i];
    return out;
}

static void golden_bytes_are_where_the_format_says(void)
{
    static unsigned char bytes[1 << 20];
    char directory[DIRECTORY_BYTES], path[PATH_BYTES];
    file_name(path, source_directory(directory), HF_ALLOC_SEQ_FIT, HF_INDEX_HASH);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("there is no golden file %s", path);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_true(size > 65536 + 1024);
    const unsigned char *slot =
        number_at(bytes, 48, 8) > number_at(bytes, 4096 + 48, 8) ? bytes : bytes + 4096;
    assert_memory_equal(slot, "HOLDFAST", 8);
    assert_int_equal(number_at(slot, 8, 4), 0x01020304);
    assert_int_equal(number_at(slot, 12, 4), 0);
    assert_int_equal(number_at(slot, 40, 4), 4096);
    assert_int_equal(number_at(slot, 44, 4), 512);
    assert_int_equal(number_at(slot, 56, 8), 65536);
    assert_int_equal(number_at(slot, 80, 4), 0); /* closed and clean */
    assert_int_equal(number_at(slot, 112 + 40, 4), engine);
    assert_int_equal(number_at(slot, 112 + 44, 4), HF_ALLOC_SEQ_FIT);
    assert_int_equal(number_at(slot, 112 + 48, 4), HF_INDEX_HASH);
    assert_string_equal((const char *)slot + 112 + 56, "golden");
    const unsigned char *segment = bytes + 65536;
    assert_memory_equal(segment, "HSEGMENT", 8);
    assert_int_equal(number_at(segment, 128, 8), NAMES + 1); /* named objects */
    assert_int_equal(number_at(segment, 192, 8), 1);         /* unique ones */
    assert_int_equal(number_at(segment, 64 + 8, 8), number_at(slot, 72, 8)); /* the used end */
    assert_memory_equal(segment + 256, slot + 112, 136); /* constants, told twice */
    assert_true(65536 + number_at(segment, 8, 8) <= size);
}

static void test_golden_bytes_are_where_the_format_says(void **state)
{
    (void)state;
    for (engine = HF_ENGINE_LOG; engine <= HF_ENGINE_DIRECT; engine++)
        golden_bytes_are_where_the_format_says();
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--make") == 0)
        return make_all(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_files_are_read_and_can_be_written_on),
        cmocka_unit_test(test_what_this_build_makes_reads_back),
        cmocka_unit_test(test_layout_is_the_documented_one),
        cmocka_unit_test(test_golden_bytes_are_where_the_format_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
