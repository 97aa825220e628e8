/* SPDX-License-Identifier: MIT */
/*
 * test_header.c - files that are no stores, or not ours to open: each its own error, the file left
 * as it was, whatever the mode
 *
 * Header bytes are patched through the structs of store_format.h and given a right checksum, so
 * that what is refused is the field and not the checksum.
 */
#include "store_fixture.h"

#include "base/hash.h"
#include "store/store_format.h"

#include <sys/stat.h>
#include <unistd.h>

static char path[PATH_BYTES], pristine[PATH_BYTES];

static void make_pristine(void)
{
    if (pristine[0] != 0)
        return;
    fixture_path(pristine, fixture_disk_directory(), "pristine.hf");
    hf_store *store = fixture_open(pristine, HF_CREATE_NEW);
    fixture_set(store, "v", 12);
    assert_ok(hf_close(store));
}

static int fresh_copy(void **state)
{
    (void)state;
    make_pristine();
    fixture_path(path, fixture_disk_directory(), "header.hf");
    fixture_copy_file(pristine, path);
    return 0;
}

static void read_slot(uint64_t offset, struct hf__file_header *out)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_int_equal(fread(out, 1, sizeof *out, file), sizeof *out);
    fclose(file);
}

static void write_slot(uint64_t offset, struct hf__file_header *slot)
{
    slot->check = hf__hash(slot, offsetof(struct hf__file_header, check), 0);
    fixture_patch(path, offset, slot, sizeof *slot);
}

/* Every mode that looks at an existing file gives this code, and leaves no trace. */
static void expect_refused(int wanted)
{
    static const uint32_t modes[] = {HF_OPEN_OR_CREATE, HF_OPEN_EXISTING, HF_READ_ONLY,
                                     HF_COPY_ON_WRITE};
    uint64_t size = fixture_file_bytes(path);
    for (size_t i = 0; i < 4; i++)
        assert_code(fixture_open_code(path, modes[i]), wanted);
    assert_code(fixture_open_code(path, HF_CREATE_NEW), HF_EEXIST);
    assert_int_equal(fixture_file_bytes(path), size);
    assert_false(fixture_sidecar_exists(path, "-lock"));
    assert_false(fixture_sidecar_exists(path, "-undo"));
}

static void expect_opens(void)
{
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING);
    assert_int_equal(fixture_get(store, "v"), 12);
    fixture_set(store, "w", 1);
    fixture_assert_sound(store);
    assert_ok(hf_close(store));
}

/* ---- no stores at all ------------------------------------------------------------------------ */

static void write_file(const void *bytes, size_t size_bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size_bytes, file), size_bytes);
    assert_int_equal(fclose(file), 0);
}

static void test_empty_file_is_no_store(void **state)
{
    (void)state;
    write_file("", 0);
    expect_refused(HF_ENOTSTORE);
    assert_int_equal(fixture_file_bytes(path), 0);
}

static void test_foreign_files_are_no_stores(void **state)
{
    (void)state;
    static unsigned char bytes[200000];
    static const size_t sizes[] = {1, 7, 100, 512, 5000, 70000, sizeof bytes};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(bytes, 'x', sizeof bytes);
        write_file(bytes, sizes[i]);
        expect_refused(HF_ENOTSTORE);
        memset(bytes, 0, sizeof bytes);
        write_file(bytes, sizes[i]);
        expect_refused(HF_ENOTSTORE);
    }
}

static void test_directory_and_fifo_are_no_stores(void **state)
{
    (void)state;
    static const uint32_t modes[] = {HF_OPEN_OR_CREATE, HF_OPEN_EXISTING, HF_READ_ONLY,
                                     HF_COPY_ON_WRITE};
    for (int kind = 0; kind < 2; kind++) {
        assert_int_equal(unlink(path), 0);
        assert_int_equal(kind == 0 ? mkfifo(path, 0600) : mkdir(path, 0700), 0);
        for (size_t i = 0; i < 4; i++) /* without waiting for the fifo's other end */
            assert_code(fixture_open_code(path, modes[i]), HF_ENOTSTORE);
        assert_true(fixture_exists(path));
        if (kind == 0)
            continue;
        assert_int_equal(rmdir(path), 0);
    }
    assert_code(fixture_open_code("/dev/null", HF_OPEN_EXISTING), HF_ENOTSTORE);
}

static void test_dangling_symlink_is_enoent(void **state)
{
    (void)state;
    char target[PATH_BYTES];
    fixture_path(target, fixture_disk_directory(), "nowhere.hf");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(target, path), 0);
    assert_code(fixture_open_code(path, HF_OPEN_EXISTING), HF_ENOENT);
    assert_code(fixture_open_code(path, HF_READ_ONLY), HF_ENOENT);
    assert_int_equal(unlink(path), 0);
}

