/* SPDX-License-Identifier: MIT */
/*
 * counted_store.h - a store whose content is a number, for tests that kill or fail at each call
 *
 * Transaction k writes k into the first and the last of its objects and makes the one in the middle
 * anew, so that a view shows either one k or half a transaction. A ledger outside the store, shared
 * between processes, keeps the k that was begun last and the one that was acknowledged last. The
 * files a test begins with are kept in memory and put back for each of its runs.
 */
#ifndef HF_TESTS_SUPPORT_COUNTED_STORE_H
#define HF_TESTS_SUPPORT_COUNTED_STORE_H

#include "holdfast.h"
#include "tests/support/campaign.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { PATH_BYTES = 512 };

/* Outside the store: what the victim had begun and what it was told had succeeded. */
struct ledger {
    uint64_t attempted, acknowledged;
    int stage, told; /* of a bystander */
    uint64_t worked, troubles; /* of a workload: acknowledged, and calls that reported an error */
    char message[700];
};
static struct ledger *ledger; /* a page shared by the processes of a test */
static char directory[PATH_BYTES], path[2 * PATH_BYTES], copy_path[2 * PATH_BYTES];

/* A page that forked children share. */
static inline void *share(void)
{
    void *at = mmap(NULL, sizeof(struct ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                    -1, 0);
    if (at == MAP_FAILED)
        exit(2);
    return at;
}

/* Where the files go: memory if there is such a file system; no test depends on the disk. */
static inline bool choose_directory(void)
{
    const char *parent =
        getenv("HF_TEST_DIR") == NULL && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NULL;
    if (!campaign_directory(parent, directory, sizeof directory))
        return false;
    snprintf(path, sizeof path, "%s/s.hf", directory);
    snprintf(copy_path, sizeof copy_path, "%s/copy.hf", directory);
    return true;
}

static inline void remove_directory(void)
{
    char command[2 * PATH_BYTES];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    if (system(command) != 0)
        printf("%s stays\n", directory);
}

static uint32_t counted_engine = HF_ENGINE_DIRECT;

static inline hf_options counted_options(uint32_t mode, int64_t timeout_ms)
{
    hf_options options = HF_OPTIONS_INIT;
    options.mode = mode;
    options.engine = counted_engine;
    options.size_initial_bytes = 64 << 10;
    options.size_max_bytes = 64 << 20;
    options.lock_timeout_ms = timeout_ms;
    return options;
}

/* ---- what is in the store ------------------------------------------------------------------ */

static const hf_type k_type = {.name = "k", .version = 1, .size_bytes = 64, .align_bytes = 8};

/* A place to be stopped at where the library itself makes no call. */
static inline void breathe(void)
{
    syscall(SYS_getppid);
}

static inline bool write_k(hf_txn *txn, const char *name, uint64_t k)
{
    uint64_t *value = hf_find_or_construct(txn, name, &k_type, 1, NULL);
    if (value == NULL || (value = hf_edit(txn, value, 64)) == NULL)
        return false;
    for (int i = 0; i < 8; i++)
        value[i] = k;
    breathe();
    return true;
}

/* What transaction k does: first and last object get k; the one between and a block come and go. */
static inline bool write_all(hf_txn *txn, uint64_t k, uint64_t grow_bytes)
{
    void *block;
    if (!write_k(txn, "a-head", k) || (block = hf_alloc(txn, 100)) == NULL ||
        (grow_bytes != 0 && hf_alloc(txn, grow_bytes) == NULL))
        return false;
    breathe();
    hf_free(txn, block);
    if (!write_k(txn, k % 2 == 0 ? "m-even" : "m-odd", k))
        return false;
    int code = hf_destroy(txn, k % 2 == 0 ? "m-odd" : "m-even");
    breathe();
    return (code == 0 || code == HF_ENOTFOUND) && write_k(txn, "z-tail", k);
}

/* The k that a view shows, UINT64_MAX if it shows no commit's state. */
static inline uint64_t k_seen(hf_store *store, char *why, size_t why_bytes)
{
    hf_view *view;
    size_t count;
    if (hf_view_begin(store, &view) != 0) {
        snprintf(why, why_bytes, "hf_view_begin: %s", hf_last_error()->message);
        return UINT64_MAX;
    }
    const uint64_t *head = hf_find(view, "a-head", &k_type, &count);
    const uint64_t *tail = hf_find(view, "z-tail", &k_type, &count);
    uint64_t k = head == NULL ? 0 : head[0];
    const uint64_t *middle = hf_find(view, k % 2 == 0 ? "m-even" : "m-odd", &k_type, &count);
    bool whole = (head == NULL) == (tail == NULL);
    for (int i = 0; whole && head != NULL && i < 8; i++)
        whole = head[i] == k && tail[i] == k && middle != NULL && middle[i] == k;
    if (!whole)
        snprintf(why, why_bytes, "half a transaction: head %llu, tail %llu", (unsigned long long)k,
                 (unsigned long long)(tail == NULL ? 0 : tail[0]));
    hf_view_end(view);
    return whole ? k : UINT64_MAX;
}

static inline bool k_allowed(uint64_t k)
{
    return k != UINT64_MAX && k >= ledger->acknowledged && k <= ledger->attempted;
}

/* Looks at the store through a handle; false with a message if it isn't right. */
static inline bool look(hf_store *store, const char *who)
{
    char why[600] = "";
    uint64_t k = k_seen(store, why, sizeof why);
    if (k_allowed(k) && hf_check_sanity(store, NULL, NULL) == 0)
        return true;
    if (k_allowed(k))
        snprintf(why, sizeof why, "%s", hf_last_error()->message);
    snprintf(ledger->message, sizeof ledger->message, "%s: k %llu, not in %llu..%llu %s", who,
             (unsigned long long)k, (unsigned long long)ledger->acknowledged,
             (unsigned long long)ledger->attempted, why);
    return false;
}

/* ---- files --------------------------------------------------------------------------------- */

/* The files a scenario begins with, in memory. */
enum { IMAGE_FILES = 5 };
struct image {
    unsigned char *bytes[IMAGE_FILES]; /* NULL = not there */
    size_t sizes[IMAGE_FILES];
};
static const char *const suffixes[IMAGE_FILES] = {"", "-lock", "-undo", "-log0", "-log1"};

static inline bool copy_in(const char *name, unsigned char **bytes, size_t *size)
{
    struct stat st;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    *bytes = NULL;
    if (fd < 0)
        return errno == ENOENT;
    bool ok = fstat(fd, &st) == 0;
    if (ok) {
        *size = (size_t)st.st_size;
        *bytes = must_alloc(*size);
        ok = read(fd, *bytes, *size) == (ssize_t)*size;
    }
    close(fd);
    return ok;
}

static inline bool image_take(struct image *image)
{
    char name[3 * PATH_BYTES];
    bool ok = true;
    for (int i = 0; i < IMAGE_FILES; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        ok = copy_in(name, &image->bytes[i], &image->sizes[i]) && ok;
    }
    return ok;
}

static inline void image_free(struct image *image)
{
    for (int i = 0; i < IMAGE_FILES; i++)
        free(image->bytes[i]);
    *image = (struct image){{NULL}, {0}};
}

/* Everything in the directory; spare tells whether spare names (NAME.new-...) count. */
static inline unsigned files_left(bool remove, bool spare)
{
    unsigned count = 0;
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char name[3 * PATH_BYTES];
        if (entry->d_name[0] == '.' || (!spare && strstr(entry->d_name, ".new-") != NULL))
            continue;
        snprintf(name, sizeof name, "%s/%s", directory, entry->d_name);
        if (remove)
            unlink(name);
        count++;
    }
    if (dir != NULL)
        closedir(dir);
    return count;
}

static inline bool image_put(const struct image *image)
{
    char name[3 * PATH_BYTES];
    bool ok = true;
    files_left(true, true);
    for (int i = 0; i < IMAGE_FILES; i++) {
        if (image->bytes[i] == NULL)
            continue;
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        ok = fd >= 0 && write(fd, image->bytes[i], image->sizes[i]) == (ssize_t)image->sizes[i] &&
             ok;
        if (fd >= 0)
            close(fd);
    }
    return ok;
}

#endif
