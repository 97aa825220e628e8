/* SPDX-License-Identifier: MIT */
/*
 * cut_states.c - the states of a disk, counted or drawn, and made into files
 *
 * Invariants
 *   D1  choices[] has one entry for each sector, size and name with more than one possibility;
 *       possibility 0 is what is stable, number i its i-th version, oldest first
 *   D2  scratch differs from the stable content only in touched sectors and in those with a choice
 */
#include "cut_states.h"

#include "base/hash.h"
#include "store/log_format.h"

#define FILE_BYTES ((size_t)40 << 20)
#define SECTORS (FILE_BYTES / CUT_SECTOR)
#define SIZE UINT64_MAX

/* ---- following the trace --------------------------------------------------------------------- */

static void *more(void *array, uint32_t count, uint32_t *room, size_t each)
{
    if (count < *room)
        return array;
    *room = *room == 0 ? 1024 : 2 * *room;
    array = realloc(array, *room * each);
    if (array == NULL)
        exit(2);
    return array;
}

static void open_file(struct cut_disk *disk, int number, bool is_log)
{
    struct cut_disk_file *file = &disk->files[number];
    *file = (struct cut_disk_file){.is_log = is_log, .size_choice = -1};
    file->stable = calloc(1, FILE_BYTES);
    file->current = calloc(1, FILE_BYTES);
    file->choice_of = must_alloc(SECTORS * sizeof *file->choice_of);
    memset(file->choice_of, 0xff, SECTORS * sizeof *file->choice_of);
    file->touched = calloc(1, SECTORS);
    file->touched_list = must_alloc(SECTORS * sizeof *file->touched_list);
    if (file->stable == NULL || file->current == NULL || file->touched == NULL)
        exit(2);
}

static void follow_name(int names[CUT_NAMES], const struct cut_event *event)
{
    names[event->name] = event->kind == CUT_UNLINK ? -1 : event->file;
    if (event->kind == CUT_RENAME)
        names[event->from] = -1;
}

/* Which files may have a name, whatever is chosen. */
static void find_named(struct cut_disk *disk)
{
    for (int i = 0; i < CUT_FILES; i++)
        disk->files[i].named = false;
    disk->rename_pending = false;
    for (int place = 0; place < CUT_PLACES; place++)
        if (disk->stable_names[place] >= 0)
            disk->files[disk->stable_names[place]].named = true;
    for (uint32_t i = 0; i < disk->choice_count; i++) {
        if (disk->choices[i].file >= 0)
            continue;
        const struct cut_event *event =
            &disk->trace->events[disk->versions[disk->choices[i].first].event];
        if (event->name >= CUT_PLACES)
            continue;
        if (event->kind != CUT_UNLINK)
            disk->files[event->file].named = true;
        disk->rename_pending |= event->kind == CUT_RENAME && event->name == CUT_TARGET;
    }
}

void cut_disk_start(struct cut_disk *disk, const struct cut_trace *trace,
                    struct cut_scratch *scratch)
{
    *disk = (struct cut_disk){.trace = trace, .mark = trace->mark, .scratch = scratch};
    disk->version_count = 1;
    disk->versions = more(NULL, 0, &disk->version_room, sizeof *disk->versions);
    for (int name = 0; name < CUT_NAMES; name++) {
        const struct cut_start *start = &trace->starts[name];
        disk->stable_names[name] = start->file;
        if (start->file < 0)
            continue;
        open_file(disk, start->file, name == CUT_LOG0 || name == CUT_LOG1);
        struct cut_disk_file *file = &disk->files[start->file];
        memcpy(file->stable, start->bytes, start->size_bytes);
        memcpy(file->current, start->bytes, start->size_bytes);
        file->stable_bytes = file->current_bytes = start->size_bytes;
    }
    find_named(disk);
    scratch->disk = disk;
    for (int place = 0; place < CUT_PLACES; place++)
        scratch->file[place] = -1;
}

void cut_disk_end(struct cut_disk *disk)
{
    for (int i = 0; i < CUT_FILES; i++) {
        struct cut_disk_file *file = &disk->files[i];
        free(file->stable);
        free(file->current);
        free(file->choice_of);
        free(file->touched);
        free(file->touched_list);
    }
    for (uint32_t i = 0; i < disk->arena_count; i++)
        free(disk->arena[i]);
    free(disk->arena);
    free(disk->versions);
    free(disk->choices);
}