static void test_cut_file_is_truncated(void **state)
{
    (void)state;
    struct hf__file_header slot;
    read_slot(0, &slot);
    uint64_t used = HF__SEGMENT_OFFSET + slot.used_end;
    struct hf__file_header other;
    read_slot(HF__SLOT_B_OFFSET, &other);
    if (other.sequence > slot.sequence)
        used = HF__SEGMENT_OFFSET + other.used_end;
    const uint64_t cuts[] = {used - 1,      used - 4096,   HF__SEGMENT_OFFSET + 100,
                             HF__SEGMENT_OFFSET, HF__SEGMENT_OFFSET - 1, 8192, 4096, 512};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        fixture_copy_file(pristine, path);
        assert_int_equal(truncate(path, (off_t)cuts[i]), 0);
        expect_refused(HF_ETRUNCATED);
    }
}

static void test_garbage_behind_the_store_is_ignored(void **state)
{
    (void)state;
    assert_int_equal(truncate(path, (off_t)fixture_file_bytes(path) + 12345), 0);
    expect_opens();
}

/* ---- header fields --------------------------------------------------------------------------- */

enum field { MAGIC, ENDIAN, VERSION, INCOMPAT, COMPAT, PAGE, SEGMENT_AT, SIZE, USED, STATE };

/* Changes one field in both slots. */
static void patch_field(enum field which)
{
    static const uint64_t offsets[] = {0, HF__SLOT_B_OFFSET};
    for (size_t i = 0; i < 2; i++) {
        struct hf__file_header slot;
        read_slot(offsets[i], &slot);
        if (slot.magic != HF__FILE_MAGIC)
            continue; /* a slot that was never written */
        switch (which) {
        case MAGIC:
            slot.magic ^= 0x20;
            break;
        case ENDIAN:
            slot.byte_order = __builtin_bswap32(slot.byte_order);
            break;
        case VERSION:
            slot.version = HF__FORMAT_VERSION + 1;
            break;
        case INCOMPAT:
            slot.features_incompat |= UINT64_C(1) << 40;
            break;
        case COMPAT:
            slot.features_compat |= UINT64_C(1) << 40;
            break;
        case PAGE:
            slot.page_bytes = 16384;
            break;
        case SEGMENT_AT:
            slot.segment_offset += 4096;
            break;
        case SIZE:
            slot.size_bytes = UINT64_MAX - 4095;
            break;
        case USED:
            slot.used_end = slot.size_bytes + 4096;
            break;
        case STATE:
            slot.state = 77;
            break;
        }
        write_slot(offsets[i], &slot);
    }
}

