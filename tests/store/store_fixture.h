/* SPDX-License-Identifier: MIT */
/*
 * store_fixture.h - what the tests of the store's public API share
 *
 * Places for files, asserts that show hf_last_error, the matrix of backings, allocators and indexes
 * that conformance cases run on, and children: processes that run one function and talk with the
 * test through pipes, so that who does what when is decided by the test and not by the clock.
 */
#ifndef HF_TESTS_STORE_FIXTURE_H
#define HF_TESTS_STORE_FIXTURE_H

#include <holdfast.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

/* ---- asserts --------------------------------------------------------------------------------- */

/* The expression's code is the wanted one; if not, it is named together with the last error. */
void fixture_assert_code(int code, int wanted, const char *what, const char *file, int line);
/* The pointer is NULL and the last error has this code. */
void fixture_assert_null(const void *p, int wanted, const char *what, const char *file, int line);
void fixture_assert_got(const void *p, const char *what, const char *file, int line);

#define assert_code(expression, wanted)                                                            \
    fixture_assert_code((expression), (wanted), #expression, __FILE__, __LINE__)
#define assert_ok(expression) assert_code(expression, 0)
#define assert_fails(expression, wanted)                                                           \
    fixture_assert_null((expression), (wanted), #expression, __FILE__, __LINE__)
#define assert_got(expression) fixture_assert_got((expression), #expression, __FILE__, __LINE__)

/* ---- files ----------------------------------------------------------------------------------- */

#define PATH_BYTES 512

/* A directory of this test program alone, made at the first call and removed at exit: on the disk
 * (HF_TEST_DIR, else TMPDIR, else /tmp), and in shared memory (NULL where there is none). */
const char *fixture_disk_directory(void);
const char *fixture_shm_directory(void);
/* directory/name, where nothing of that name or its sidecars exists any more. */
const char *fixture_path(char out[PATH_BYTES], const char *directory, const char *name);
bool fixture_exists(const char *path);
/* NAME-lock, NAME-undo, NAME-log0 or NAME-log1. */
bool fixture_sidecar_exists(const char *path, const char *suffix);
bool fixture_any_sidecar_exists(const char *path);
uint64_t fixture_file_bytes(const char *path);
/* Does the file hold these bytes anywhere? */
bool fixture_file_contains(const char *path, const void *needle, size_t size_bytes);
void fixture_copy_file(const char *from, const char *to);
void fixture_patch(const char *path, uint64_t offset, const void *bytes, size_t size_bytes);

/* ---- small stores ---------------------------------------------------------------------------- */

/* A type of 8 bytes that most tests use. */
extern const hf_type value_type;

/* The engine of the stores that fixture_open makes: HF_ENGINE_LOG unless a test says otherwise. */
extern uint32_t fixture_engine;
/* Its sidecar, once a transaction has begun: "-log0" or "-undo". */
const char *fixture_journal(void);

/* An open that doesn't wait; asserts success. */
/* For a set-up: a heap store of so many bytes with a transaction begun, and its view. Not 0: it failed. */
int fixture_begin_on_heap(size_t size_bytes, hf_store **store, hf_txn **txn, hf_view **view);
hf_store *fixture_open(const char *path, uint32_t mode);
/* The same call, giving the code; an unexpected store is closed again. */
int fixture_open_code(const char *path, uint32_t mode);
void fixture_create(const char *path);                          /* and closes */
void fixture_set(hf_store *store, const char *name, int64_t value); /* a transaction of its own */
/* The value of that name, or INT64_MIN if there is none. */
int64_t fixture_get(hf_store *store, const char *name);
void fixture_assert_sound(hf_store *store);                     /* hf_check_sanity is clean */

/* ---- children -------------------------------------------------------------------------------- */

struct child {
    pid_t pid;
    int to_child, from_child; /* the parent's ends; in the child itself its own ends */
};

typedef void (*child_fn)(struct child *self, void *argument);

/* Forks: runs fn(self, argument) and exits 0. A child that wants to complain uses child_expect. */
struct child child_start(child_fn fn, void *argument);
/* One byte to the other side; waits for one byte (false: the other side is gone). */
void child_signal(struct child *child);
bool child_wait(struct child *child);
/* Waits for its end and asserts that it exited 0. */
void child_join(struct child *child);
/* The same for one that dies of a signal. */
void child_join_killed(struct child *child, int signal_number);
/* Waits for its end, whatever that is, and returns its status. */
int child_end(struct child *child);
void child_run(child_fn fn, void *argument);

void child_expect_at(bool holds, const char *what, const char *file, int line);
#define child_expect(condition) child_expect_at((condition), #condition, __FILE__, __LINE__)

/* Gives root's rights up, so that file permissions count. False if that isn't possible. */
bool child_become_nobody(void);

/* ---- the matrix ------------------------------------------------------------------------------ */

enum { BACKING_FILE, BACKING_FILE_DIRECT, BACKING_SHM, BACKING_HEAP, BACKING_BUFFER, BACKING_COUNT };

struct fixture {
    uint32_t backing, allocator, index;
    uint32_t engine;       /* as hf_info must tell it                                           */
    hf_store *store;
    char path[PATH_BYTES]; /* file and shm */
    unsigned char *buffer; /* buffer */
    size_t buffer_bytes;
    bool has_file;         /* file and shm */
    bool ordered;          /* names come in order */
};

#define FIXTURE_SIZE_INITIAL ((size_t)512 << 10)
#define FIXTURE_SIZE_MAX ((size_t)16 << 20)
#define FIXTURE_BUFFER_BYTES ((size_t)2 << 20)

struct fixture_case {
    const char *name;
    void (*run)(struct fixture *f);
    bool null_index_too; /* is there anything in it that works without names? */
};

/* Runs every case on every combination; HF_TEST_ONLY (a part of a test's name) selects. Returns
 * cmocka's number of failures. After each case the store must be sound. */
int fixture_run_matrix(const char *group, const struct fixture_case *cases, size_t count);

/* Closes and opens again where that keeps the content (not on the heap). */
void fixture_reopen(struct fixture *f);
hf_options fixture_options(const struct fixture *f);

hf_txn *fixture_begin(struct fixture *f);
hf_view *fixture_view(struct fixture *f);
hf_store_info fixture_info(struct fixture *f);
/* Everything that a failed call must leave alone. */
void fixture_assert_unchanged(struct fixture *f, const hf_store_info *before);

#endif
