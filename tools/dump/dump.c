/* SPDX-License-Identifier: MIT */
/*
 * dump.c - holdfast dump: prints a store as text that load reads
 *
 * All of it is one moment: a view is open from the first line to the last. Of the store only a
 * table of its objects is held in memory (graph.h); what they hold is printed straight from the
 * mapping, in lines of limited length. docs/dump.md describes them.
 */
#include "tools/commands.h"
#include "tools/common/choice.h"
#include "tools/common/dump_form.h"
#include "tools/common/interrupt.h"
#include "tools/common/json.h"
#include "tools/common/output.h"
#include "tools/common/progress.h"
#include "tools/common/store.h"
#include "tools/dump/pretty.h"
#include "tools/dump/print.h"

#include <inttypes.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

/* What of one object goes into a line. In base64 chunks must not need padding but at the end. */
#define LINE_BYTES_MAX  ((size_t)192 << 10)
#define OUT_BUFFER_SIZE ((size_t)256 << 10)
_Static_assert(LINE_BYTES_MAX % 3 == 0, "base64");

enum { OPTION_NO_BYTES = TOOL_OPTION_LONG };

static const struct tool_option options[] = {
    {'p', "prefix", "PREFIX", "the objects whose names begin so, and what they\nrefer to"},
    {'P', "pretty", NULL, "for people: one field a line"},
    {OPTION_NO_BYTES, "no-bytes", NULL, "leave out what has no fields; load won't take that"},
    {0, NULL, NULL, NULL},
};

enum form { FORM_LINES, FORM_DOCUMENT, FORM_PRETTY };

struct dump {
    struct tool *tool;
    const char *path, *prefix;
    enum form form;
    bool no_bytes;
    hf_store *store;
    hf_view *view;
    hf_store_info info;
    struct dump_types types;
    struct graph graph;
    struct printer printer;
    struct progress progress;
    uint64_t counts[GRAPH_RAW + 1]; /* by kind */
    uint64_t opaque;     /* objects and blocks that may hold references nobody knows             */
    uint64_t suspicious; /* and that seem to                                                     */
};

static const char *const kind_names[] = {
    [HF_KIND_NAMED] = "named",
    [HF_KIND_UNIQUE] = "unique",
    [HF_KIND_ANONYMOUS] = "anonymous",
    [GRAPH_RAW] = "raw",
};

/* ---- head and end ---------------------------------------------------------------------------- */

static void print_head(struct dump *dump)
{
    const hf_store_info *info = &dump->info;

    fprintf(stdout, "{\"holdfast-dump\":%d,\"engine\":\"%s\",\"allocator\":\"%s\",\"index\":\"%s\"",
            DUMP_FORM_VERSION, choice_name(choice_engines, info->engine),
            choice_name(choice_allocators, info->allocator),
            choice_name(choice_indexes, info->index));
    fprintf(stdout, ",\"size_max_bytes\":%" PRIu64, info->size_max_bytes);
    if (info->layout[0] != '\0') {
        fputs(",\"layout\":", stdout);
        print_text(stdout, info->layout, strnlen(info->layout, sizeof info->layout));
        fprintf(stdout, ",\"layout_version\":%" PRIu32, info->layout_version);
    }
    if (dump->no_bytes)
        fputs(",\"no_bytes\":true", stdout);
    if (dump->form == FORM_LINES)
        fputs("}\n", stdout);
}

static void print_counts(const struct dump *dump)
{
    fprintf(stdout, "{\"end\":true,\"types\":%" PRIu32, dump->types.count);
    for (int kind = HF_KIND_NAMED; kind <= GRAPH_RAW; kind++)
        fprintf(stdout, ",\"%s\":%" PRIu64, kind_names[kind], dump->counts[kind]);
    fprintf(stdout, ",\"opaque\":%" PRIu64, dump->opaque);
    if (dump->graph.left_out > 0)
        fprintf(stdout, ",\"pools_left_out\":%" PRIu64, dump->graph.left_out);
    putc('}', stdout);
}

