/* SPDX-License-Identifier: MIT */
/*
 * ex_shared_memory - two processes and a store in shared memory
 *
 * Shared memory is a file on tmpfs. Both processes have it open at the same time; the parent writes
 * a question, the child finds it and writes the answer. Should one of them die in the middle of a
 * transaction, the other would find the state before it.
 */
#include "example.h"

#include <sys/wait.h>
#include <unistd.h>

struct mailbox {
    int64_t question, answer;
    int64_t answered_by; /* a process id */
};
static const hf_type mailbox_type = {"mailbox", 1, sizeof(struct mailbox), 8, HF_TYPE_BLOB, NULL, 0};

static int answer(const char *path)
{
    hf_store *store;
    hf_txn *txn;
    hf_options options = HF_OPTIONS_INIT;
    options.mode = HF_OPEN_EXISTING;
    check(hf_open(path, &options, &store) == 0, "the child opens the store by its name");
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    const struct mailbox *seen = hf_find(hf_txn_view(txn), "mailbox", &mailbox_type, NULL);
    check(seen != NULL, "the child finds the mailbox");
    struct mailbox *box = hf_edit(txn, seen, sizeof *seen);
    check(box != NULL, "the change is announced");
    box->answer = box->question * 2;
    box->answered_by = getpid();
    check(hf_commit(txn) == 0, "it commits");
    check(hf_close(store) == 0, "the child closes");
    return 0;
}

int main(void)
{
    char path[64];
    int have_shm = access("/dev/shm", W_OK) == 0;
    snprintf(path, sizeof path, "%s/ex_shared_memory.%ld.hf", have_shm ? "/dev/shm" : ".",
             (long)getpid());
    hf_store *store;
    hf_txn *txn;
    hf_view *view;
    hf_remove(path);
    check(hf_open(path, NULL, &store) == 0, "the parent makes the store");
    check(hf_begin(store, &txn) == 0, "a transaction begins");
    struct mailbox *box = hf_construct(txn, "mailbox", &mailbox_type, 1);
    check(box != NULL, "a mailbox is made");
    box->question = 21;
    check(hf_commit(txn) == 0, "it commits");

    pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
        hf_close(store); /* the parent's handle is of no use here */
        _exit(answer(path));
    }
    int status = -1;
    check(waitpid(child, &status, 0) == child && status == 0, "the child did its part");

    check(hf_view_begin(store, &view) == 0, "a view begins");
    const struct mailbox *seen = hf_find(view, "mailbox", &mailbox_type, NULL);
    check(seen != NULL && seen->answer == 42, "the parent sees the answer");
    check(seen->answered_by == child, "it is the child's");
    printf("the parent asked %" PRId64 ", another process answered %" PRId64 "\n", seen->question,
           seen->answer);
    hf_view_end(view);
    check(hf_close(store) == 0, "it closes");
    check(hf_remove(path) == 0, "the store is removed");
    return 0;
}
