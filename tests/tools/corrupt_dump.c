/* SPDX-License-Identifier: MIT */
/*
 * corrupt_dump.c - damaged dumps are refused with the line, or loaded into a sound store
 *
 * load never dies of a signal. What it refuses leaves no file behind, and its message names a line
 * (or says that this is no dump). Every cut before the last line is refused: nobody takes half a
 * dump for a whole one.
 */
#include "tests/tools/dump_graph.h"

static void write_file(const char *path, const char *text, size_t size_bytes)
{
    FILE *file = fopen(path, "we");
    if (file == NULL || fwrite(text, 1, size_bytes, file) != size_bytes || fclose(file) != 0)
        exit(2);
}

/* The start of a random line, and its length with the newline. */
static size_t random_line(struct rng *rng, const char *text, size_t size_bytes, size_t *length)
{
    size_t at = (size_t)rng_below(rng, size_bytes);
    while (at > 0 && text[at - 1] != '\n')
        at--;
    const char *end = memchr(text + at, '\n', size_bytes - at);
    *length = end == NULL ? size_bytes - at : (size_t)(end - text) + 1 - at;
    return at;
}

/* Changes the text in place (there is room for twice its size); returns the new size. */
static size_t damage(struct rng *rng, char *text, size_t size_bytes)
{
    static const char marks[] = "{}[]\",:0123456789\\ne-tr\xff";
    size_t at = (size_t)rng_below(rng, size_bytes), length, line;
    switch (rng_below(rng, 7)) {
    case 0: /* a cut */
        return at;
    case 1:
        text[at] = (char)rng_next(rng);
        return size_bytes;
    case 2:
        text[at] = marks[rng_below(rng, sizeof marks - 1)];
        return size_bytes;
    case 3: /* a line less */
        line = random_line(rng, text, size_bytes, &length);
        memmove(text + line, text + line + length, size_bytes - line - length);
        return size_bytes - length;
    case 4: /* a line twice */
        line = random_line(rng, text, size_bytes, &length);
        memmove(text + line + length, text + line, size_bytes - line);
        return size_bytes + length;
    case 5: /* some bytes less */
        length = 1 + (size_t)rng_below(rng, size_bytes - at < 8 ? size_bytes - at : 8);
        length = length > size_bytes - at ? size_bytes - at : length;
        memmove(text + at, text + at + length, size_bytes - at - length);
        return size_bytes - length;
    default: /* another digit, somewhere behind a colon */
        for (size_t tries = 0; tries < 1000; tries++, at = (size_t)rng_below(rng, size_bytes)) {
            if (at > 0 && text[at - 1] == ':' && text[at] >= '0' && text[at] <= '9') {
                text[at] = (char)('0' + rng_below(rng, 10));
                break;
            }
        }
        return size_bytes;
    }
}

static bool file_says(const char *path, const char *what)
{
    size_t size;
    char *text = dump_graph_read(path, &size);
    bool found = strstr(text, what) != NULL;
    free(text);
    return found;
}

/* Loads bad.dump; 0 if it was taken. */
static int check(struct campaign *c, const char *what, uint64_t round)
{
    int code = dump_graph_run("load --quiet --max-size 64M bad.hf bad.dump >out 2>err");
    if (code == 0) {
        campaign_expect(c, dump_graph_run("fsck --quiet --no-pointers bad.hf >out") == 0, "%s %llu: fsck", what,
                        (unsigned long long)round);
        hf_remove("bad.hf");
        return code;
    }
    campaign_expect(c, code == 3 || code == 4 || code == 6, "%s %llu: exit code %d", what,
                    (unsigned long long)round, code);
    campaign_expect(c,
                    file_says("err", "line ") || file_says("err", "is no dump") ||
                        file_says("err", "is a dump of form"),
                    "%s %llu: the message names no line", what, (unsigned long long)round);
    campaign_expect(c, access("bad.hf", F_OK) != 0 && system("ls bad.hf* >out 2>&1") != 0,
                    "%s %llu: something is left behind", what, (unsigned long long)round);
    return code;
}

int main(void)
{
    hf_options options = HF_OPTIONS_INIT;
    struct campaign c;
    struct rng rng;
    size_t size_bytes;
    uint64_t refused = 0, count;
    campaign_start(&c, "damaged dumps");
    rng = (struct rng){c.seed};
    options.mode = HF_CREATE_NEW;
    dump_graph_make("a.hf", &options, &rng, 24);
    if (dump_graph_run("dump --quiet a.hf >a.dump 2>err") != 0)
        return 2;
    char *text = dump_graph_read("a.dump", &size_bytes), *copy = must_alloc(2 * size_bytes + 1);
    count = campaign_count(&c, 150);
    for (uint64_t i = 0; i < count; i++) {
        size_t size = size_bytes;
        memcpy(copy, text, size_bytes);
        for (uint64_t k = 0; k <= rng_below(&rng, 2) && size > 0 && size <= size_bytes; k++)
            size = damage(&rng, copy, size);
        write_file("bad.dump", copy, size);
        refused += check(&c, "round", i) != 0;
    }
    campaign_expect(&c, refused > count / 3, "only %llu of %llu were refused",
                    (unsigned long long)refused, (unsigned long long)count);
    for (uint64_t i = 0; i < count / 6; i++) {
        size_t cut = (size_t)rng_below(&rng, size_bytes - 2);
        write_file("bad.dump", text, cut);
        campaign_expect(&c, check(&c, "cut", i) != 0, "a cut after %zu of %zu bytes was taken", cut,
                        size_bytes);
    }
    free(text);
    free(copy);
    return campaign_end(&c);
}
