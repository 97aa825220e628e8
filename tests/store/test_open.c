/* SPDX-License-Identifier: MIT */
/*
 * test_open.c - opening modes, names, permissions, layouts, copy-on-write, sidecars: one process at
 * a time (test_processes.c has several)
 */
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint32_t all_modes[] = {HF_OPEN_OR_CREATE, HF_OPEN_EXISTING, HF_CREATE_NEW,
                                     HF_READ_ONLY, HF_COPY_ON_WRITE};

static const char *disk_path(char path[PATH_BYTES], const char *name)
{
    return fixture_path(path, fixture_disk_directory(), name);
}

/* ---- modes ----------------------------------------------------------------------------------- */

static void test_missing_file_is_enoent_where_none_is_made(void **state)
{
    (void)state;
    char path[PATH_BYTES], below[PATH_BYTES + 8];
    disk_path(path, "missing.hf");
    assert_code(fixture_open_code(path, HF_OPEN_EXISTING), HF_ENOENT);
    assert_code(fixture_open_code(path, HF_READ_ONLY), HF_ENOENT);
    assert_code(fixture_open_code(path, HF_COPY_ON_WRITE), HF_ENOENT);
    assert_non_null(strstr(hf_last_error()->path, "missing.hf"));
    assert_false(fixture_exists(path));
    assert_false(fixture_sidecar_exists(path, "-lock"));
    snprintf(below, sizeof below, "%s/x.hf", path); /* in a directory that is not there */
    assert_code(fixture_open_code(below, HF_CREATE_NEW), HF_ENOENT);
    assert_code(fixture_open_code(below, HF_OPEN_OR_CREATE), HF_ENOENT);
    assert_code(hf_remove(path), HF_ENOENT);
    assert_code(hf_grow(path, 4096), HF_ENOENT);
    assert_code(hf_shrink_to_fit(path), HF_ENOENT);
}

static void test_create_new_of_existing_store_is_eexist(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    disk_path(path, "exists.hf");
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    fixture_set(store, "v", 3);
    assert_ok(hf_close(store));
    assert_code(fixture_open_code(path, HF_CREATE_NEW), HF_EEXIST);
    static const uint32_t openers[] = {HF_OPEN_OR_CREATE, HF_OPEN_EXISTING, HF_READ_ONLY,
                                       HF_COPY_ON_WRITE};
    for (size_t i = 0; i < 4; i++) {
        store = fixture_open(path, openers[i]);
        assert_int_equal(fixture_get(store, "v"), 3);
        hf_store_info info;
        assert_ok(hf_info(store, &info));
        assert_int_equal(info.mode, openers[i]);
        assert_ok(hf_close(store));
    }
    assert_ok(hf_remove(path));
}

static void test_senseless_arguments_are_einval(void **state)
{
    (void)state;
    char path[PATH_BYTES], layout[80];
    disk_path(path, "senseless.hf");
    hf_store *store = NULL;
    hf_options options = HF_OPTIONS_INIT;
    assert_code(hf_open(NULL, NULL, &store), HF_EINVAL);
    assert_code(hf_open("", NULL, &store), HF_EINVAL);
    assert_code(hf_open(path, NULL, NULL), HF_EINVAL);
    options.mode = 99;
    assert_code(hf_open(path, &options, &store), HF_EINVAL);
    options = (hf_options)HF_OPTIONS_INIT;
    options.allocator = 99;
    assert_code(hf_open(path, &options, &store), HF_EINVAL);
    options = (hf_options)HF_OPTIONS_INIT;
    options.index = 99;
    assert_code(hf_open(path, &options, &store), HF_EINVAL);
    options = (hf_options)HF_OPTIONS_INIT;
    options.size_initial_bytes = 2 << 20;
    options.size_max_bytes = 1 << 20;
    assert_code(hf_open(path, &options, &store), HF_EINVAL);
    options = (hf_options)HF_OPTIONS_INIT;
    memset(layout, 'l', sizeof layout);
    layout[79] = 0;
    options.layout = layout; /* longer than 63 bytes */
    assert_code(hf_open(path, &options, &store), HF_EINVAL);
    assert_null(store);
    assert_false(fixture_exists(path));
}