static uint32_t add_choice(struct cut_disk *disk, int file, uint64_t sector)
{
    disk->choices = more(disk->choices, disk->choice_count, &disk->choice_room,
                         sizeof *disk->choices);
    disk->choices[disk->choice_count] =
        (struct cut_choice){.file = file, .sector = sector, .count = 1};
    return disk->choice_count++;
}

static struct cut_version *add_version(struct cut_disk *disk, uint32_t choice_number)
{
    disk->versions = more(disk->versions, disk->version_count, &disk->version_room,
                          sizeof *disk->versions);
    uint32_t number = disk->version_count++;
    disk->versions[number] = (struct cut_version){.event = (uint32_t)disk->next};
    struct cut_choice *choice = &disk->choices[choice_number];
    if (choice->first == 0)
        choice->first = number;
    else
        disk->versions[choice->last].next = number;
    choice->last = number;
    choice->count++;
    choice->lost = false;
    return &disk->versions[number];
}

static void add_size(struct cut_disk *disk, int number)
{
    struct cut_disk_file *file = &disk->files[number];
    if (file->size_choice < 0)
        file->size_choice = (int32_t)add_choice(disk, number, SIZE);
    add_version(disk, (uint32_t)file->size_choice)->size_bytes = file->current_bytes;
}

static void add_sector(struct cut_disk *disk, int number, uint64_t sector)
{
    struct cut_disk_file *file = &disk->files[number];
    if (file->choice_of[sector] < 0)
        file->choice_of[sector] = (int32_t)add_choice(disk, number, sector);
    unsigned char *copy = must_alloc(CUT_SECTOR);
    memcpy(copy, file->current + sector * CUT_SECTOR, CUT_SECTOR);
    disk->arena = more(disk->arena, disk->arena_count, &disk->arena_room, sizeof *disk->arena);
    disk->arena[disk->arena_count++] = copy;
    add_version(disk, (uint32_t)file->choice_of[sector])->bytes = copy;
}

static void write_event(struct cut_disk *disk, const struct cut_event *event)
{
    struct cut_disk_file *file = &disk->files[event->file];
    const uint64_t end = event->offset + event->size_bytes;
    memcpy(file->current + event->offset, event->bytes, event->size_bytes);
    for (uint64_t at = event->offset / CUT_SECTOR; at * CUT_SECTOR < end; at++)
        add_sector(disk, event->file, at);
    if (end > file->current_bytes) {
        file->current_bytes = end;
        add_size(disk, event->file);
    }
}

static void touch(struct cut_disk_file *file, uint64_t sector)
{
    if (sector >= SECTORS || file->touched[sector])
        return;
    file->touched[sector] = 1;
    file->touched_list[file->touched_count++] = (uint32_t)sector;
}

/* What is stable becomes what is current; its choices go. */
static void sync_event(struct cut_disk *disk, int number)
{
    struct cut_disk_file *file = &disk->files[number];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < disk->choice_count; i++) {
        struct cut_choice *choice = &disk->choices[i];
        if (choice->file != number || choice->lost) {
            if (choice->file >= 0 && choice->sector != SIZE)
                disk->files[choice->file].choice_of[choice->sector] = (int32_t)kept;
            else if (choice->file >= 0)
                disk->files[choice->file].size_choice = (int32_t)kept;
            disk->choices[kept++] = *choice;
            continue;
        }
        if (choice->sector == SIZE) {
            file->stable_bytes = file->current_bytes;
            file->size_choice = -1;
            continue;
        }
        /* It reaches the disk with as much of the size as it needs, whatever sync failed before. */
        const uint64_t end = (choice->sector + 1) * CUT_SECTOR;
        const uint64_t reached = end < file->current_bytes ? end : file->current_bytes;
        if (reached > file->stable_bytes)
            file->stable_bytes = reached;
        memcpy(file->stable + choice->sector * CUT_SECTOR,
               file->current + choice->sector * CUT_SECTOR, CUT_SECTOR);
        file->choice_of[choice->sector] = -1;
        touch(file, choice->sector);
    }
    disk->choice_count = kept;
}

