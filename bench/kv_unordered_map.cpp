/* SPDX-License-Identifier: MIT */
/* kv_unordered_map.cpp - std::unordered_map in RAM, reserved: what a program has that stores
 * nothing. For "names" and reading with threads. */
#include <cstring>
#include <string>
#include <unordered_map>

#include "bench.h"

namespace
{
struct record {
    char bytes[100];
};
} // namespace
struct kv {
    std::unordered_map<std::string, record> map;
};
struct kv_reader {
    kv owner;
};

static kv *kv_open(const char *dir, const char *variant, int create, uint64_t count,
                   size_t value_bytes)
{
    (void)dir;
    (void)variant;
    (void)value_bytes;
    must(create, "nothing is stored");
    kv *opened = new kv;
    opened->map.reserve(count);
    return opened;
}

static void kv_close(kv *opened)
{
    delete opened;
}

static inline void kv_write_begin(kv *)
{
}

static inline void kv_write_commit(kv *)
{
}

static inline int kv_put(kv *opened, const char *key, size_t key_bytes, const void *value,
                         size_t value_bytes)
{
    record made;
    memcpy(made.bytes, value, value_bytes);
    return !opened->map.emplace(std::string(key, key_bytes), made).second;
}

static inline const void *kv_get(kv_reader *reader, const char *key, size_t key_bytes)
{
    auto found = reader->owner.map.find(std::string(key, key_bytes));
    return found == reader->owner.map.end() ? nullptr : found->second.bytes;
}

static inline int kv_update(kv *opened, const char *key, size_t key_bytes, const void *value,
                            size_t value_bytes)
{
    auto found = opened->map.find(std::string(key, key_bytes));
    if (found == opened->map.end())
        return 1;
    memcpy(found->second.bytes, value, value_bytes);
    return 0;
}

static inline int kv_delete(kv *opened, const char *key, size_t key_bytes)
{
    return opened->map.erase(std::string(key, key_bytes)) != 1;
}

static inline kv_reader *kv_read_begin(kv *opened)
{
    return reinterpret_cast<kv_reader *>(opened);
}

static inline void kv_read_end(kv_reader *)
{
}

static void kv_flush(kv *)
{
}

static uint64_t kv_bytes(kv *, const char *)
{
    return 0;
}

#include "kv_bench.h"