/* Of a document about some objects only the types that these have are part. */
static void print_types(const struct dump *dump)
{
    const bool all = dump->form == FORM_LINES || dump->tool->operand_count == 1;
    bool any = false;

    for (uint32_t number = 1; number <= dump->types.count; number++) {
        bool wanted = all;
        for (size_t i = 0; i < dump->graph.numbered && !wanted; i++)
            wanted = dump->graph.items[dump->graph.order[i]].type == number;
        if (!wanted)
            continue;
        if (dump->form == FORM_DOCUMENT && any)
            fputs(",\n", stdout);
        dump_type_print(&dump->types, number, stdout);
        if (dump->form == FORM_LINES)
            putc('\n', stdout);
        any = true;
    }
}

/* ---- objects --------------------------------------------------------------------------------- */

/* A later line of the same object begins so; at is an element or a byte. */
static void begin_next_line(const struct graph_item *item, uint64_t at)
{
    fprintf(stdout, "}\n{\"object\":%" PRIu64 ",\"at\":%" PRIu64, item->number, at);
}

static void print_elements(struct dump *dump, const struct graph_item *item,
                           const unsigned char *bytes)
{
    const struct dump_type *type = &dump->types.types[item->type - 1];
    const uint64_t size = type->info.size_bytes, count = item->size_bytes / size;
    uint64_t in_line = 0;

    fputs(",\"elements\":[", stdout);
    for (uint64_t i = 0; i < count && !ferror(stdout); i++, in_line += size) {
        if (in_line > 0 && in_line + size > LINE_BYTES_MAX && dump->form == FORM_LINES) {
            putc(']', stdout);
            begin_next_line(item, i);
            fputs(",\"elements\":[", stdout);
            progress_add(&dump->progress, in_line);
            in_line = 0;
        } else if (i > 0) {
            putc(',', stdout);
        }
        print_element(&dump->printer, type, bytes + i * size);
    }
    progress_add(&dump->progress, in_line);
    putc(']', stdout);
}

/* Zeros at the end of a line are left out, and lines that would hold nothing else. */
static void print_bytes(struct dump *dump, const struct graph_item *item,
                        const unsigned char *bytes)
{
    const uint64_t size = item->size_bytes;

    for (uint64_t at = 0; at < size && !ferror(stdout); at += LINE_BYTES_MAX) {
        const size_t part = size - at < LINE_BYTES_MAX ? (size_t)(size - at) : LINE_BYTES_MAX;
        const size_t used = print_used_bytes(bytes + at, part);
        progress_add(&dump->progress, part);
        if (used == 0)
            continue;
        if (at > 0)
            begin_next_line(item, at);
        fputs(",\"bytes\":\"", stdout);
        dump_print_base64(stdout, bytes + at, used);
        putc('"', stdout);
    }
}

/* In a document the bytes are one string. */
static void print_bytes_whole(const struct graph_item *item, const unsigned char *bytes)
{
    fputs(",\"bytes\":\"", stdout);
    dump_print_base64(stdout, bytes, print_used_bytes(bytes, (size_t)item->size_bytes));
    putc('"', stdout);
}

/* Does some word of these bytes, read as either kind of reference, lead to something else? */
static bool seems_to_refer(const struct dump *dump, const struct graph_item *item,
                           const unsigned char *bytes)
{
    const struct graph *graph = &dump->graph;
    const hf_ref low = graph->items[0].ref;
    const struct graph_item *last = &graph->items[graph->count - 1];
    const uint64_t span = last->ref + last->size_bytes - low;

    for (uint64_t at = 0; at + sizeof(uint64_t) <= item->size_bytes; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes + at, sizeof word);
        const hf_ref relative = item->ref + at + word;
        if (word == 0)
            continue;
        if (word - low < span && graph_find(graph, word) != NULL)
            return true;
        if (relative - low < span && relative - item->ref > item->size_bytes &&
            graph_find(graph, relative) != NULL)
            return true;
    }
    return false;
}

static void note_opaque(struct dump *dump, const struct graph_item *item,
                        const unsigned char *bytes)
{
    if (item->type != 0)
        return;
    dump->opaque++;
    dump->suspicious += dump->form == FORM_LINES && seems_to_refer(dump, item, bytes);
}