/* The kernel calls the pages clean, whatever became of them. */
static void sync_failed_event(struct cut_disk *disk, int number)
{
    for (uint32_t i = 0; i < disk->choice_count; i++)
        if (disk->choices[i].file == number)
            disk->choices[i].lost = true;
}

static void directory_event(struct cut_disk *disk)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < disk->choice_count; i++) {
        struct cut_choice *choice = &disk->choices[i];
        if (choice->file >= 0) {
            if (choice->sector != SIZE)
                disk->files[choice->file].choice_of[choice->sector] = (int32_t)kept;
            else
                disk->files[choice->file].size_choice = (int32_t)kept;
            disk->choices[kept++] = *choice;
            continue;
        }
        choice->chosen = 1;
        const struct cut_event *event =
            &disk->trace->events[disk->versions[choice->first].event];
        follow_name(disk->stable_names, event);
    }
    disk->choice_count = kept;
    find_named(disk);
}

bool cut_disk_step(struct cut_disk *disk)
{
    if (disk->next == disk->trace->count)
        return false;
    const struct cut_event *event = &disk->trace->events[disk->next];
    switch (event->kind) {
    case CUT_CREATE:
        open_file(disk, event->file, event->name == CUT_LOG0 || event->name == CUT_LOG1);
        /* fall through */
    case CUT_RENAME:
    case CUT_LINK:
    case CUT_UNLINK:
        add_version(disk, add_choice(disk, -1, 0));
        find_named(disk);
        break;
    case CUT_WRITE:
        write_event(disk, event);
        break;
    case CUT_SIZE:
        disk->files[event->file].current_bytes = event->size_bytes;
        add_size(disk, event->file);
        break;
    case CUT_SYNC:
        sync_event(disk, event->file);
        break;
    case CUT_SYNC_FAILED:
        sync_failed_event(disk, event->file);
        break;
    case CUT_DIRECTORY:
        directory_event(disk);
        break;
    case CUT_MARK:
        disk->mark = event->mark;
        break;
    }
    disk->next++;
    return true;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static bool may_be_garbage(const struct cut_disk *disk, const struct cut_choice *choice)
{
    return choice->file >= 0 && choice->sector != SIZE && disk->files[choice->file].is_log;
}

static uint32_t possibilities(const struct cut_disk *disk, const struct cut_choice *choice)
{
    const struct cut_event *event = &disk->trace->events[disk->versions[choice->first].event];
    if (choice->file >= 0 ? !disk->files[choice->file].named
                          : event->name >= CUT_PLACES)
        return 1; /* whatever it is, nobody sees it */
    return choice->count + (may_be_garbage(disk, choice) ? 1 : 0);
}

uint64_t cut_count(const struct cut_disk *disk, uint64_t limit)
{
    uint64_t count = 1;
    for (uint32_t i = 0; i < disk->choice_count; i++) {
        count *= possibilities(disk, &disk->choices[i]);
        if (count > limit)
            return limit + 1;
    }
    return count;
}

void cut_choose(struct cut_disk *disk, uint64_t number)
{
    for (uint32_t i = 0; i < disk->choice_count; i++) {
        uint32_t radix = possibilities(disk, &disk->choices[i]);
        disk->choices[i].chosen = (uint32_t)(number % radix);
        number /= radix;
    }
}

/* The newest version whose event is among those that a hash picks, or that came early enough. */
static uint32_t by_event(const struct cut_disk *disk, const struct cut_choice *choice,
                         uint64_t salt, bool prefix, uint32_t until)
{
    uint32_t found = 0, number = 1;
    for (uint32_t v = choice->first; v != 0; v = disk->versions[v].next, number++) {
        const uint32_t event = disk->versions[v].event;
        if (prefix ? event <= until : (mix64(salt ^ event) & 1) != 0)
            found = number;
    }
    return found;
}

static uint32_t draw_one(struct cut_disk *disk, const struct cut_choice *choice, struct rng *rng)
{
    return (uint32_t)rng_below(rng, possibilities(disk, choice));
}

enum shape { NOTHING, ALL, PREFIX, EVENTS, SECTORS_FEW, SECTORS_HALF, SECTORS_MOST, SHAPES };

static uint32_t draw_in_shape(struct cut_disk *disk, const struct cut_choice *choice,
                              enum shape shape, uint64_t salt, uint32_t until, struct rng *rng)
{
    switch (shape) {
    case NOTHING:
        return 0;
    case ALL:
        return choice->count - 1;
    case PREFIX:
        return by_event(disk, choice, salt, true, until);
    case EVENTS:
        return by_event(disk, choice, salt, false, 0);
    case SECTORS_FEW:
        return rng_below(rng, 8) == 0 ? draw_one(disk, choice, rng) : 0;
    case SECTORS_HALF:
        return draw_one(disk, choice, rng);
    default:
        return rng_below(rng, 8) == 0 ? draw_one(disk, choice, rng) : choice->count - 1;
    }
}

/* Subsets of single sectors hardly ever have a record whole and the next one not: so whole events
 * are drawn, too, for each file in a manner of its own; then a few sectors turned over. */
void cut_draw(struct cut_disk *disk, struct rng *rng, uint64_t number)
{
    enum shape shapes[CUT_FILES + 1];
    uint32_t until[CUT_FILES + 1];
    const uint64_t salt = rng_next(rng);
    const uint32_t first = disk->choice_count == 0
                               ? 0
                               : disk->versions[disk->choices[0].first].event;
    const uint32_t common = first + (uint32_t)rng_below(rng, disk->next - first + 1);
    for (int i = 0; i <= CUT_FILES; i++) {
        shapes[i] = number < 2 ? (number == 0 ? NOTHING : ALL) : (enum shape)rng_below(rng, SHAPES);
        until[i] = rng_percent(rng, 50)
                       ? common
                       : first + (uint32_t)rng_below(rng, disk->next - first + 1);
    }
    if (number >= 2 && rng_percent(rng, 20))
        for (int i = 0; i <= CUT_FILES; i++)
            shapes[i] = shapes[0];
    for (uint32_t i = 0; i < disk->choice_count; i++) {
        struct cut_choice *choice = &disk->choices[i];
        int file = choice->file < 0 ? CUT_FILES : choice->file;
        if (possibilities(disk, choice) == 1) {
            choice->chosen = 0;
            continue;
        }
        choice->chosen = draw_in_shape(disk, choice, shapes[file], salt + (uint64_t)file,
                                       until[file], rng);
    }
    for (uint64_t flips = number < 2 || disk->choice_count == 0 ? 0 : rng_below(rng, 4); flips > 0;
         flips--) {
        struct cut_choice *choice = &disk->choices[rng_below(rng, disk->choice_count)];
        choice->chosen = draw_one(disk, choice, rng);
    }
}

/* ---- a state's files ------------------------------------------------------------------------- */

static const struct cut_version *chosen_version(const struct cut_disk *disk,
                                                const struct cut_choice *choice)
{
    uint32_t v = choice->first;
    for (uint32_t i = 1; i < choice->chosen; i++)
        v = disk->versions[v].next;
    return &disk->versions[v];
}

static void names_of(const struct cut_disk *disk, int names[CUT_NAMES])
{
    memcpy(names, disk->stable_names, sizeof disk->stable_names);
    for (uint32_t i = 0; i < disk->choice_count; i++) {
        const struct cut_choice *choice = &disk->choices[i];
        if (choice->file >= 0 || choice->chosen == 0)
            continue;
        const struct cut_event *event =
            &disk->trace->events[disk->versions[choice->first].event];
        follow_name(names, event);
    }
}

static uint64_t size_of(const struct cut_disk *disk, const struct cut_disk_file *file)
{
    if (file->size_choice < 0)
        return file->stable_bytes;
    const struct cut_choice *choice = &disk->choices[file->size_choice];
    return choice->chosen == 0 ? file->stable_bytes : chosen_version(disk, choice)->size_bytes;
}

static const unsigned char *content_of(const struct cut_disk *disk, const struct cut_disk_file *file,
                                       uint64_t sector)
{
    static unsigned char garbage[CUT_SECTOR];
    const int32_t number = file->choice_of[sector];
    if (number < 0 || disk->choices[number].chosen == 0)
        return file->stable + sector * CUT_SECTOR;
    const struct cut_choice *choice = &disk->choices[number];
    if (choice->chosen < choice->count)
        return chosen_version(disk, choice)->bytes;
    content_fill(garbage, sizeof garbage, sector);
    return garbage;
}

static void put_sector(struct cut_disk *disk, const struct cut_disk_file *file, unsigned char *map,
                       uint64_t sector, uint64_t size_bytes)
{
    if (sector * CUT_SECTOR >= size_bytes)
        return;
    const unsigned char *want = content_of(disk, file, sector);
    unsigned char *have = map + sector * CUT_SECTOR;
    const uint64_t left = size_bytes - sector * CUT_SECTOR;
    const size_t n = left < CUT_SECTOR ? (size_t)left : CUT_SECTOR;
    if (memcmp(have, want, n) != 0)
        memcpy(have, want, n);
}

static void put_file(struct cut_disk *disk, int place, int number)
{
    struct cut_scratch *scratch = disk->scratch;
    struct cut_disk_file *file = &disk->files[number];
    const uint64_t size = size_of(disk, file);
    struct stat st;
    uint64_t from = UINT64_MAX;
    if (fstat(scratch->fds[place], &st) != 0)
        exit(2);
    if ((uint64_t)st.st_size != size) {
        if (ftruncate(scratch->fds[place], (off_t)size) != 0)
            exit(2);
        if ((uint64_t)st.st_size < size)
            from = (uint64_t)st.st_size / CUT_SECTOR;
    }
    if (scratch->file[place] != number)
        from = 0;
    scratch->file[place] = number;
    for (uint32_t i = 0; i < file->touched_count; i++) {
        file->touched[file->touched_list[i]] = 0;
        put_sector(disk, file, scratch->maps[place], file->touched_list[i], size);
    }
    file->touched_count = 0;
    for (; from < UINT64_MAX && from * CUT_SECTOR < size; from++)
        put_sector(disk, file, scratch->maps[place], from, size);
}

uint64_t cut_content(const struct cut_disk *disk, enum cut_name place)
{
    const struct cut_disk_file *file = &disk->files[disk->scratch->file[place]];
    const uint64_t size = size_of(disk, file);
    return hf__hash(disk->scratch->maps[place], (size_t)size, size);
}

bool cut_put(struct cut_disk *disk)
{
    struct cut_scratch *scratch = disk->scratch;
    int names[CUT_NAMES];
    names_of(disk, names);
    for (int place = 0; place < CUT_PLACES; place++) {
        scratch->present[place] = names[place] >= 0;
        if (names[place] >= 0)
            put_file(disk, place, names[place]);
    }
    for (uint32_t i = 0; i < disk->choice_count; i++) {
        const struct cut_choice *choice = &disk->choices[i];
        if (choice->file < 0 || choice->sector == SIZE)
            continue;
        struct cut_disk_file *file = &disk->files[choice->file];
        for (int place = 0; place < CUT_PLACES; place++)
            if (names[place] == choice->file)
                put_sector(disk, file, scratch->maps[place], choice->sector, size_of(disk, file));
    }
    return scratch->present[CUT_DATA];
}

static bool whole(const struct cut_disk *disk, const struct cut_event *event)
{
    const struct cut_disk_file *file = &disk->files[event->file];
    const uint64_t end = event->offset + event->size_bytes;
    for (uint64_t at = event->offset; at < end;) {
        uint64_t sector = at / CUT_SECTOR, stop = (sector + 1) * CUT_SECTOR;
        if (stop > end)
            stop = end;
        if (memcmp(content_of(disk, file, sector) + at % CUT_SECTOR,
                   event->bytes + (at - event->offset), stop - at) != 0)
            return false;
        at = stop;
    }
    return true;
}

bool cut_later_record_alone(const struct cut_disk *disk)
{
    bool torn = false;
    int in = -1;
    for (size_t i = disk->next; i-- > 0;) {
        const struct cut_event *event = &disk->trace->events[i];
        if (event->kind == CUT_SYNC && event->file == in)
            return false;
        if (event->kind != CUT_WRITE || !disk->files[event->file].is_log ||
            event->size_bytes < sizeof(struct hf__record))
            continue;
        const struct hf__record *record = (const struct hf__record *)(const void *)event->bytes;
        if (record->magic != HF__RECORD_MAGIC)
            continue;
        if (in >= 0 && event->file != in)
            return false;
        in = event->file;
        if (whole(disk, event))
            torn = true; /* a later one stands */
        else if (torn)
            return true;
    }
    return false;
}
