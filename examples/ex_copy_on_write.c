/* SPDX-License-Identifier: MIT */
/*
 * ex_copy_on_write - trying changes without touching the file
 *
 * A copy-on-write handle has the whole API, but what it changes stays in the process's memory until
 * it is saved under another name. While it is open it keeps writers out, so that the file does not
 * change under the private pages.
 */
#include "example.h"

#include <sys/wait.h>
#include <unistd.h>

#define PATH "ex_copy_on_write.hf"
#define SAVED "ex_copy_on_write_saved.hf"

static const hf_type price_type = {"price", 1, sizeof(int64_t), 8, HF_TYPE_BLOB, NULL, 0};

static hf_store *open_as(const char *path, uint32_t mode)
{
    hf_options options = HF_OPTIONS_INIT;
    hf_store *store;
    options.mode = mode;
    check(hf_open(path, &options, &store) == 0, "the store opens");
    return store;
}

static void set_price(hf_store *store, int64_t value)
{
    hf_txn *txn;
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    int64_t *price = hf_find_or_construct(txn, "tea", &price_type, 1, NULL);
    check(price != NULL, "the price is there or made");
    *price = value;
    check(hf_commit(txn) == 0, "it commits");
}

static int64_t get_price(hf_store *store)
{
    hf_view *view;
    check(hf_view_begin(store, &view) == 0, "a view begins");
    const int64_t *price = hf_find(view, "tea", &price_type, NULL);
    check(price != NULL, "the price is there");
    int64_t value = *price;
    hf_view_end(view);
    return value;
}

/* What another process meets that wants to write meanwhile. */
static int code_of_a_writer(void)
{
    pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
        hf_options options = HF_OPTIONS_INIT;
        hf_store *store;
        options.lock_timeout_ms = -1; /* do not wait */
        _exit(-hf_open(PATH, &options, &store));
    }
    int status = 0;
    check(waitpid(child, &status, 0) == child && WIFEXITED(status), "the child ends");
    return -WEXITSTATUS(status);
}

int main(void)
{
    hf_remove(PATH);
    hf_remove(SAVED);
    hf_store *store = open_as(PATH, HF_CREATE_NEW);
    set_price(store, 3);
    check(hf_close(store) == 0, "it closes");

    store = open_as(PATH, HF_COPY_ON_WRITE);
    set_price(store, 99);
    uint64_t dirty = 0;
    check(hf_dirty_bytes(store, &dirty) == 0 && dirty > 0, "private pages are counted");
    printf("copy on write: the price of tea is %" PRId64 ", %" PRIu64 " bytes are private\n",
           get_price(store), dirty);
    check(get_price(store) == 99, "the handle sees its own change");
    int code = code_of_a_writer();
    printf("a writer that comes meanwhile gets %s\n", hf_error_name(code));
    check(code == HF_EBUSY, "a writer is kept out");
    check(hf_save_as(store, SAVED, 0) == 0, "the changed state is saved as a new store");
    check(hf_close(store) == 0, "it closes");

    store = open_as(PATH, HF_READ_ONLY);
    hf_txn *txn;
    check(hf_begin(store, &txn) == HF_EREADONLY, "a read-only handle has no transactions");
    check(get_price(store) == 3, "the file was never touched");
    printf("read-only: in the file it is still %" PRId64 "\n", get_price(store));
    check(hf_close(store) == 0, "it closes");

    store = open_as(SAVED, HF_READ_ONLY);
    check(get_price(store) == 99, "the saved one has the change");
    printf("read-only: in the saved copy it is %" PRId64 "\n", get_price(store));
    check(hf_close(store) == 0, "it closes");
    check(hf_remove(PATH) == 0 && hf_remove(SAVED) == 0, "both are removed");
    return 0;
}