static int print_object(struct dump *dump, const struct graph_item *item)
{
    const unsigned char *bytes =
        (const unsigned char *)hf_at(dump->view, item->ref - 1) + 1; /* see graph.c's ref_of */
    hf_object_info info = {.name = NULL};
    int code;

    if (item->kind == HF_KIND_NAMED) {
        code = hf_object_at(dump->view, bytes, &info);
        if (code != 0)
            return tool_fail_store(dump->tool, dump->path, code);
    }
    dump->counts[item->kind]++;
    note_opaque(dump, item, bytes);
    if (dump->form == FORM_PRETTY) {
        pretty_object(&dump->printer, item, info.name, bytes);
        return TOOL_OK;
    }
    fprintf(stdout, "{\"object\":%" PRIu64 ",\"kind\":\"%s\"", item->number,
            kind_names[item->kind]);
    if (info.name != NULL) {
        fputs(",\"name\":", stdout);
        print_text(stdout, info.name, strlen(info.name));
    }
    if (item->type != 0)
        fprintf(stdout, ",\"type\":%" PRIu32, item->type);
    fprintf(stdout, ",\"count\":%" PRIu64,
            item->type == 0 ? item->size_bytes
                            : item->size_bytes / dump->types.types[item->type - 1].info.size_bytes);
    if (item->type != 0 && dump->types.types[item->type - 1].info.ref_count > 0)
        print_elements(dump, item, bytes);
    else if (!dump->no_bytes && dump->form == FORM_DOCUMENT)
        print_bytes_whole(item, bytes);
    else if (!dump->no_bytes)
        print_bytes(dump, item, bytes);
    putc('}', stdout);
    if (dump->form == FORM_LINES)
        putc('\n', stdout);
    return TOOL_OK;
}

/* Numbers what the command line asks for. */
static int number_roots(struct dump *dump)
{
    const struct tool *tool = dump->tool;
    int code = 0;

    for (int i = 1; i < tool->operand_count; i++) {
        const void *object = hf_find(dump->view, tool->operands[i], NULL, NULL);
        if (object == NULL)
            return tool_fail_object(dump->tool, dump->path, tool->operands[i],
                                    hf_last_error()->code);
        graph_number_object(&dump->graph, object);
    }
    if (tool->operand_count == 1 || dump->prefix != NULL)
        code = graph_number_named(&dump->graph, dump->prefix);
    if (code == 0 && tool->operand_count == 1 && dump->prefix == NULL)
        code = graph_number_unique(&dump->graph);
    return code == 0 ? TOOL_OK : tool_fail_store(dump->tool, dump->path, code);
}

static int print_objects(struct dump *dump)
{
    const bool all = dump->tool->operand_count == 1 && dump->prefix == NULL;
    const bool follow = all || dump->form == FORM_LINES;
    const size_t roots = dump->graph.numbered;
    int code = TOOL_OK;

    for (size_t next = 0; code == TOOL_OK && !ferror(stdout); next++) {
        if (interrupt_pending())
            return tool_fail(dump->tool, TOOL_CANCELLED, dump->path, "interrupted");
        if (!follow && next == roots)
            break;
        if (next == dump->graph.numbered && !(all && graph_number_rest(&dump->graph)))
            break;
        if (dump->form == FORM_DOCUMENT && next > 0)
            fputs(",\n", stdout);
        if (dump->form == FORM_PRETTY && next > 0)
            putc('\n', stdout);
        code = print_object(dump, &dump->graph.items[dump->graph.order[next]]);
    }
    return code;
}

