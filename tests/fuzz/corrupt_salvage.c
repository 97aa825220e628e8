/* SPDX-License-Identifier: MIT */
/*
 * corrupt_salvage.c - hf_salvage on random wrecks: never altered bytes as intact, all that wasn't touched
 *
 * For each engine, allocator and index a store is kept in three states: closed after its first commits (A),
 * left in the midst of later ones, with its log or undo list (B), and closed at last (C). A wreck is C or B or
 * a mixture of the pages of A and C under B's header, as a crash of the machine leaves it, with damage
 * in it: flips, zeroed ranges, garbage, swapped pages, pages of another state, a cut, destroyed
 * headers, logs that are lost or damaged, and several of these at once.
 *
 * Every object holds its number and version, and all its other bytes follow from these. What is a failure:
 *   V1  a crash or a hang, a wreck that was changed, a new store that hf_check_file finds fault with
 *   V2  an object that is called intact (and what it leads to) has bytes that no commit gave it; or, of a store that
 *       was closed, those of any but its last state
 *   V3  of a store that was closed an object is not intact, although no page that it, its type and its chunk
 *       lie in was touched, nor the page table's sector of such a page
 * HF_TEST_CASE=n runs one wreck.
 */
#include "tests/support/campaign.h"

#include "holdfast.h"
#include "base/hash.h"
#include "store/layout.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STORES    24u
#define NUMBERS   70u  /* objects of plain bytes                                                   */
#define LISTS     4u
#define LIST_LONG 12u
#define BATCH     100u
#define HANG_SECONDS 60u

/* ---- what is in the stores ------------------------------------------------------------------- */

struct node {
    hf_ref next;
    HF_PTR(struct node) before;
    hf_ref memory; /* of hf_alloc, with the bytes of number key */
    uint64_t key;
    unsigned char bytes[40];
};
static const hf_type node_type;
static const hf_field node_fields[] = {{offsetof(struct node, next), HF_FIELD_REF, &node_type},
                                       {offsetof(struct node, before), HF_FIELD_PTR, &node_type},
                                       {offsetof(struct node, memory), HF_FIELD_REF, NULL}};
static const hf_type node_type = {"wreck/node", 1, sizeof(struct node), 8, 0, node_fields, 3};
static const hf_type row_type = {"wreck/row", 2, 16, 64, HF_TYPE_BLOB, NULL, 0};

static size_t size_of(uint64_t number)
{
    const uint64_t h = mix64(number + 77);
    return 16 + (h % 9 == 0 ? h / 16 % 20000 : h % 9 < 3 ? h / 16 % 1500 : h / 16 % 200) / 16 * 16;
}

/* Every third plain object is of a type. */
static const hf_type *type_of(uint64_t number)
{
    return number % 3 == 1 ? &row_type : NULL;
}

static void fill(void *out, uint64_t number, uint64_t version)
{
    const uint64_t head[2] = {version, number};
    content_fill(out, size_of(number), number * 64 + version);
    memcpy(out, head, sizeof head);
}

/* The version that these bytes of that number are, 0 = none. */
static uint64_t version_of(const void *bytes, size_t size, uint64_t *number)
{
    static unsigned char right[32768];
    uint64_t head[2];
    if (size < sizeof head)
        return 0;
    memcpy(head, bytes, sizeof head);
    if (head[0] == 0 || head[0] > 3 || head[1] >= 100000 || size_of(head[1]) != size)
        return 0;
    fill(right, head[1], head[0]);
    *number = head[1];
    return memcmp(right, bytes, size) == 0 ? head[0] : 0;
}

static void name_of(uint64_t number, char *out)
{
    sprintf(out, "object/%llu%.*s", (unsigned long long)number, (int)(number % 30),
            "-with-a-name-of-some-length-here");
}