/* ---- the same file by other ways ------------------------------------------------------------- */

static void test_second_open_in_one_process_is_refused_by_any_name(void **state)
{
    (void)state;
    char path[PATH_BYTES], link_path[PATH_BYTES], hard_path[PATH_BYTES];
    disk_path(path, "twice.hf");
    disk_path(link_path, "twice-symlink.hf");
    disk_path(hard_path, "twice-hard.hf");
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    assert_int_equal(symlink(path, link_path), 0);
    assert_int_equal(link(path, hard_path), 0);
    for (size_t i = 0; i < 5; i++) {
        if (all_modes[i] == HF_CREATE_NEW)
            continue;
        assert_code(fixture_open_code(path, all_modes[i]), HF_EALREADYOPEN);
        assert_code(fixture_open_code(link_path, all_modes[i]), HF_EALREADYOPEN);
        assert_code(fixture_open_code(hard_path, all_modes[i]), HF_EALREADYOPEN);
    }
    assert_code(hf_remove(path), HF_EALREADYOPEN);
    assert_code(hf_grow(path, 4096), HF_EALREADYOPEN);
    assert_code(hf_shrink_to_fit(path), HF_EALREADYOPEN);
    fixture_set(store, "v", 1); /* the first is none the worse */
    assert_ok(hf_close(store));
    assert_int_equal(unlink(hard_path), 0);
    store = fixture_open(link_path, HF_OPEN_EXISTING); /* through the link, to the same store */
    assert_int_equal(fixture_get(store, "v"), 1);
    assert_true(fixture_sidecar_exists(path, "-lock")); /* beside the file, not the link */
    assert_false(fixture_sidecar_exists(link_path, "-lock"));
    assert_ok(hf_close(store));
    assert_int_equal(unlink(link_path), 0);
    assert_ok(hf_remove(path));
}

static void test_relative_names_work_and_survive_chdir(void **state)
{
    (void)state;
    char path[PATH_BYTES], old[PATH_BYTES];
    disk_path(path, "relative.hf");
    assert_non_null(getcwd(old, sizeof old));
    assert_int_equal(chdir(fixture_disk_directory()), 0);
    hf_store *store = fixture_open("relative.hf", HF_CREATE_NEW);
    assert_int_equal(chdir("/"), 0);
    fixture_set(store, "v", 1);
    assert_ok(hf_close(store));
    assert_int_equal(chdir(old), 0);
    assert_true(fixture_exists(path));
    assert_false(fixture_any_sidecar_exists(path));
    assert_ok(hf_remove(path));
}

/* ---- permissions ----------------------------------------------------------------------------- */

static unsigned mode_of_new_store(uint32_t permissions, mode_t mask)
{
    char path[PATH_BYTES];
    struct stat st;
    disk_path(path, "permissions.hf");
    mode_t old = umask(mask);
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.permissions = permissions;
    int code = hf_open(path, &options, &store);
    umask(old);
    assert_code(code, 0);
    assert_ok(hf_close(store));
    assert_int_equal(stat(path, &st), 0);
    assert_ok(hf_remove(path));
    return (unsigned)st.st_mode & 07777;
}

static void test_permissions_are_0644_less_umask_or_exact(void **state)
{
    (void)state;
    assert_int_equal(mode_of_new_store(0, 0), 0644);
    assert_int_equal(mode_of_new_store(0, 022), 0644);
    assert_int_equal(mode_of_new_store(0, 027), 0640);
    assert_int_equal(mode_of_new_store(0, 077), 0600);
    assert_int_equal(mode_of_new_store(0600, 0), 0600);
    assert_int_equal(mode_of_new_store(0666, 077), 0666);
    assert_int_equal(mode_of_new_store(0660, 022), 0660);
}

