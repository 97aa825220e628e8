/* SPDX-License-Identifier: MIT */
/*
 * test_cplusplus.cpp - the headers are C++ too, and hf::ptr behaves like a pointer
 *
 * A program of its own without cmocka: what it tests is the language.
 */
#include <holdfast/error.h>
#include <holdfast/types.h>
#include <holdfast/store.h>
#include <holdfast/txn.h>
#include <holdfast/object.h>
#include <holdfast/memory.h>
#include <holdfast/pointer.h>
#include <holdfast/check.h>
#include <holdfast.h>

#include <cstdio>
#include <cstring>
#include <type_traits>

static_assert(sizeof(hf::ptr<int>) == 8, "eight bytes in the file");
static_assert(std::is_standard_layout<hf::ptr<int>>::value, "its layout is that of the C field");

static int failures;

static void expect(bool holds, const char *what, int line)
{
    if (holds)
        return;
    failures++;
    std::fprintf(stderr, "line %d: not so: %s; last error: %s\n", line, what,
                 hf_last_error()->message);
}
#define EXPECT(condition) expect((condition), #condition, __LINE__)

struct node {
    hf::ptr<node> next;
    int value;
    int other;
};

static void test_ptr_behaves_like_a_pointer()
{
    node nodes[3];
    hf::ptr<node> p, q(&nodes[1]);
    EXPECT(!p);
    EXPECT(p.get() == nullptr);
    EXPECT(static_cast<bool>(q));
    nodes[1].value = 7;
    EXPECT(q->value == 7);
    EXPECT((*q).value == 7);
    p = q; /* the target is copied, not the distance */
    EXPECT(p == q);
    EXPECT(p.get() == &nodes[1]);
    hf::ptr<node> copy(p);
    EXPECT(copy.get() == &nodes[1]);
    p = &nodes[0];
    EXPECT(p != q);
    EXPECT(&p[2] == &nodes[2]);
    nodes[2].next = &nodes[2]; /* to itself is not null */
    EXPECT(static_cast<bool>(nodes[2].next));
    EXPECT(nodes[2].next.get() == &nodes[2]);
    nodes[0] = nodes[2]; /* assignment of the whole struct keeps targets */
    EXPECT(nodes[0].next.get() == &nodes[2]);
    p = nullptr;
    EXPECT(!p);
    int64_t stored;
    std::memcpy(&stored, static_cast<void *>(&p), sizeof stored);
    EXPECT(stored == HF_PTR_NULL);
}

/* What C wrote C++ reads, and the other way round: the same eight bytes. */
static void test_ptr_is_the_field_that_c_programs_see()
{
    struct {
        hf::ptr<int> cpp;
        int64_t c;
        int target;
    } both;
    both.target = 5;
    both.cpp = &both.target;
    EXPECT(hf_offset_get(reinterpret_cast<int64_t *>(&both.cpp)) == &both.target);
    hf_offset_set(&both.c, &both.target);
    EXPECT(*reinterpret_cast<hf::ptr<int> *>(&both.c)->get() == 5);
}

/* Names of fields behind the type's, as HF_TYPE_DEFINE has them. */
static void test_field_names_can_be_asked_for()
{
    const hf_field fields[] = {{0, HF_FIELD_PTR, nullptr}, {8, HF_FIELD_I32, nullptr}};
    const hf_type type = {"named\0next\0value", 1, 16, 8, HF_TYPE_FIELD_NAMES, fields, 2};
    hf_store *store = nullptr;
    hf_txn *txn = nullptr;
    EXPECT(hf_open_heap(1 << 20, nullptr, &store) == 0);
    EXPECT(hf_begin(store, &txn) == 0);
    const void *made = hf_new(txn, &type, 1);
    hf_object_info object = {};
    EXPECT(hf_object_at(hf_txn_view(txn), made, &object) == 0);
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_field_info field = {};
    EXPECT(hf_next_field(hf_txn_view(txn), object.type_id, &cursor, &field) == 1);
    EXPECT(std::strcmp(field.name, "next") == 0);
    EXPECT(hf_next_field(hf_txn_view(txn), object.type_id, &cursor, &field) == 1);
    EXPECT(std::strcmp(field.name, "value") == 0 && field.kind == HF_FIELD_I32);
    hf_upgrade_report report = {};
    hf_type newer = type;
    newer.version = 2;
    EXPECT(hf_upgrade(txn, &type, &newer, nullptr, nullptr, 0, &report) == 0);
    EXPECT(report.in_place == 1);
    hf_abort(txn);
    EXPECT(hf_close(store) == 0);
}

/* A tree whose type leads to itself and to another one, told in one line a field, as in C. */
struct leaf {
    uint32_t weight;
    char label[12];
};
#define LEAF_FIELDS(F, T)              \
    F(T, weight, HF_FIELD_U32, NULL)   \
    F(T, label, HF_FIELD_TEXT, nullptr)
