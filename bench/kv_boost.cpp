/* SPDX-License-Identifier: MIT */
/* kv_boost.cpp - Boost.Interprocess's named objects in a mapped file, with its defaults: iset_index
 * and a mutex in every call. No transactions; nothing is durable before msync, which kv_flush
 * calls. */
#include <boost/interprocess/managed_mapped_file.hpp>
#include <cstring>
#include <string>
#include <sys/mman.h>

#include "bench.h"

namespace ipc = boost::interprocess;
typedef ipc::managed_mapped_file segment;

namespace
{
struct value64 {
    char bytes[64];
};
struct value100 {
    char bytes[100];
};
} // namespace
struct kv {
    segment *store;
    size_t value_bytes;
};
struct kv_reader {
    kv owner;
};

static kv *kv_open(const char *dir, const char *variant, int create, uint64_t count,
                   size_t value_bytes)
{
    std::string path = std::string(dir) + "/boost";
    kv *opened = new kv;
    (void)variant;
    opened->value_bytes = value_bytes;
    if (create)
        opened->store = new segment(ipc::create_only, path.c_str(),
                                    count * (value_bytes == 64 ? 256 : 384) + (16u << 20));
    else
        opened->store = new segment(ipc::open_only, path.c_str());
    return opened;
}

static void kv_close(kv *opened)
{
    delete opened->store;
    delete opened;
}

static inline void kv_write_begin(kv *)
{
}

static inline void kv_write_commit(kv *)
{
}

static inline int kv_put(kv *opened, const char *key, size_t, const void *value, size_t value_bytes)
{
    if (value_bytes == 64)
        memcpy(opened->store->construct<value64>(key)()->bytes, value, 64);
    else
        memcpy(opened->store->construct<value100>(key)()->bytes, value, 100);
    return 0;
}

static inline const void *get(kv *opened, const char *key)
{
    if (opened->value_bytes == 64)
        return opened->store->find<value64>(key).first;
    return opened->store->find<value100>(key).first;
}

static inline int kv_update(kv *opened, const char *key, size_t, const void *value,
                            size_t value_bytes)
{
    void *found = const_cast<void *>(get(opened, key));
    if (found == nullptr)
        return 1;
    memcpy(found, value, value_bytes);
    return 0;
}

static inline int kv_delete(kv *opened, const char *key, size_t)
{
    return opened->value_bytes == 64 ? !opened->store->destroy<value64>(key)
                                     : !opened->store->destroy<value100>(key);
}

static inline kv_reader *kv_read_begin(kv *opened)
{
    return reinterpret_cast<kv_reader *>(opened);
}

static inline void kv_read_end(kv_reader *)
{
}

static inline const void *kv_get(kv_reader *reader, const char *key, size_t)
{
    return get(&reader->owner, key);
}

static void kv_flush(kv *opened)
{
    uintptr_t address =
        reinterpret_cast<uintptr_t>(opened->store->get_address()) & ~uintptr_t(4095);
    must(msync(reinterpret_cast<void *>(address), opened->store->get_size(), MS_SYNC) == 0,
         "msync");
}

static uint64_t kv_bytes(kv *opened, const char *)
{
    return opened->store->get_size() - opened->store->get_free_memory();
}

#include "kv_bench.h"
