/* SPDX-License-Identifier: MIT */
/*
 * graph.c - the objects' numbers
 *
 * The idea: two stores that hold the same give the same dump, wherever their objects lie. So
 * numbers come from names and references: the named objects by name, the unique ones by theirs,
 * then each object when the first pointer to it is printed (breadth first). What nothing leads to
 * comes last, by address.
 *
 * Invariants:
 *   1. items are sorted by address and don't overlap.
 *   2. order[n - 1] is the place of the item with number n; numbers have no gaps.
 *   3. What is left out never gets a number.
 */
#include "tools/dump/graph.h"

#include "store/pool_format.h"
#include "tools/common/store.h"

#include <stdlib.h>
#include <string.h>

#define POOL_TYPE   "hf_pool" /* what pool.h makes: it knows its chunks by their addresses */
#define GRAPH_CHUNK 6         /* a kind until all chunks are found, left out then           */

static int add(struct graph *graph, size_t *room, struct graph_item item)
{
    if (graph->count == *room) {
        size_t more = *room == 0 ? 1024 : *room + *room / 2;
        struct graph_item *larger = realloc(graph->items, more * sizeof *larger);
        if (larger == NULL)
            return HF_ENOMEM;
        graph->items = larger;
        *room = more;
    }
    graph->items[graph->count++] = item;
    if (item.kind == GRAPH_LEFT_OUT)
        graph->left_out++;
    else
        graph->size_bytes += item.size_bytes;
    return 0;
}

static int add_objects(struct graph *graph, size_t *room, const struct dump_types *types)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    int more, code = 0;

    while (code == 0 && (more = hf_next_object(graph->view, &cursor, &info)) != 0) {
        if (more < 0)
            return more;
        struct graph_item item = {tool_ref_of(graph->view, info.object), info.size_bytes, 0,
                                  dump_type_number(types, info.type_id), info.kind};
        if (strcmp(info.type_name, POOL_TYPE) == 0)
            item.kind = GRAPH_LEFT_OUT;
        code = add(graph, room, item);
    }
    return code;
}

static int add_raw(struct graph *graph, size_t *room)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    const void *raw;
    size_t size_bytes;
    int more, code = 0;

    while (code == 0 && (more = hf_next_raw(graph->view, &cursor, &raw, &size_bytes)) != 0) {
        if (more < 0)
            return more;
        struct graph_item item = {tool_ref_of(graph->view, raw), size_bytes, 0, 0, GRAPH_RAW};
        code = add(graph, room, item);
    }
    return code;
}

static int compare_items(const void *a, const void *b)
{
    const struct graph_item *left = a, *right = b;
    return left->ref < right->ref ? -1 : left->ref > right->ref;
}

static bool is_sorted(const struct graph *graph)
{
    for (size_t i = 1; i < graph->count; i++)
        if (graph->items[i - 1].ref > graph->items[i].ref)
            return false;
    return true;
}

/* The last item that begins at or before target. */
static struct graph_item *item_before(const struct graph *graph, hf_ref target)
{
    size_t low = 0, high = graph->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (graph->items[middle].ref <= target)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : &graph->items[low - 1];
}

/* A raw block is a chunk if a list of its pool leads to it, whatever it looks like: what a damaged list no
 * longer leads to is dumped as it is. */
static void note_chunks(struct graph *graph, hf_ref pool, hf_ref at)
{
    struct graph_item *item;
    struct hf__pool_chunk chunk;

    while ((item = item_before(graph, at)) != NULL && item->ref == at && item->kind == GRAPH_RAW &&
           item->size_bytes >= sizeof chunk) {
        memcpy(&chunk, hf_at(graph->view, at), sizeof chunk);
        if (chunk.pool != pool)
            return;
        item->kind = GRAPH_CHUNK;
        graph->size_bytes -= item->size_bytes;
        at = chunk.next;
    }
}