static void sidecars_are_private(uint32_t engine)
{
    char path[PATH_BYTES], name[PATH_BYTES + 8];
    struct stat st;
    disk_path(path, "private.hf");
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.permissions = 0600;
    options.engine = engine;
    assert_ok(hf_open(path, &options, &store));
    fixture_set(store, "v", 1);
    static const char *const suffixes[] = {"-lock", "-undo", "-log0", "-log1"};
    unsigned found = 0;
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        if (stat(name, &st) != 0)
            continue;
        found++;
        assert_int_equal(st.st_mode & 0177, 0); /* content may be in it */
    }
    assert_int_equal(found, engine == HF_ENGINE_LOG ? 3 : 2);
    assert_ok(hf_close(store));
    assert_ok(hf_remove(path));
}

static void test_sidecars_are_no_more_open_than_the_store(void **state)
{
    (void)state;
    sidecars_are_private(HF_ENGINE_LOG);
    sidecars_are_private(HF_ENGINE_DIRECT);
}

static void as_nobody(struct child *self, void *argument)
{
    const char *path = argument;
    (void)self;
    child_expect(child_become_nobody());
    child_expect(fixture_open_code(path, HF_OPEN_EXISTING) == HF_EACCES);
    child_expect(fixture_open_code(path, HF_OPEN_OR_CREATE) == HF_EACCES);
    child_expect(fixture_open_code(path, HF_READ_ONLY) == HF_EACCES);
    child_expect(fixture_open_code(path, HF_COPY_ON_WRITE) == HF_EACCES);
    child_expect(hf_last_error()->os_errno == EACCES);
    child_expect(hf_grow(path, 4096) == HF_EACCES);
}

static void test_file_without_permission_is_eacces(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    disk_path(path, "forbidden.hf");
    fixture_create(path);
    assert_int_equal(chmod(path, 0), 0);
    child_run(as_nobody, path);
    assert_int_equal(chmod(path, 0600), 0);
    assert_ok(hf_remove(path));
}

/* ---- what was decided at creation ------------------------------------------------------------ */

static void test_recorded_choices_are_kept_and_others_refused(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    for (uint32_t i = 0; i < 6; i++) {
        const uint32_t allocator = HF_ALLOC_BEST_FIT + i % 3, engine = i / 3;
        for (uint32_t index = HF_INDEX_SET; index <= HF_INDEX_NULL; index++) {
            disk_path(path, "choices.hf");
            hf_options options = HF_OPTIONS_INIT;
            hf_store *store = NULL;
            options.allocator = allocator;
            options.index = index;
            options.engine = engine;
            assert_ok(hf_open(path, &options, &store));
            assert_ok(hf_close(store));
            assert_ok(hf_open(path, &options, &store)); /* the same again */
            assert_ok(hf_close(store));
            assert_ok(hf_open(path, NULL, &store)); /* as recorded */
            hf_store_info info;
            assert_ok(hf_info(store, &info));
            assert_int_equal(info.allocator, allocator);
            assert_int_equal(info.index, index);
            assert_int_equal(info.engine, engine);
            assert_ok(hf_close(store));
            hf_options other = HF_OPTIONS_INIT;
            other.engine = HF_ENGINE_DIRECT; /* 0, the log engine, means as recorded */
            if (engine == HF_ENGINE_LOG)
                assert_code(hf_open(path, &other, &store), HF_EMISMATCH);
            other.engine = 0;
            other.allocator = allocator == HF_ALLOC_BEST_FIT ? HF_ALLOC_SEQ_FIT : HF_ALLOC_BEST_FIT;
            assert_code(hf_open(path, &other, &store), HF_EMISMATCH);
            other.allocator = 0;
            other.index = index % 3 + 1; /* not 0, which would mean as recorded */
            assert_code(hf_open(path, &other, &store), other.index == index ? 0 : HF_EMISMATCH);
            assert_ok(hf_remove(path));
        }
    }
}

