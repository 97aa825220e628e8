/* SPDX-License-Identifier: MIT */
/* alloc_boost.cpp - Boost.Interprocess's rbtree_best_fit in a mapped file, without its mutex.
 * The file's size is fixed at creation; no transactions.
 * Space is what its free memory has shrunk by. */
#include <boost/interprocess/indexes/iset_index.hpp>
#include <boost/interprocess/managed_mapped_file.hpp>
#include <boost/interprocess/mem_algo/rbtree_best_fit.hpp>
#include <string>

namespace ipc = boost::interprocess;
using segment = ipc::basic_managed_mapped_file<char, ipc::rbtree_best_fit<ipc::null_mutex_family>,
                                               ipc::iset_index>;
typedef void *al_handle;

#include "bench.h"

static segment *store;

static void al_open(const char *dir, const char *variant, uint64_t capacity_bytes)
{
    (void)variant;
    store = new segment(ipc::create_only, (std::string(dir) + "/boost").c_str(), capacity_bytes);
}

static void al_close(void)
{
    delete store;
}

static inline void al_begin(void)
{
}

static inline void al_commit(void)
{
}

static inline void *al_alloc(size_t size_bytes, al_handle *out)
{
    return *out = store->allocate(size_bytes);
}

static inline void al_free(al_handle handle)
{
    store->deallocate(handle);
}

static uint64_t al_used_bytes(void)
{
    return store->get_size() - store->get_free_memory();
}

#include "alloc_bench.h"