static bool add_plain(hf_txn *txn, uint64_t number, uint64_t version, bool nameless)
{
    char name[100];
    const hf_type *type = type_of(number);
    const size_t count = type == NULL ? size_of(number) : size_of(number) / 16;
    name_of(number, name);
    void *at = nameless ? hf_new(txn, type, count) : hf_construct(txn, name, type, count);
    if (at != NULL)
        fill(at, number, version);
    return at != NULL;
}

static bool add_list(hf_txn *txn, uint64_t list, bool nameless)
{
    struct node *before = NULL;
    char name[40];
    sprintf(name, "list/%llu", (unsigned long long)list);
    for (uint64_t i = 0; i < LIST_LONG; i++) {
        struct node *node = i != 0 || nameless ? hf_new(txn, &node_type, 1)
                                               : hf_construct(txn, name, &node_type, 1);
        if (node == NULL)
            return false;
        node->key = list * 100 + i;
        content_fill(node->bytes, sizeof node->bytes, node->key);
        hf_ptr_set(&node->before, before);
        if (before != NULL)
            before->next = hf_ref_of(hf_txn_view(txn), node);
        if (i % 4 == 2) {
            void *memory = hf_alloc(txn, size_of(node->key));
            if (memory == NULL)
                return false;
            fill(memory, node->key, 1);
            node->memory = hf_ref_of(hf_txn_view(txn), memory);
        }
        before = node;
    }
    return true;
}

/* The last state: version of each number, 0 = destroyed. */
static uint64_t last_version(uint64_t number)
{
    return number % 11 == 5   ? 0
           : number % 7 == 1  ? 3
           : number % 3 == 0  ? 2
           : number >= NUMBERS - 10 ? 2
                              : 1;
}

static bool first_part(hf_store *store, bool nameless)
{
    hf_txn *txn;
    /* So that objects lie across the end of what the table's first sector tells of. */
    bool good = hf_begin(store, &txn) == 0 && hf_alloc(txn, 80000) != NULL;
    for (uint64_t i = 0; good && i < NUMBERS - 10; i++)
        good = add_plain(txn, i, 1, nameless);
    for (uint64_t i = 0; good && i < LISTS; i++)
        good = add_list(txn, i, nameless);
    return good && hf_commit(txn) == 0;
}

static bool change(hf_txn *txn, uint64_t number, bool nameless)
{
    const uint64_t version = last_version(number);
    char name[100];
    size_t count;
    name_of(number, name);
    if (number >= NUMBERS - 10)
        return version == 0 || add_plain(txn, number, version, nameless);
    if (nameless || version == 1)
        return true;
    const void *at = hf_find(hf_txn_view(txn), name, NULL, &count);
    if (at == NULL)
        return false;
    if (version == 2) {
        void *to = hf_edit(txn, at, size_of(number));
        if (to != NULL)
            fill(to, number, version);
        return to != NULL;
    }
    return hf_destroy(txn, name) == 0 && (version == 0 || add_plain(txn, number, version, nameless));
}

static bool second_part(hf_store *store, bool nameless)
{
    bool good = true;
    for (uint64_t from = 0; good && from < NUMBERS; from += 16) {
        hf_txn *txn;
        good = hf_begin(store, &txn) == 0;
        for (uint64_t i = from; good && i < from + 16 && i < NUMBERS; i++)
            good = change(txn, i, nameless);
        good = good && hf_commit(txn) == 0;
    }
    return good;
}

/* ---- states of a store ----------------------------------------------------------------------- */

enum { PART_DATA, PART_LOG0, PART_LOG1, PART_UNDO, PARTS };
static const char *const suffixes[PARTS] = {"", "-log0", "-log1", "-undo"};

struct bytes {
    unsigned char *at;
    size_t size;
    bool there;
};
struct state {
    struct bytes parts[PARTS];
};

struct place { /* of an object in state C */
    uint64_t from, end;
    char name[100];
};

struct kept {
    uint32_t engine, allocator, index;
    struct state a, b, c;
    struct place places[NUMBERS + LISTS];
    size_t places_count;
    unsigned char *types; /* pages of state C in which a type's record begins or goes on */
};

