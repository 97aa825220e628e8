/* SPDX-License-Identifier: MIT */
/* kv_sqlite.c - SQLite: one table of keys and values without rowids, statements prepared once, a page
 * cache of 256 MiB, write-ahead log. VARIANT is what a commit waits for: "full" (it is durable),
 * "normal" (nothing is torn, but the last commits may be gone after a power cut), "off". */
#include <sqlite3.h>

#include "bench.h"

enum { PUT, UPDATE, DELETE, GET, BEGIN, COMMIT, STATEMENTS };

static const char *const statement_text[STATEMENTS] = {
    [PUT] = "INSERT INTO kv VALUES(?1, ?2)",
    [UPDATE] = "UPDATE kv SET v = ?2 WHERE k = ?1",
    [DELETE] = "DELETE FROM kv WHERE k = ?1",
    [GET] = "SELECT v FROM kv WHERE k = ?1",
    [BEGIN] = "BEGIN",
    [COMMIT] = "COMMIT",
};

struct kv_reader { /* a connection, which one thread uses */
    sqlite3 *db;
    sqlite3_stmt *statement[STATEMENTS];
    int lent; /* to the thread that opened the store */
};
struct kv {
    struct kv_reader own;
    pthread_t thread;
    char dir[4096], variant[16];
};

static void must_do(struct kv_reader *c, int holds)
{
    if (!holds)
        give_up(sqlite3_errmsg(c->db));
}

static void execute(struct kv_reader *c, const char *text)
{
    must_do(c, sqlite3_exec(c->db, text, NULL, NULL, NULL) == SQLITE_OK);
}

static void connect_to(struct kv_reader *c, const char *dir, const char *variant, int create)
{
    char text[4200];
    snprintf(text, sizeof text, "%s/sqlite.db", dir);
    must_do(c, sqlite3_open(text, &c->db) == SQLITE_OK);
    execute(c, "PRAGMA cache_size = -262144");
    execute(c, "PRAGMA journal_mode = WAL");
    snprintf(text, sizeof text, "PRAGMA synchronous = %s", variant);
    execute(c, text);
    if (create)
        execute(c, "CREATE TABLE kv(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID");
    for (int i = 0; i < STATEMENTS; i++)
        must_do(c, sqlite3_prepare_v2(c->db, statement_text[i], -1, &c->statement[i], NULL) ==
                       SQLITE_OK);
}

static void disconnect(struct kv_reader *c)
{
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(c->statement[i]);
    must_do(c, sqlite3_close(c->db) == SQLITE_OK);
}

/* A statement that returns no row. */
static inline int step(struct kv_reader *c, int which)
{
    int code = sqlite3_step(c->statement[which]);
    sqlite3_reset(c->statement[which]);
    return code == SQLITE_DONE ? 0 : code;
}

static inline void bind(struct kv_reader *c, int which, int at, const void *bytes,
                        size_t size_bytes)
{
    sqlite3_bind_blob(c->statement[which], at, bytes, (int)size_bytes, SQLITE_STATIC);
}

static struct kv *kv_open(const char *dir, const char *variant, int create, uint64_t count,
                          size_t value_bytes)
{
    struct kv *kv = (struct kv *)must_alloc(sizeof *kv);
    (void)count;
    (void)value_bytes;
    snprintf(kv->dir, sizeof kv->dir, "%s", dir);
    snprintf(kv->variant, sizeof kv->variant, "%s", variant);
    kv->thread = pthread_self();
    connect_to(&kv->own, dir, variant, create);
    return kv;
}

static void kv_close(struct kv *kv)
{
    disconnect(&kv->own);
    free(kv);
}

static inline void kv_write_begin(struct kv *kv)
{
    must_do(&kv->own, step(&kv->own, BEGIN) == 0);
}

static inline void kv_write_commit(struct kv *kv)
{
    must_do(&kv->own, step(&kv->own, COMMIT) == 0);
}

static inline int kv_put(struct kv *kv, const char *key, size_t key_bytes, const void *value,
                         size_t value_bytes)
{
    bind(&kv->own, PUT, 1, key, key_bytes);
    bind(&kv->own, PUT, 2, value, value_bytes);
    return step(&kv->own, PUT);
}