static void test_layout_of_another_application_is_refused(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    disk_path(path, "layout.hf");
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.layout = "org.example.one";
    options.layout_version = 3;
    assert_ok(hf_open(path, &options, &store));
    hf_store_info info;
    assert_ok(hf_info(store, &info));
    assert_string_equal(info.layout, "org.example.one");
    assert_int_equal(info.layout_version, 3);
    assert_ok(hf_close(store));
    assert_ok(hf_open(path, &options, &store));
    assert_ok(hf_close(store));
    options.layout_version = 4;
    assert_code(hf_open(path, &options, &store), HF_ELAYOUT);
    options.layout_version = 3;
    options.layout = "org.example.on";
    assert_code(hf_open(path, &options, &store), HF_ELAYOUT);
    options.layout = NULL; /* any */
    options.layout_version = 9;
    assert_ok(hf_open(path, &options, &store));
    assert_ok(hf_close(store));
    assert_ok(hf_remove(path));
    assert_ok(hf_open(path, NULL, &store)); /* made without a layout */
    assert_ok(hf_close(store));
    options.layout = "org.example.one";
    assert_code(hf_open(path, &options, &store), HF_ELAYOUT);
    assert_ok(hf_remove(path));
}

/* ---- read-only and copy-on-write ------------------------------------------------------------- */

static void test_read_only_open_changes_no_byte(void **state)
{
    (void)state;
    char path[PATH_BYTES], copy[PATH_BYTES];
    disk_path(path, "readonly.hf");
    disk_path(copy, "readonly-copy.hf");
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    fixture_set(store, "v", 4);
    assert_ok(hf_close(store));
    fixture_copy_file(path, copy);
    store = fixture_open(path, HF_READ_ONLY);
    hf_txn *txn = NULL;
    assert_int_equal(fixture_get(store, "v"), 4);
    assert_code(hf_begin(store, &txn), HF_EREADONLY);
    assert_null(txn);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
    assert_false(fixture_any_sidecar_exists(path));
    uint64_t size = fixture_file_bytes(copy);
    assert_int_equal(fixture_file_bytes(path), size);
    unsigned char *bytes = malloc(size);
    FILE *file = fopen(copy, "rb");
    assert_non_null(bytes);
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, size, file), size);
    fclose(file);
    assert_true(fixture_file_contains(path, bytes, size));
    free(bytes);
    assert_ok(hf_remove(path));
    assert_ok(hf_remove(copy)); /* the copy of a closed store is a store */
}

static void test_copy_on_write_keeps_changes_private(void **state)
{
    (void)state;
    char path[PATH_BYTES], saved[PATH_BYTES];
    uint64_t dirty = 0, dirty_later = 0;
    disk_path(path, "cow.hf");
    disk_path(saved, "cow-saved.hf");
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    fixture_set(store, "v", 1);
    assert_ok(hf_close(store));
    store = fixture_open(path, HF_COPY_ON_WRITE);
    assert_ok(hf_dirty_bytes(store, &dirty));
    fixture_set(store, "v", 2);
    fixture_set(store, "w", 3);
    hf_txn *txn = NULL;
    assert_ok(hf_begin(store, &txn)); /* it grows past the file's end, in memory */
    char *large = hf_construct(txn, "large", NULL, 3 << 20);
    assert_got(large);
    memset(large, 'L', 3 << 20);
    assert_ok(hf_commit(txn));
    assert_ok(hf_dirty_bytes(store, &dirty_later));
    assert_true(dirty_later >= dirty + (3 << 20));
    assert_int_equal(dirty_later % 4096, 0);
    assert_ok(hf_begin(store, &txn)); /* aborts work as everywhere */
    assert_ok(hf_destroy(txn, "w"));
    hf_abort(txn);
    assert_int_equal(fixture_get(store, "v"), 2);
    assert_int_equal(fixture_get(store, "w"), 3);
    fixture_assert_sound(store);
    assert_ok(hf_save_as(store, saved, 0));
    assert_ok(hf_close(store));
    store = fixture_open(path, HF_OPEN_EXISTING);
    assert_int_equal(fixture_get(store, "v"), 1);
    assert_int_equal(fixture_get(store, "w"), INT64_MIN);
    assert_ok(hf_close(store));
    store = fixture_open(saved, HF_OPEN_EXISTING);
    assert_int_equal(fixture_get(store, "v"), 2);
    assert_int_equal(fixture_get(store, "w"), 3);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
    assert_ok(hf_remove(path));
    assert_ok(hf_remove(saved));
}