static int print_all(struct dump *dump)
{
    int code;

    if (dump->form != FORM_PRETTY)
        print_head(dump);
    if (dump->form == FORM_DOCUMENT)
        fputs(",\"types\":[\n", stdout);
    if (dump->form != FORM_PRETTY)
        print_types(dump);
    if (dump->form == FORM_DOCUMENT)
        fputs("],\"objects\":[\n", stdout);
    code = print_objects(dump);
    if (code != TOOL_OK || dump->form == FORM_PRETTY)
        return code;
    if (dump->form == FORM_DOCUMENT)
        fputs("],\"counts\":", stdout);
    print_counts(dump);
    fputs(dump->form == FORM_DOCUMENT ? "}\n" : "\n", stdout);
    return TOOL_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int read_store(struct dump *dump)
{
    int code = hf_info(dump->store, &dump->info);

    if (code == 0)
        code = dump_types_read(&dump->types, dump->view);
    if (code == 0)
        code = graph_read(&dump->graph, dump->view, &dump->types);
    if (code != 0)
        return tool_fail_store(dump->tool, dump->path, code);
    dump->printer = (struct printer){stdout, &dump->graph, &dump->types};
    return number_roots(dump);
}

static void name_pools(const struct dump *dump)
{
    hf_cursor cursor = HF_CURSOR_INIT;
    hf_object_info info;
    hf_pool_info pool;

    while (hf_next_object(dump->view, &cursor, &info) == 1)
        if (info.name != NULL && hf_pool_info_of(dump->view, hf_pool_find(dump->view, info.name),
                                                 &pool) == 0)
            tool_warn(dump->path, "left out: pool \"%s\", %" PRIu64 " nodes of %" PRIu64 " bytes",
                      info.name, pool.nodes, pool.node_bytes);
}

static int remark(const struct dump *dump, int code)
{
    if (dump->graph.left_out > 0) {
        name_pools(dump);
        tool_warn(dump->path,
                  "%" PRIu64 " pools are left out, with their nodes: they work only where they lie",
                  dump->graph.left_out);
        code = TOOL_ABSENT;
    }
    if (dump->suspicious > 0)
        tool_warn(dump->path,
                  "%" PRIu64 " of %" PRIu64 " opaque objects and blocks seem to hold references, "
                  "which mean nothing in another store",
                  dump->suspicious, dump->opaque);
    if (dump->graph.dangling > 0)
        tool_warn(dump->path, "%" PRIu64 " pointers lead nowhere", dump->graph.dangling);
    return code;
}

static int dump_run(struct tool *tool)
{
    struct dump dump = {.tool = tool, .prefix = NULL};
    const char *value;
    int id, code;

    while ((id = tool_option_next(tool, &value)) != TOOL_OPTIONS_END) {
        if (id == 'p')
            dump.prefix = value;
        else if (id == 'P')
            dump.form = FORM_PRETTY;
        else
            dump.no_bytes = true;
    }
    if (tool->stopped)
        return tool->exit_code;
    if (tool->json && dump.form == FORM_PRETTY)
        return tool_usage(tool, "--pretty and --json are two forms");
    if (tool->json)
        dump.form = FORM_DOCUMENT;
    dump.path = tool->operands[0];
    code = tool_open_view(tool, dump.path, &dump.store, &dump.view);
    if (code != TOOL_OK)
        return code;
    interrupt_catch();
    setvbuf(stdout, NULL, _IOFBF, OUT_BUFFER_SIZE);
    __fsetlocking(stdout, FSETLOCKING_BYCALLER); /* one thread, many small pieces */
    code = read_store(&dump);
    progress_begin(&dump.progress, "dumping", dump.graph.size_bytes, true,
                   !tool->quiet && dump.form == FORM_LINES && tool->operand_count == 1 &&
                       dump.prefix == NULL);
    if (code == TOOL_OK)
        code = print_all(&dump);
    progress_clear(&dump.progress);
    hf_view_end(dump.view);
    if (code == TOOL_OK)
        code = remark(&dump, code);
    graph_free(&dump.graph);
    dump_types_free(&dump.types);
    return tool_close(tool, dump.path, dump.store, code);
}

const struct tool_command command_dump = {
    .name = "dump",
    .synopsis = "[OPTION...] FILE [NAME...]",
    .summary = "Print objects with their fields, as text for load",
    .details =
        "Prints the whole store, or the objects of these names and what they refer to, as\n"
        "lines of JSON, which `holdfast load` makes a store of. With --json the same is one\n"
        "document; with --json or --pretty only the objects NAME themselves are printed.",
    .example = "  holdfast dump app.hf | zstd >app.dump.zst\n"
               "  holdfast dump --pretty app.hf lists/main",
    .options = options,
    .operands_min = 1,
    .operands_max = -1,
    .waits = true,
    .run = dump_run,
};