struct shared {
    _Atomic uint64_t current, failed, passed;
    uint64_t wrecks[3], refused, untouched, untouched_saved;
    uint64_t objects[3], intact[3], unproved[3], lost[3], nulled;
};
static struct shared *shared;

struct setup {
    struct kept stores[STORES];
    uint64_t seed;
    char directory[400];
    bool alone;
};

static bool read_file(const char *path, struct bytes *out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *out = (struct bytes){0};
    if (fd < 0)
        return false;
    if (fstat(fd, &st) != 0)
        abort();
    out->size = (size_t)st.st_size;
    out->at = must_alloc(out->size + 1);
    out->there = pread(fd, out->at, out->size, 0) == st.st_size;
    close(fd);
    return out->there;
}

static void read_state(const char *path, struct state *out)
{
    char name[500];
    for (int i = 0; i < PARTS; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        read_file(name, &out->parts[i]);
    }
}

static void write_state(const char *path, const struct state *state)
{
    char name[500];
    for (int i = 0; i < PARTS; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
        if (!state->parts[i].there)
            continue;
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, state->parts[i].at, state->parts[i].size) !=
                          (ssize_t)state->parts[i].size) {
            perror(name);
            _exit(2);
        }
        close(fd);
    }
    snprintf(name, sizeof name, "%s-lock", path);
    unlink(name);
}

static bool in_child(bool (*act)(const struct kept *kept, const char *path),
                     const struct kept *kept, const char *path)
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(act(kept, path) ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static bool make_first(const struct kept *kept, const char *path)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.mode = HF_CREATE_NEW;
    options.engine = kept->engine;
    options.allocator = kept->allocator;
    options.index = kept->index;
    options.size_max_bytes = 64 << 20;
    options.layout = "wrecks";
    return hf_open(path, &options, &store) == 0 &&
           first_part(store, kept->index == HF_INDEX_NULL) && hf_close(store) == 0;
}

/* Ends without closing it. */
static bool make_second(const struct kept *kept, const char *path)
{
    hf_store *store;
    return hf_open(path, NULL, &store) == 0 && second_part(store, kept->index == HF_INDEX_NULL);
}

static bool make_third(const struct kept *kept, const char *path)
{
    hf_store *store;
    (void)kept;
    return hf_open(path, NULL, &store) == 0 && hf_close(store) == 0;
}

/* ---- where things are ------------------------------------------------------------------------ */

static void note_place(void *user, const hf_salvage_object *object)
{
    struct kept *kept = user;
    if (object->verdict != HF_SALVAGE_INTACT || !object->saved || object->name == NULL)
        return;
    struct place *place = &kept->places[kept->places_count++];
    snprintf(place->name, sizeof place->name, "%s", object->name);
    /* Header, name and node; and a chunk's record, wherever it is. */
    place->from = object->offset < 400 ? 0 : object->offset - 400;
    place->end = object->offset + object->size_bytes + 1;
    if (kept->allocator == HF_ALLOC_SLAB) {
        place->from = place->from / 65536 * 65536;
        place->end = (place->end + 65535) / 65536 * 65536;
    }
}

static void note_types(struct kept *kept)
{
    const struct bytes *data = &kept->c.parts[PART_DATA];
    kept->types = must_alloc(data->size / HF__PAGE_BYTES + 2);
    memset(kept->types, 0, data->size / HF__PAGE_BYTES + 2);
    for (size_t at = HF__SEGMENT_OFFSET; at + 512 < data->size; at += 16)
        if (memcmp(data->at + at, "FTYP", 4) == 0) {
            kept->types[(at - 16 - HF__SEGMENT_OFFSET) / HF__PAGE_BYTES] = 1;
            kept->types[(at + 300 - HF__SEGMENT_OFFSET) / HF__PAGE_BYTES] = 1;
        }
}

