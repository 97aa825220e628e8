/* SPDX-License-Identifier: MIT */
/*
 * explore.c - breadth-first search over packed states
 *
 * States lie one after the other in the order in which they were met, which is also the queue. A
 * table of their numbers, by hash, tells the known ones. Moves that may be counted on are kept as
 * pairs, to be walked backwards in the end.
 *
 *   X1  states[i] for i < done have been checked and all their moves tried
 *   X2  parent[i] < i: the way to a state is walked back in finitely many steps
 */
#include "explore.h"

#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATES_MAX (UINT32_C(1) << 24)

struct explorer {
    const struct protocol *protocol;
    unsigned char *states;
    uint32_t *parent, *table;
    const char **what; /* the move that led here                                                 */
    signed char *who;
    uint32_t count, room, table_room, done;
    struct edge {
        uint32_t from, to;
    } *edges;
    size_t edge_count, edge_room, moves;
};

static void *grown(void *old, size_t count, size_t size)
{
    void *more = realloc(old, count * size);
    if (more == NULL) {
        fprintf(stderr, "no memory for %zu entries\n", count);
        abort();
    }
    return more;
}

static const unsigned char *state_at(const struct explorer *e, uint32_t i)
{
    return e->states + (size_t)i * e->protocol->state_bytes;
}

/* Where the state is in the table, or belongs. */
static uint32_t *place_of(const struct explorer *e, const void *state)
{
    const size_t size = e->protocol->state_bytes;
    uint32_t at = (uint32_t)hf__hash(state, size, 0) & (e->table_room - 1);
    while (e->table[at] != 0 && memcmp(state_at(e, e->table[at] - 1), state, size) != 0)
        at = (at + 1) & (e->table_room - 1);
    return &e->table[at];
}

static void make_room(struct explorer *e)
{
    if (e->count == e->room) {
        e->room = e->room == 0 ? 1u << 16 : e->room * 2;
        e->states = grown(e->states, e->room, e->protocol->state_bytes);
        e->parent = grown(e->parent, e->room, sizeof *e->parent);
        e->what = grown(e->what, e->room, sizeof *e->what);
        e->who = grown(e->who, e->room, sizeof *e->who);
    }
    if ((e->count + 1) * UINT64_C(2) <= e->table_room)
        return;
    e->table_room = e->table_room == 0 ? 1u << 17 : e->table_room * 2;
    free(e->table);
    e->table = grown(NULL, e->table_room, sizeof *e->table);
    memset(e->table, 0, (size_t)e->table_room * sizeof *e->table);
    for (uint32_t i = 0; i < e->count; i++)
        *place_of(e, state_at(e, i)) = i + 1;
}

void explore_move(struct explorer *e, enum explore_kind kind, int process, const char *what,
                  const void *next)
{
    make_room(e);
    uint32_t *place = place_of(e, next);
    e->moves++;
    if (*place == 0) {
        const uint32_t i = e->count;
        if (i == STATES_MAX) {
            fprintf(stderr, "%s: more than %u states\n", e->protocol->name, STATES_MAX);
            abort();
        }
        memcpy(e->states + (size_t)i * e->protocol->state_bytes, next, e->protocol->state_bytes);
        e->parent[i] = e->done;
        e->what[i] = what;
        e->who[i] = (signed char)process;
        *place = ++e->count;
    }
    if (e->protocol->progress == NULL || kind == EXPLORE_FAULT)
        return;
    if (e->edge_count == e->edge_room) {
        e->edge_room = e->edge_room == 0 ? 1u << 18 : e->edge_room * 2;
        e->edges = grown(e->edges, e->edge_room, sizeof *e->edges);
    }
    e->edges[e->edge_count++] = (struct edge){e->done, *place - 1};
}

static void print_way(const struct explorer *e, uint32_t i)
{
    if (i != 0)
        print_way(e, e->parent[i]);
    printf("  %2d %-46s ", e->who[i], e->what[i]);
    if (e->protocol->print != NULL)
        e->protocol->print(state_at(e, i));
    printf("\n");
}

/* The moves, sorted by where they lead: those to state i are from[first[i]] up to first[i + 1]. */
struct backwards {
    uint32_t *first, *from;
};

static struct backwards turn(const struct explorer *e)
{
    struct backwards b;
    b.first = grown(NULL, (size_t)e->count + 2, sizeof *b.first);
    b.from = grown(NULL, e->edge_count + 1, sizeof *b.from);
    memset(b.first, 0, ((size_t)e->count + 2) * sizeof *b.first);
    for (size_t i = 0; i < e->edge_count; i++)
        b.first[e->edges[i].to + 2]++;
    for (uint32_t i = 2; i < e->count + 2; i++)
        b.first[i] += b.first[i - 1];
    for (size_t i = 0; i < e->edge_count; i++)
        b.from[b.first[e->edges[i].to + 1]++] = e->edges[i].from;
    return b;
}

/* Some state in which `process` waits and can't get through any more, or the count of states. */
static uint32_t stuck(const struct explorer *e, const struct backwards *b, int process)
{
    uint32_t *queue = grown(NULL, (size_t)e->count + 1, sizeof *queue), head = 0, tail = 0, i;
    unsigned char *reached = grown(NULL, e->count, 1);
    memset(reached, 0, e->count);
    for (i = 0; i < e->count; i++)
        if (e->protocol->progress(state_at(e, i), process) == EXPLORE_THROUGH) {
            reached[i] = 1;
            queue[tail++] = i;
        }
    while (head < tail) {
        const uint32_t to = queue[head++];
        for (uint32_t k = b->first[to]; k < b->first[to + 1]; k++)
            if (!reached[b->from[k]]) {
                reached[b->from[k]] = 1;
                queue[tail++] = b->from[k];
            }
    }
    for (i = 0; i < e->count; i++)
        if (!reached[i] && e->protocol->progress(state_at(e, i), process) == EXPLORE_WAITS)
            break;
    free(queue);
    free(reached);
    return i;
}

static const char *check_progress(const struct explorer *e, uint32_t *at)
{
    struct backwards b = turn(e);
    const char *broken = NULL;
    for (int process = 0; broken == NULL && process < e->protocol->processes; process++) {
        *at = stuck(e, &b, process);
        if (*at != e->count)
            broken = "somebody living waits for ever";
    }
    free(b.first);
    free(b.from);
    return broken;
}

struct explore_result explore(const struct protocol *protocol, int bug, bool trace)
{
    struct explorer e = {.protocol = protocol};
    struct explore_result result = {0, 0, NULL};
    unsigned char *state = grown(NULL, protocol->state_bytes, 1);
    uint32_t at = 0;
    memset(state, 0, protocol->state_bytes);
    protocol->start(state);
    explore_move(&e, EXPLORE_FAULT, -1, "start", state);
    for (; e.done < e.count && result.broken == NULL; e.done++) {
        /* A copy: the states move when there must be room for more. */
        memcpy(state, state_at(&e, e.done), protocol->state_bytes);
        at = e.done;
        result.broken = protocol->check(state);
        if (result.broken == NULL)
            protocol->moves(state, bug, &e);
    }
    if (result.broken == NULL && protocol->progress != NULL)
        result.broken = check_progress(&e, &at);
    if (result.broken != NULL && trace) {
        printf("%s: %s, after\n", protocol->name, result.broken);
        print_way(&e, at);
    }
    result.states = e.count;
    result.moves = e.moves - 1;
    free(state);
    free(e.states);
    free(e.parent);
    free(e.table);
    free(e.what);
    free(e.who);
    free(e.edges);
    return result;
}