/* ---- sidecars and removal -------------------------------------------------------------------- */

static void sidecars_come_and_go(uint32_t engine)
{
    char path[PATH_BYTES];
    const bool log = engine == HF_ENGINE_LOG;
    fixture_engine = engine;
    disk_path(path, "sidecars.hf");
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    fixture_engine = HF_ENGINE_LOG;
    assert_true(fixture_sidecar_exists(path, "-lock"));
    assert_false(fixture_sidecar_exists(path, "-log0"));
    fixture_set(store, "v", 1);
    assert_int_equal(fixture_sidecar_exists(path, "-undo"), !log);
    assert_int_equal(fixture_sidecar_exists(path, "-log0"), log);
    assert_int_equal(fixture_sidecar_exists(path, "-log1"), log);
    assert_ok(hf_close(store));
    assert_false(fixture_any_sidecar_exists(path));
    assert_ok(hf_remove(path));
    assert_false(fixture_exists(path));
}

static void test_sidecars_stand_while_open_and_are_gone_after(void **state)
{
    (void)state;
    sidecars_come_and_go(HF_ENGINE_LOG);
    sidecars_come_and_go(HF_ENGINE_DIRECT);
}

static void write_garbage(const char *path, const char *suffix, size_t size_bytes)
{
    char name[PATH_BYTES + 8];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < size_bytes; i++)
        fputc((int)(i * 37 % 251), file);
    assert_int_equal(fclose(file), 0);
}

static void write_all_garbage(const char *path, size_t size_bytes)
{
    static const char *const suffixes[] = {"-lock", "-undo", "-log0", "-log1"};
    for (size_t i = 0; i < 4; i++)
        write_garbage(path, suffixes[i], size_bytes);
}

static void test_orphan_sidecars_harm_neither_creation_nor_open(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    static const size_t sizes[] = {0, 1, 64, 100000};
    for (size_t i = 0; i < 8; i++) {
        fixture_engine = i < 4 ? HF_ENGINE_LOG : HF_ENGINE_DIRECT;
        disk_path(path, "orphans.hf");
        write_all_garbage(path, sizes[i % 4]);
        hf_store *store = fixture_open(path, HF_CREATE_NEW);
        fixture_set(store, "v", 1);
        assert_ok(hf_close(store));
        write_all_garbage(path, sizes[i % 4]);
        store = fixture_open(path, HF_OPEN_EXISTING);
        assert_int_equal(fixture_get(store, "v"), 1);
        fixture_set(store, "v", 2);
        fixture_assert_sound(store);
        assert_ok(hf_close(store));
        assert_false(fixture_any_sidecar_exists(path));
        write_all_garbage(path, sizes[i % 4]);
        assert_ok(hf_remove(path)); /* and removal takes them along */
        assert_false(fixture_any_sidecar_exists(path));
    }
    fixture_engine = HF_ENGINE_LOG;
}

/* The undo list of another store, true in itself, must not be applied to this one. */
static void test_undo_list_of_another_store_is_not_ours(void **state)
{
    (void)state;
    char path[PATH_BYTES], other[PATH_BYTES], from[PATH_BYTES + 8], to[PATH_BYTES + 8];
    fixture_engine = HF_ENGINE_DIRECT;
    disk_path(path, "mine.hf");
    disk_path(other, "other.hf");
    hf_store *store = fixture_open(path, HF_CREATE_NEW);
    fixture_set(store, "v", 1);
    assert_ok(hf_close(store));
    hf_store *second = fixture_open(other, HF_CREATE_NEW);
    fixture_engine = HF_ENGINE_LOG;
    fixture_set(second, "v", 10);
    hf_txn *txn = NULL;
    assert_ok(hf_begin(second, &txn));
    int64_t *p = hf_find_or_construct(txn, "v", &value_type, 1, NULL);
    assert_got(p);
    *p = 11;
    snprintf(from, sizeof from, "%s-undo", other);
    snprintf(to, sizeof to, "%s-undo", path);
    fixture_copy_file(from, to);
    assert_ok(hf_commit(txn));
    assert_ok(hf_close(second));
    store = fixture_open(path, HF_OPEN_EXISTING);
    assert_int_equal(fixture_get(store, "v"), 1);
    fixture_set(store, "v", 2);
    fixture_assert_sound(store);
    hf_recovery recovery;
    assert_ok(hf_recovery_info(store, &recovery));
    assert_int_equal(recovery.recoveries, 0);
    assert_ok(hf_close(store));
    assert_ok(hf_remove(path));
    assert_ok(hf_remove(other));
}