static bool keep(struct kept *kept, const char *path)
{
    hf_salvage_options options = HF_SALVAGE_OPTIONS_INIT;
    bool good = in_child(make_first, kept, path);
    read_state(path, &kept->a);
    good = good && in_child(make_second, kept, path);
    read_state(path, &kept->b);
    good = good && in_child(make_third, kept, path);
    read_state(path, &kept->c);
    options.on_object = note_place;
    options.user = kept;
    if (!good || hf_salvage(path, NULL, &options, NULL) != 0) {
        printf("making a store: %s\n", hf_last_error()->message);
        return false;
    }
    note_types(kept);
    hf_remove(path);
    return true;
}

/* ---- damage ---------------------------------------------------------------------------------- */

enum base { BASE_CLOSED, BASE_LEFT, BASE_MIXED };
static const char *const base_names[] = {"closed", "left with its log", "torn mixture"};

struct wreck {
    const struct kept *kept;
    enum base base;
    struct state now;  /* owned                                                                   */
    struct bytes whole;/* the data file before the damage                                         */
};

static struct bytes copy_bytes(const struct bytes *from, size_t room)
{
    struct bytes out = *from;
    out.at = must_alloc((room > from->size ? room : from->size) + 1);
    memset(out.at, 0, (room > from->size ? room : from->size) + 1);
    memcpy(out.at, from->at, from->size);
    return out;
}

/* Pages of the segment, and with or without them sectors of the table, from either state: what a machine that
 * went down while a checkpoint was written may leave. */
static void mix(struct wreck *w, struct rng *rng)
{
    const struct bytes *other = &w->kept->a.parts[PART_DATA];
    struct bytes *data = &w->now.parts[PART_DATA];
    const unsigned percent = (unsigned)rng_below(rng, 101), table = (unsigned)rng_below(rng, 101);
    struct hf__file_header *slots[2] = {(void *)data->at, (void *)(data->at + HF__SLOT_B_OFFSET)};
    for (size_t at = HF__TABLE_OFFSET; at < HF__SEGMENT_OFFSET; at += 512)
        if (rng_percent(rng, table))
            memcpy(data->at + at, other->at + at, 512);
    for (size_t at = HF__SEGMENT_OFFSET; at + 512 <= other->size && at + 512 <= data->size;) {
        const size_t step = rng_percent(rng, 70) ? 4096 : 512;
        if (rng_percent(rng, percent))
            memcpy(data->at + at, other->at + at, at + step <= other->size ? step : 512);
        at += step;
    }
    const uint32_t state = w->kept->engine == HF_ENGINE_DIRECT ? 1 : rng_percent(rng, 50) ? 2 : 3;
    for (int i = 0; i < 2; i++) { /* of another boot */
        memcpy(slots[i], w->kept->b.parts[PART_DATA].at + (i == 0 ? 0 : HF__SLOT_B_OFFSET), 512);
        slots[i]->state = state;
        memset(slots[i]->boot_id, state == 2 ? 0 : 7, sizeof slots[i]->boot_id);
        slots[i]->check = hf__hash(slots[i], offsetof(struct hf__file_header, check), 0);
    }
}

static void lose_parts(struct wreck *w, struct rng *rng)
{
    const uint64_t what = rng_below(rng, 4);
    for (int i = PART_LOG0; i < PARTS; i++) {
        struct bytes *part = &w->now.parts[i];
        if (!part->there)
            continue;
        if (what == 0 || (what == 1 && rng_percent(rng, 50)))
            part->there = false;
        else if (what == 2 && part->size != 0)
            for (uint64_t n = 1 + rng_below(rng, 8); n > 0; n--)
                part->at[rng_below(rng, rng_percent(rng, 50) || part->size < 8192 ? part->size
                                                                                  : 8192)] ^=
                    (unsigned char)(1 + rng_below(rng, 255));
    }
}