static void test_each_wrong_header_field_has_its_own_error(void **state)
{
    (void)state;
    static const struct {
        enum field field;
        int code;
    } cases[] = {{MAGIC, HF_ENOTSTORE}, {ENDIAN, HF_EENDIAN},     {VERSION, HF_ENEWER},
                 {INCOMPAT, HF_ENEWER}, {PAGE, HF_EPAGESIZE},     {SEGMENT_AT, HF_ECORRUPT},
                 {STATE, HF_ECORRUPT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_copy_file(pristine, path);
        patch_field(cases[i].field);
        expect_refused(cases[i].code);
    }
}

/* Sizes in the header tell of the time it was written; those in the segment count. */
static void test_senseless_sizes_in_the_header_do_no_harm(void **state)
{
    (void)state;
    patch_field(SIZE);
    expect_opens();
    fixture_copy_file(pristine, path);
    patch_field(USED);
    expect_opens();
}

/* As a machine of the other byte order would have written all of it. */
static void test_store_of_the_other_byte_order_is_told_apart(void **state)
{
    (void)state;
    static const uint64_t offsets[] = {0, HF__SLOT_B_OFFSET};
    for (size_t i = 0; i < 2; i++) {
        struct hf__file_header slot;
        read_slot(offsets[i], &slot);
        slot.magic = __builtin_bswap64(slot.magic);
        slot.byte_order = __builtin_bswap32(slot.byte_order);
        slot.version = __builtin_bswap32(slot.version);
        slot.page_bytes = __builtin_bswap32(slot.page_bytes);
        slot.check = __builtin_bswap64(slot.check);
        fixture_patch(path, offsets[i], &slot, sizeof slot);
    }
    expect_refused(HF_EENDIAN);
}

static void test_unknown_compatible_feature_is_no_matter(void **state)
{
    (void)state;
    patch_field(COMPAT);
    expect_opens();
}

static void test_unknown_read_only_feature_lets_readers_in(void **state)
{
    (void)state;
    static const uint64_t offsets[] = {0, HF__SLOT_B_OFFSET};
    for (size_t i = 0; i < 2; i++) {
        struct hf__file_header slot;
        read_slot(offsets[i], &slot);
        slot.features_ro_compat |= 1;
        write_slot(offsets[i], &slot);
    }
    assert_code(fixture_open_code(path, HF_OPEN_EXISTING), HF_ENEWER);
    assert_code(fixture_open_code(path, HF_OPEN_OR_CREATE), HF_ENEWER);
    hf_store *store = fixture_open(path, HF_READ_ONLY);
    assert_int_equal(fixture_get(store, "v"), 12);
    assert_ok(hf_close(store));
}

static void test_either_header_slot_is_enough(void **state)
{
    (void)state;
    static const uint64_t offsets[] = {0, HF__SLOT_B_OFFSET};
    static const unsigned char garbage[HF__SLOT_BYTES] = {1, 2, 3};
    hf_store *store = fixture_open(path, HF_OPEN_EXISTING); /* so that both slots are written */
    fixture_set(store, "again", 1);
    assert_ok(hf_close(store));
    fixture_copy_file(path, pristine);
    for (size_t i = 0; i < 2; i++) {
        fixture_copy_file(pristine, path);
        fixture_patch(path, offsets[i], garbage, sizeof garbage);
        int code = fixture_open_code(path, HF_OPEN_EXISTING);
        /* The older slot may tell of a store in use: then the loss must not pass unnoticed. */
        assert_true(code == 0 || code == HF_ECORRUPT || code == HF_ETORN || code == HF_ESIDECAR);
        hf_check_report report;
        assert_ok(hf_repair_file(path, NULL, &report));
        expect_opens();
    }
}

static void test_damaged_checksums_in_both_slots_are_corruption(void **state)
{
    (void)state;
    unsigned char byte = 0xA5;
    fixture_patch(path, 300, &byte, 1);
    fixture_patch(path, HF__SLOT_B_OFFSET + 300, &byte, 1);
    expect_refused(HF_ECORRUPT);
}

static void test_store_in_use_before_a_reboot_is_torn(void **state)
{
    (void)state;
    static const uint64_t offsets[] = {0, HF__SLOT_B_OFFSET};
    for (size_t i = 0; i < 2; i++) {
        struct hf__file_header slot;
        read_slot(offsets[i], &slot);
        slot.state = HF__STATE_IN_USE;
        memset(slot.boot_id, 0x5A, sizeof slot.boot_id);
        write_slot(offsets[i], &slot);
    }
    expect_refused(HF_ETORN);
}

static void test_segment_of_another_store_is_corruption(void **state)
{
    (void)state;
    struct hf__segment_header header;
    memset(&header, 0, sizeof header);
    fixture_patch(path, HF__SEGMENT_OFFSET, &header, sizeof header);
    expect_refused(HF_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty_file_is_no_store, fresh_copy),
        cmocka_unit_test_setup(test_foreign_files_are_no_stores, fresh_copy),
        cmocka_unit_test_setup(test_directory_and_fifo_are_no_stores, fresh_copy),
        cmocka_unit_test_setup(test_dangling_symlink_is_enoent, fresh_copy),
        cmocka_unit_test_setup(test_cut_file_is_truncated, fresh_copy),
        cmocka_unit_test_setup(test_garbage_behind_the_store_is_ignored, fresh_copy),
        cmocka_unit_test_setup(test_each_wrong_header_field_has_its_own_error, fresh_copy),
        cmocka_unit_test_setup(test_senseless_sizes_in_the_header_do_no_harm, fresh_copy),
        cmocka_unit_test_setup(test_store_of_the_other_byte_order_is_told_apart, fresh_copy),
        cmocka_unit_test_setup(test_unknown_compatible_feature_is_no_matter, fresh_copy),
        cmocka_unit_test_setup(test_unknown_read_only_feature_lets_readers_in, fresh_copy),
        cmocka_unit_test_setup(test_damaged_checksums_in_both_slots_are_corruption, fresh_copy),
        cmocka_unit_test_setup(test_store_in_use_before_a_reboot_is_torn, fresh_copy),
        cmocka_unit_test_setup(test_segment_of_another_store_is_corruption, fresh_copy),
        cmocka_unit_test_setup(test_either_header_slot_is_enough, fresh_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