static inline int kv_update(struct kv *kv, const char *key, size_t key_bytes, const void *value,
                            size_t value_bytes)
{
    bind(&kv->own, UPDATE, 1, key, key_bytes);
    bind(&kv->own, UPDATE, 2, value, value_bytes);
    return step(&kv->own, UPDATE) != 0 || sqlite3_changes(kv->own.db) != 1;
}

static inline int kv_delete(struct kv *kv, const char *key, size_t key_bytes)
{
    bind(&kv->own, DELETE, 1, key, key_bytes);
    return step(&kv->own, DELETE) != 0 || sqlite3_changes(kv->own.db) != 1;
}

/* A thread that didn't open the store reads through a connection of its own. */
static inline struct kv_reader *kv_read_begin(struct kv *kv)
{
    struct kv_reader *reader = &kv->own;
    if (!pthread_equal(kv->thread, pthread_self())) {
        reader = (struct kv_reader *)must_alloc(sizeof *reader);
        connect_to(reader, kv->dir, kv->variant, 0);
        reader->lent = 0;
    } else {
        reader->lent = 1;
    }
    must_do(reader, step(reader, BEGIN) == 0);
    return reader;
}

static inline void kv_read_end(struct kv_reader *reader)
{
    sqlite3_reset(reader->statement[GET]);
    must_do(reader, step(reader, COMMIT) == 0);
    if (!reader->lent) {
        disconnect(reader);
        free(reader);
    }
}

static inline const void *kv_get(struct kv_reader *reader, const char *key, size_t key_bytes)
{
    sqlite3_reset(reader->statement[GET]);
    bind(reader, GET, 1, key, key_bytes);
    return sqlite3_step(reader->statement[GET]) == SQLITE_ROW
               ? sqlite3_column_blob(reader->statement[GET], 0)
               : NULL;
}

static void kv_flush(struct kv *kv)
{
    execute(&kv->own, "PRAGMA wal_checkpoint(TRUNCATE)");
}

static uint64_t kv_bytes(struct kv *kv, const char *dir)
{
    char path[4096];
    (void)kv;
    snprintf(path, sizeof path, "%s/sqlite.db", dir);
    return file_bytes(path);
}

/* ---- copying and compacting -------------------------------------------------------------------- */

static void kv_path(char path[4096], const char *dir)
{
    snprintf(path, 4096, "%s/sqlite.db", dir);
}

/* As another process would: through a connection of its own, while the first one writes. */
static int copy_file(struct kv *kv, const char *to, uint64_t *held_ns)
{
    struct kv_reader from;
    sqlite3 *db;
    (void)held_ns;
    connect_to(&from, kv->dir, kv->variant, 0);
    must(sqlite3_open(to, &db) == SQLITE_OK, to);
    sqlite3_backup *backup = sqlite3_backup_init(db, "main", from.db, "main");
    must(backup != NULL && sqlite3_backup_step(backup, -1) == SQLITE_DONE, "sqlite3_backup");
    must(sqlite3_backup_finish(backup) == SQLITE_OK && sqlite3_close(db) == SQLITE_OK, to);
    disconnect(&from);
    return 0;
}

static int copy_compacted(struct kv *kv, const char *to, uint64_t *held_ns)
{
    struct kv_reader from;
    char text[4300];
    (void)held_ns;
    connect_to(&from, kv->dir, kv->variant, 0);
    snprintf(text, sizeof text, "VACUUM INTO '%s'", to);
    execute(&from, text);
    disconnect(&from);
    return 0;
}

#define KV_COPIES                                                                                  \
    {"file", 1, 1, 0, copy_file},                                                                  \
    {                                                                                              \
        "compacted", 1, 1, 0, copy_compacted                                                       \
    }

static void kv_compact(const char *dir, const char *variant)
{
    struct kv *kv = kv_open(dir, variant, 0, 0, 0);
    execute(&kv->own, "VACUUM");
    kv_flush(kv);
    kv_close(kv);
}

#include "kv_bench.h"