static void damage(struct wreck *w, struct rng *rng)
{
    struct bytes *data = &w->now.parts[PART_DATA];
    const size_t from = rng_percent(rng, 75) ? HF__SEGMENT_OFFSET : 0;
    const size_t pages = data->size / 4096;
    size_t at = from + rng_below(rng, data->size - from), size = 1 + rng_below(rng, 9000);
    unsigned char page[4096];
    size = size < data->size - at ? size : data->size - at;
    switch (rng_below(rng, 8)) {
    case 0:
        for (uint64_t n = 1 + rng_below(rng, 12); n > 0; n--)
            data->at[from + rng_below(rng, data->size - from)] ^=
                (unsigned char)(1 + rng_below(rng, 255));
        break;
    case 1:
        memset(data->at + at, rng_percent(rng, 70) ? 0 : 255, size);
        break;
    case 2:
        content_fill(data->at + at, size, rng_next(rng));
        break;
    case 3: { /* swapped pages */
        const size_t a = rng_below(rng, pages) * 4096, b = rng_below(rng, pages) * 4096;
        memcpy(page, data->at + a, 4096);
        memmove(data->at + a, data->at + b, 4096);
        memcpy(data->at + b, page, 4096);
        break;
    }
    case 4: /* a page that was never written: as in an earlier state */
        at = at / 4096 * 4096;
        if (at + 4096 <= w->kept->a.parts[PART_DATA].size && at + 4096 <= data->size)
            memcpy(data->at + at, w->kept->a.parts[PART_DATA].at + at, 4096);
        break;
    case 5: /* headers destroyed: one, two or all three */
        for (unsigned i = 0; i < 3; i++)
            if (rng_percent(rng, 70))
                content_fill(data->at + (i == 0 ? 0 : i == 1 ? 4096 : HF__SEGMENT_OFFSET), 512,
                             rng_next(rng));
        break;
    case 6:
        if (rng_percent(rng, 40))
            data->size = rng_below(rng, data->size);
        else
            memset(data->at + HF__TABLE_OFFSET, 0, 512 * rng_below(rng, 9));
        break;
    default: /* of the table */
        at = HF__TABLE_OFFSET + rng_below(rng, 4096);
        data->at[at] ^= (unsigned char)(1 + rng_below(rng, 255));
        break;
    }
}

static void make_wreck(const struct setup *setup, uint64_t number, struct wreck *w, struct rng *rng)
{
    *rng = (struct rng){mix64(setup->seed) ^ mix64(number)};
    w->kept = &setup->stores[rng_below(rng, STORES)];
    const uint64_t which = rng_below(rng, 10);
    w->base = which < 6 ? BASE_CLOSED : which < 8 ? BASE_LEFT : BASE_MIXED;
    const struct state *from = w->base == BASE_LEFT ? &w->kept->b : &w->kept->c;
    w->now = (struct state){0};
    for (int i = 0; i < PARTS; i++) {
        const struct bytes *part = w->base == BASE_MIXED && i != PART_DATA ? &w->kept->b.parts[i]
                                                                           : &from->parts[i];
        if (part->there)
            w->now.parts[i] = copy_bytes(part, 0);
    }
    if (w->base == BASE_MIXED)
        mix(w, rng);
    w->whole = copy_bytes(&w->now.parts[PART_DATA], 0);
    if (w->base != BASE_CLOSED)
        lose_parts(w, rng);
    for (uint64_t n = rng_percent(rng, 60) ? 1 : rng_below(rng, 5); n > 0; n--)
        if (w->now.parts[PART_DATA].size > HF__SEGMENT_OFFSET + 4096)
            damage(w, rng);
}

static void free_wreck(struct wreck *w)
{
    for (int i = 0; i < PARTS; i++)
        free(w->now.parts[i].at);
    free(w->whole.at);
}

/* ---- what was touched ------------------------------------------------------------------------ */

static bool bytes_touched(const struct wreck *w, uint64_t from, uint64_t end)
{
    const struct bytes *now = &w->now.parts[PART_DATA];
    end = end < w->whole.size ? end : w->whole.size;
    return end > now->size || (from < end && memcmp(w->whole.at + from, now->at + from, end - from) != 0);
}