static void test_removed_store_can_be_made_anew(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    disk_path(path, "anew.hf");
    for (int64_t i = 0; i < 5; i++) {
        hf_store *store = fixture_open(path, HF_CREATE_NEW);
        assert_int_equal(fixture_get(store, "v"), INT64_MIN);
        fixture_set(store, "v", i);
        assert_ok(hf_close(store));
        assert_ok(hf_remove(path));
    }
}

/* ---- other backings -------------------------------------------------------------------------- */

static void test_buffer_modes_and_sizes(void **state)
{
    (void)state;
    static _Alignas(4096) unsigned char buffer[64 << 10];
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store = NULL;
    options.mode = HF_OPEN_EXISTING;
    assert_code(hf_open_buffer(buffer, sizeof buffer, &options, &store), HF_ENOTSTORE);
    options.mode = HF_CREATE_NEW;
    assert_code(hf_open_buffer(NULL, sizeof buffer, &options, &store), HF_EINVAL);
    assert_code(hf_open_buffer(buffer + 8, sizeof buffer - 8, &options, &store), HF_EINVAL);
    assert_code(hf_open_buffer(buffer, 64, &options, &store), HF_EFULL);
    assert_code(hf_open_buffer(buffer, 0, &options, &store), HF_EFULL);
    assert_ok(hf_open_buffer(buffer, sizeof buffer, NULL, &store));
    fixture_set(store, "v", 5);
    assert_ok(hf_close(store));
    assert_ok(hf_open_buffer(buffer, sizeof buffer, NULL, &store)); /* holds one: opened */
    assert_int_equal(fixture_get(store, "v"), 5);
    assert_ok(hf_close(store));
    options.mode = HF_OPEN_EXISTING;
    assert_code(hf_open_buffer(buffer, 4096, &options, &store), HF_ETRUNCATED);
    options.allocator = HF_ALLOC_SEQ_FIT;
    assert_code(hf_open_buffer(buffer, sizeof buffer, &options, &store), HF_EMISMATCH);
    options.allocator = 0;
    options.layout = "something";
    assert_code(hf_open_buffer(buffer, sizeof buffer, &options, &store), HF_ELAYOUT);
    options.layout = NULL;
    memset(buffer + 256, 0xFF, 512);
    assert_code(hf_open_buffer(buffer, sizeof buffer, &options, &store), HF_ECORRUPT);
    options.mode = HF_CREATE_NEW; /* whatever is in it */
    assert_ok(hf_open_buffer(buffer, sizeof buffer, &options, &store));
    assert_int_equal(fixture_get(store, "v"), INT64_MIN);
    assert_ok(hf_close(store));
}

static void test_heap_stores_are_independent(void **state)
{
    (void)state;
    hf_store *first = NULL, *second = NULL;
    assert_code(hf_open_heap(SIZE_MAX, NULL, &first), HF_EINVAL); /* also where whole pages overflow */
    assert_code(hf_open_heap((size_t)1 << 48, NULL, &first), HF_EINVAL);
    assert_ok(hf_open_heap(100000, NULL, &first));
    assert_ok(hf_open_heap(100000, NULL, &second));
    fixture_set(first, "v", 1);
    fixture_set(second, "v", 2);
    assert_int_equal(fixture_get(first, "v"), 1);
    assert_int_equal(fixture_get(second, "v"), 2);
    hf_view *view = NULL;
    hf_txn *txn = NULL;
    assert_ok(hf_view_begin(first, &view)); /* a view of one is no hindrance for the other */
    assert_ok(hf_begin(second, &txn));
    assert_ok(hf_commit(txn));
    hf_view_end(view);
    assert_ok(hf_close(first));
    assert_int_equal(fixture_get(second, "v"), 2);
    assert_ok(hf_close(second));
}