HF_TYPE_DEFINE(leaf_type, "leaf", 1, struct leaf, LEAF_FIELDS);

struct branch {
    hf::ptr<branch> parent;
    uint32_t count;
    hf_ref leaves[3];
};
#define BRANCH_FIELDS(F, T)                                      \
    F(T, parent, HF_FIELD_PTR, &branch_type)                     \
    F(T, count, HF_FIELD_U32, nullptr)                           \
    F(T, leaves, HF_FIELD_REF | HF_FIELD_COUNTED, &leaf_type)
HF_TYPE_DEFINE(branch_type, "branch", 4, branch, BRANCH_FIELDS);

static void test_types_are_told_in_one_line_a_field()
{
    EXPECT(branch_type.size_bytes == sizeof(branch) && branch_type.align_bytes == alignof(branch));
    EXPECT(branch_type.version == 4 && branch_type.ref_count == 3);
    EXPECT(branch_type.refs[0].target == &branch_type && branch_type.refs[2].target == &leaf_type);
    EXPECT(branch_type.refs[2].offset == offsetof(branch, leaves));
    EXPECT(HF_FIELD_TIMES(branch_type.refs[2].kind) == 3);
    EXPECT(HF_FIELD_TIMES(leaf_type.refs[1].kind) == 12);
    EXPECT(std::strcmp(leaf_type.name + 5, "weight") == 0);
    hf_store *store = nullptr;
    hf_txn *txn = nullptr;
    hf_check_report report = {};
    EXPECT(hf_open_heap(1 << 20, nullptr, &store) == 0);
    EXPECT(hf_begin(store, &txn) == 0);
    auto *root = static_cast<branch *>(hf_construct(txn, "root", &branch_type, 1));
    auto *child = static_cast<branch *>(hf_new(txn, &branch_type, 1));
    auto *leaf_made = static_cast<leaf *>(hf_new(txn, &leaf_type, 1));
    EXPECT(root != nullptr && child != nullptr && leaf_made != nullptr);
    root->parent = child;
    root->count = 1;
    root->leaves[0] = hf_ref_of(hf_txn_view(txn), leaf_made);
    root->leaves[2] = 12345; /* beyond the count */
    EXPECT(hf_commit(txn) == 0);
    EXPECT(hf_check_sanity(store, nullptr, &report) == 0);
    EXPECT(report.leaked_objects == 0);
    EXPECT(hf_close(store) == 0);
}

static void test_list_survives_in_a_buffer_that_moves()
{
    const size_t bytes = 65536;
    alignas(4096) static char here[bytes], there[bytes];
    hf_type type = {"node", 1, sizeof(node), alignof(node), 0, nullptr, 0};
    const hf_field field = {0, HF_FIELD_PTR, &type};
    type.refs = &field;
    type.ref_count = 1;
    hf_store *store = nullptr;
    hf_txn *txn = nullptr;
    hf_options options = HF_OPTIONS_INIT;
    options.mode = HF_CREATE_NEW;
    EXPECT(hf_open_buffer(here, bytes, &options, &store) == 0);
    EXPECT(hf_begin(store, &txn) == 0);
    node *head = static_cast<node *>(hf_construct(txn, "head", &type, 1));
    EXPECT(head != nullptr);
    head->next = nullptr;
    for (int i = 0; i < 10 && head != nullptr; i++) {
        node *n = static_cast<node *>(hf_new(txn, &type, 1));
        EXPECT(n != nullptr);
        if (n == nullptr)
            break;
        n->value = i;
        n->next = head->next;
        head->next = n;
    }
    EXPECT(hf_commit(txn) == 0);
    EXPECT(hf_close(store) == 0);
    std::memcpy(there, here, bytes);
    std::memset(here, 0xAA, bytes);
    options.mode = HF_OPEN_EXISTING;
    hf_view *view = nullptr;
    EXPECT(hf_open_buffer(there, bytes, &options, &store) == 0);
    EXPECT(hf_view_begin(store, &view) == 0);
    const node *seen = static_cast<const node *>(hf_find(view, "head", &type, nullptr));
    EXPECT(seen != nullptr);
    int expected = 9;
    for (const node *n = seen != nullptr ? seen->next.get() : nullptr; n != nullptr; n = n->next.get())
        EXPECT(n->value == expected--);
    EXPECT(expected == -1);
    hf_view_end(view);
    EXPECT(hf_check_sanity(store, nullptr, nullptr) == 0);
    EXPECT(hf_close(store) == 0);
}

int main()
{
    test_ptr_behaves_like_a_pointer();
    test_ptr_is_the_field_that_c_programs_see();
    test_field_names_can_be_asked_for();
    test_types_are_told_in_one_line_a_field();
    test_list_survives_in_a_buffer_that_moves();
    std::printf("%s\n", failures == 0 ? "passed" : "failed");
    return failures == 0 ? 0 : 1;
}