static bool page_touched(const struct wreck *w, uint64_t page)
{
    unsigned slot;
    uint64_t number;
    const uint64_t at = hf__file_offset(page * HF__PAGE_BYTES);
    const uint64_t sector = hf__table_sector(page, &slot, &number);
    return bytes_touched(w, at, at + HF__PAGE_BYTES) || bytes_touched(w, sector, sector + 512);
}

static bool place_touched(const struct wreck *w, const struct place *place)
{
    for (uint64_t page = place->from / HF__PAGE_BYTES; page * HF__PAGE_BYTES < place->end; page++)
        if (page_touched(w, page))
            return true;
    return false;
}

static bool types_touched(const struct wreck *w)
{
    for (uint64_t page = 0; page < w->whole.size / HF__PAGE_BYTES; page++)
        if (w->kept->types[page] && page_touched(w, page))
            return true;
    return false;
}

/* ---- a case ---------------------------------------------------------------------------------- */

struct said {
    const struct wreck *w;
    unsigned char intact[NUMBERS + LISTS]; /* by place */
    bool show;
};

__attribute__((format(printf, 2, 3))) static void failed(uint64_t number, const char *format, ...)
{
    va_list arguments;
    if (atomic_fetch_add(&shared->failed, 1) >= 40)
        return;
    va_start(arguments, format);
    printf("FAILED: case %llu: ", (unsigned long long)number);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

static void on_object(void *user, const hf_salvage_object *object)
{
    struct said *said = user;
    const struct kept *kept = said->w->kept;
    if (said->show)
        printf("  %s %s at %llu: %llu bytes, commit %llu, %llu nulled, %s%s%s\n",
               object->name == NULL ? "(no name)" : object->name, object->type_name,
               (unsigned long long)object->offset, (unsigned long long)object->size_bytes,
               (unsigned long long)object->commit, (unsigned long long)object->nulled,
               object->verdict == HF_SALVAGE_INTACT ? "intact" : object->verdict == HF_SALVAGE_LOST
                                                                     ? "lost"
                                                                     : "unproved",
               object->why[0] == '\0' ? "" : ": ", object->why);
    for (size_t i = 0; object->name != NULL && i < kept->places_count; i++)
        if (strcmp(kept->places[i].name, object->name) == 0)
            said->intact[i] |= object->verdict == HF_SALVAGE_INTACT && object->saved;
}

/* One that hangs on a list: what it says of itself, and of its neighbours. */
static bool node_right(hf_view *view, const struct node *node)
{
    unsigned char bytes[sizeof node->bytes];
    const struct node *next = node->next == 0 ? NULL : hf_at(view, node->next);
    const struct node *before = hf_ptr_get(&node->before);
    uint64_t number;
    content_fill(bytes, sizeof bytes, node->key);
    return memcmp(bytes, node->bytes, sizeof bytes) == 0 &&
           (next == NULL || next->key == node->key + 1) &&
           (before == NULL || before->key + 1 == node->key) &&
           (node->memory == 0 || (version_of(hf_at(view, node->memory), size_of(node->key), &number) == 1 &&
                                  number == node->key));
}

/* V2, for one object of the new store. */
static const char *object_wrong(const struct wreck *w, hf_view *view, const hf_object_info *info)
{
    char name[100];
    uint64_t number = 0;
    if (strcmp(info->type_name, node_type.name) == 0)
        return info->count == 1 && node_right(view, info->object) ? NULL : "a node is wrong";
    const uint64_t version = version_of(info->object, (size_t)info->size_bytes, &number);
    name_of(number, name);
    if (version == 0)
        return "bytes that no commit gave";
    if (info->kind == HF_KIND_NAMED && strcmp(name, info->name) != 0)
        return "another object's bytes";
    if (w->base == BASE_CLOSED && version != last_version(number) &&
        w->kept->index != HF_INDEX_NULL)
        return "bytes of an earlier commit";
    return NULL;
}

static bool is_unproved(const char *name)
{
    const size_t length = name == NULL ? 0 : strlen(name);
    return length > 9 && strcmp(name + length - 9, ".unproved") == 0;
}

static void check_new(uint64_t number, const struct wreck *w, const char *path, bool unproved)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    hf_store *store;
    hf_view *view;
    const char *wrong = NULL;
    int code = hf_check_file(path, NULL, NULL);
    if (code != 0) {
        failed(number, "the new store has findings: %s", hf_error_name(code));
        return;
    }
    options.mode = HF_READ_ONLY;
    if (hf_open(path, &options, &store) != 0 || hf_view_begin(store, &view) != 0) {
        failed(number, "the new store can't be opened: %s", hf_last_error()->message);
        return;
    }
    while (wrong == NULL && hf_next_object(view, &cursor, &info) == 1)
        if (!is_unproved(info.name) && !(unproved && info.kind == HF_KIND_ANONYMOUS))
            wrong = object_wrong(w, view, &info);
    if (wrong != NULL)
        failed(number, "%s store: '%s': %s", base_names[w->base],
               info.name == NULL ? "an anonymous object" : info.name, wrong);
    hf_view_end(view);
    hf_close(store);
}