/* Only so many descriptors that n more can be opened. A soft limit: RLIM_INFINITY takes it back. */
static void allow_descriptors(rlim_t n)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    if (n != RLIM_INFINITY) {
        const int next = dup(0);
        assert_true(next >= 0);
        close(next);
        limit.rlim_cur = (rlim_t)next + n;
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* What fails for want of descriptors has left no new name, and no old one less. */
static void test_without_descriptors_names_stay_as_they_are(void **state)
{
    (void)state;
    enum { SNAPSHOT, SALVAGE, REMOVE, WAYS };
    char path[PATH_BYTES], other[PATH_BYTES];
    disk_path(path, "few.hf");
    disk_path(other, "few-other.hf");
    for (int way = 0; way < WAYS; way++) {
        int code = -1, failures = 0;
        for (rlim_t n = 0; code != 0; n++) {
            hf_store *store = NULL;
            assert_true(n < 40);
            assert_ok(hf_open(path, NULL, &store));
            if (way != SNAPSHOT)
                assert_ok(hf_close(store));
            allow_descriptors(n);
            code = way == SNAPSHOT  ? hf_snapshot(store, other, NULL)
                   : way == SALVAGE ? hf_salvage(path, other, NULL, NULL)
                                    : hf_remove(path);
            allow_descriptors(RLIM_INFINITY);
            if (way == SNAPSHOT)
                assert_ok(hf_close(store));
            failures += code != 0;
            assert_int_equal(fixture_exists(path), way != REMOVE || code != 0);
            assert_int_equal(fixture_exists(other), way != REMOVE && code == 0);
        }
        assert_true(failures > 0);
        if (way != REMOVE)
            assert_ok(hf_remove(other));
    }
}

static void test_errors_have_names_and_texts(void **state)
{
    (void)state;
    assert_string_equal(hf_error_name(HF_EBUSY), "HF_EBUSY");
    assert_string_equal(hf_error_name(HF_OK), "HF_OK");
    for (int code = 10; code >= -60; code--) {
        assert_non_null(hf_strerror(code));
        assert_non_null(hf_error_name(code));
    }
    assert_non_null(hf_last_error());
    assert_string_equal(hf_version(), HF_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_file_is_enoent_where_none_is_made),
        cmocka_unit_test(test_create_new_of_existing_store_is_eexist),
        cmocka_unit_test(test_senseless_arguments_are_einval),
        cmocka_unit_test(test_second_open_in_one_process_is_refused_by_any_name),
        cmocka_unit_test(test_relative_names_work_and_survive_chdir),
        cmocka_unit_test(test_permissions_are_0644_less_umask_or_exact),
        cmocka_unit_test(test_sidecars_are_no_more_open_than_the_store),
        cmocka_unit_test(test_file_without_permission_is_eacces),
        cmocka_unit_test(test_recorded_choices_are_kept_and_others_refused),
        cmocka_unit_test(test_layout_of_another_application_is_refused),
        cmocka_unit_test(test_read_only_open_changes_no_byte),
        cmocka_unit_test(test_copy_on_write_keeps_changes_private),
        cmocka_unit_test(test_sidecars_stand_while_open_and_are_gone_after),
        cmocka_unit_test(test_orphan_sidecars_harm_neither_creation_nor_open),
        cmocka_unit_test(test_undo_list_of_another_store_is_not_ours),
        cmocka_unit_test(test_removed_store_can_be_made_anew),
        cmocka_unit_test(test_buffer_modes_and_sizes),
        cmocka_unit_test(test_heap_stores_are_independent),
        cmocka_unit_test(test_without_descriptors_names_stay_as_they_are),
        cmocka_unit_test(test_errors_have_names_and_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