static void leave_chunks_out(struct graph *graph)
{
    struct hf__pool pool;

    for (size_t i = 0; graph->left_out != 0 && i < graph->count; i++) {
        const struct graph_item *item = &graph->items[i];
        if (item->kind != GRAPH_LEFT_OUT || item->size_bytes < sizeof pool)
            continue;
        memcpy(&pool, hf_at(graph->view, item->ref), sizeof pool);
        note_chunks(graph, item->ref, pool.room_first);
        note_chunks(graph, item->ref, pool.full_first);
    }
    for (size_t i = 0; graph->left_out != 0 && i < graph->count; i++)
        if (graph->items[i].kind == GRAPH_CHUNK)
            graph->items[i].kind = GRAPH_LEFT_OUT;
}

int graph_read(struct graph *graph, hf_view *view, const struct dump_types *types)
{
    size_t room = 0;
    int code;

    *graph = (struct graph){.view = view};
    code = add_objects(graph, &room, types);
    if (code == 0)
        code = add_raw(graph, &room);
    if (code != 0)
        return code;
    if (!is_sorted(graph))
        qsort(graph->items, graph->count, sizeof *graph->items, compare_items);
    leave_chunks_out(graph);
    graph->order = malloc((graph->count + 1) * sizeof *graph->order);
    return graph->order == NULL ? HF_ENOMEM : 0;
}

void graph_free(struct graph *graph)
{
    free(graph->items);
    free(graph->order);
    graph->items = NULL;
    graph->order = NULL;
}

static struct graph_item *item_at(const struct graph *graph, hf_ref target)
{
    struct graph_item *item = item_before(graph, target);

    /* One past the end is a place in an array, too. */
    if (item == NULL || item->kind == GRAPH_LEFT_OUT || target - item->ref > item->size_bytes)
        return NULL;
    return item;
}

static void number(struct graph *graph, struct graph_item *item)
{
    if (item->number != 0 || item->kind == GRAPH_LEFT_OUT)
        return;
    graph->order[graph->numbered++] = (size_t)(item - graph->items);
    item->number = graph->numbered;
}

void graph_number_object(struct graph *graph, const void *object)
{
    struct graph_item *item = item_at(graph, tool_ref_of(graph->view, object));

    if (item != NULL)
        number(graph, item);
}

struct named {
    const char *name;
    const void *object;
};

static int compare_names(const void *a, const void *b)
{
    const struct named *left = a, *right = b;
    return strcmp(left->name, right->name);
}

/* A hash index has no order of its own: all entries are collected and sorted. */
static int number_entries(struct graph *graph, const char *prefix, uint64_t count,
                          int (*next)(hf_view *, hf_cursor *, hf_object_info *))
{
    hf_cursor cursor = HF_CURSOR_INIT;
    struct named *named;
    hf_object_info info;
    size_t used = 0;
    int more = 0;

    if (count == 0)
        return 0;
    if (count > SIZE_MAX / sizeof *named)
        return HF_ECORRUPT;
    named = malloc((size_t)count * sizeof *named);
    if (named == NULL)
        return HF_ENOMEM;
    cursor.prefix = prefix;
    while (used < count && (more = next(graph->view, &cursor, &info)) == 1)
        named[used++] = (struct named){info.name, info.object};
    if (used > 1)
        qsort(named, used, sizeof *named, compare_names);
    for (size_t i = 0; i < used && more >= 0; i++)
        graph_number_object(graph, named[i].object);
    free(named);
    return more < 0 ? more : 0;
}

int graph_number_named(struct graph *graph, const char *prefix)
{
    return number_entries(graph, prefix, hf_count_named(graph->view), hf_next_named);
}

int graph_number_unique(struct graph *graph)
{
    return number_entries(graph, NULL, hf_count_unique(graph->view), hf_next_unique);
}

bool graph_number_rest(struct graph *graph)
{
    const size_t before = graph->numbered;

    while (graph->rest < graph->count && graph->numbered == before)
        number(graph, &graph->items[graph->rest++]);
    return graph->numbered != before;
}

const struct graph_item *graph_find(const struct graph *graph, hf_ref target)
{
    return item_at(graph, target);
}

const struct graph_item *graph_follow(struct graph *graph, hf_ref target, uint64_t *offset)
{
    struct graph_item *item = item_at(graph, target);

    if (item == NULL) {
        graph->dangling++;
        return NULL;
    }
    number(graph, item);
    *offset = target - item->ref;
    return item;
}