/* V3, and the rates. */
static void check_untouched(uint64_t number, const struct wreck *w, const struct said *said)
{
    const bool types = types_touched(w);
    if (w->base != BASE_CLOSED)
        return;
    for (size_t i = 0; i < w->kept->places_count; i++) {
        const struct place *place = &w->kept->places[i];
        unsigned long long of = 0;
        const bool typed = sscanf(place->name, "object/%llu", &of) != 1 || type_of(of) != NULL;
        if (place_touched(w, place) || (typed && types))
            continue;
        shared->untouched++;
        shared->untouched_saved += said->intact[i];
        if (!said->intact[i])
            failed(number, "'%s', which was not touched, is not intact", place->name);
    }
}

static bool unchanged(const struct wreck *w, const char *path)
{
    struct bytes now;
    const struct bytes *was = &w->now.parts[PART_DATA];
    bool same = read_file(path, &now) && now.size == was->size &&
                memcmp(now.at, was->at, was->size) == 0;
    free(now.at);
    return same;
}

/* No copy of the salt, or nothing of the segment, is a reason to refuse. */
static bool may_refuse(const struct wreck *w, int code)
{
    const uint64_t places[3] = {offsetof(struct hf__file_header, constants),
                                HF__SLOT_B_OFFSET + offsetof(struct hf__file_header, constants),
                                HF__SEGMENT_OFFSET + offsetof(struct hf__segment_header, constants)};
    bool any = false;
    for (int i = 0; i < 3; i++)
        any |= !bytes_touched(w, places[i], places[i] + sizeof(struct hf__constants));
    return (code == HF_ECORRUPT && !any) ||
           (code == HF_ETRUNCATED &&
            w->now.parts[PART_DATA].size <= HF__SEGMENT_OFFSET + HF__SEGMENT_HEADER_BYTES);
}

static void run_case(const struct setup *setup, uint64_t number)
{
    hf_salvage_options options = HF_SALVAGE_OPTIONS_INIT;
    hf_salvage_report report;
    struct wreck w;
    struct rng rng;
    char path[480], to[480];
    const uint64_t failures = atomic_load(&shared->failed);
    alarm(HANG_SECONDS);
    make_wreck(setup, number, &w, &rng);
    struct said said = {.w = &w, .show = setup->alone};
    snprintf(path, sizeof path, "%s/wreck.hf", setup->directory);
    snprintf(to, sizeof to, "%s/saved.hf", setup->directory);
    write_state(path, &w.now);
    const bool unproved = number % 4 == 3;
    options.flags = unproved ? HF_SALVAGE_UNPROVED : 0;
    options.on_object = on_object;
    options.user = &said;
    int code = hf_salvage(path, to, &options, &report);
    if (setup->alone)
        printf("%s store, engine %u, allocator %u, index %u: %s, log %s\n", base_names[w.base],
               w.kept->engine, w.kept->allocator, w.kept->index, hf_error_name(code),
               code == 0 ? report.log : "");
    shared->wrecks[w.base]++;
    if (code == 0) {
        shared->objects[w.base] += report.intact + report.unproved + report.lost;
        shared->intact[w.base] += report.intact;
        shared->unproved[w.base] += report.unproved;
        shared->lost[w.base] += report.lost;
        shared->nulled += report.nulled;
        check_new(number, &w, to, unproved);
        check_untouched(number, &w, &said);
    } else {
        shared->refused++;
        if (!may_refuse(&w, code))
            failed(number, "refused: %s: %s", hf_error_name(code), hf_last_error()->message);
    }
    if (!unchanged(&w, path))
        failed(number, "the wreck was changed");
    if (code == 0 && hf_remove(to) != 0)
        failed(number, "the new store can't be removed");
    if (atomic_load(&shared->failed) == failures)
        atomic_fetch_add(&shared->passed, 1);
    free_wreck(&w);
    alarm(0);
}

/* ---- batches --------------------------------------------------------------------------------- */

static void run_cases(const struct setup *setup, uint64_t from, uint64_t to)
{
    while (from < to && atomic_load(&shared->failed) < 100) {
        const uint64_t end = to - from < BATCH ? to : from + BATCH;
        int status;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            for (; from < end; from++) {
                atomic_store(&shared->current, from);
                run_case(setup, from);
            }
            fflush(stdout);
            exit(0); /* so that a leak checker has its say */
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            abort();
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            from = end;
            continue;
        }
        from = atomic_load(&shared->current);
        failed(from, "status %d%s", status, WIFSIGNALED(status) ? ", a signal" : "");
        from++;
    }
}

static void print_rates(void)
{
    for (int i = 0; i < 3; i++) {
        const double all = shared->objects[i] == 0 ? 1 : (double)shared->objects[i];
        printf("%-18s %6llu wrecks, %8llu objects found: %5.1f%% intact, %4.1f%% unproved, "
               "%4.1f%% lost\n",
               base_names[i], (unsigned long long)shared->wrecks[i],
               (unsigned long long)shared->objects[i], 100 * (double)shared->intact[i] / all,
               100 * (double)shared->unproved[i] / all, 100 * (double)shared->lost[i] / all);
    }
    printf("of closed stores %llu objects whose pages were not touched: %llu intact (%llu nothing "
           "to prove by, %llu pointers nulled)\n",
           (unsigned long long)shared->untouched, (unsigned long long)shared->untouched_saved,
           (unsigned long long)shared->refused, (unsigned long long)shared->nulled);
}

int main(void)
{
    struct campaign c;
    static struct setup setup;
    char path[480];
    campaign_start(&c, "corrupt_salvage");
    setup.seed = c.seed;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED ||
        !(campaign_directory("/dev/shm", setup.directory, sizeof setup.directory) ||
          campaign_directory(NULL, setup.directory, sizeof setup.directory)))
        return 1;
    snprintf(path, sizeof path, "%s/kept.hf", setup.directory);
    for (unsigned i = 0; i < STORES; i++) {
        setup.stores[i].engine = i % 2;
        setup.stores[i].allocator = HF_ALLOC_BEST_FIT + i / 2 % 3;
        setup.stores[i].index = i / 6;
        if (!keep(&setup.stores[i], path)) {
            printf("0 passed, 1 failed\n");
            return 1;
        }
    }
    const char *one = getenv("HF_TEST_CASE");
    setup.alone = one != NULL;
    if (one != NULL)
        run_cases(&setup, strtoull(one, NULL, 0), strtoull(one, NULL, 0) + 1);
    else
        run_cases(&setup, 0, campaign_count(&c, 10000));
    print_rates();
    snprintf(path, sizeof path, "rm -rf '%s'", setup.directory);
    if (system(path) != 0)
        printf("note: something is left in %s\n", setup.directory);
    c.passed += atomic_load(&shared->passed);
    c.failed += atomic_load(&shared->failed);
    return campaign_end(&c);
}
