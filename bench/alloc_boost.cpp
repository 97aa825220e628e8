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

#define AL_MANY
using chain = segment::segment_manager::multiallocation_chain;

static void al_alloc_many(size_t size_bytes, uint64_t count, al_handle *out)
{
    chain blocks;
    store->get_segment_manager()->allocate_many(size_bytes, count, blocks);
    for (uint64_t i = 0; i < count; i++)
        out[i] = ipc::ipcdetail::to_raw_pointer(blocks.pop_front());
}

static void al_free_many(al_handle *handles, uint64_t count)
{
    chain blocks;
    for (uint64_t i = count; i-- > 0;)
        blocks.push_front(handles[i]);
    store->get_segment_manager()->deallocate_many(blocks);
}

#define AL_ALIGNED
static inline void *al_alloc_aligned(size_t size_bytes, size_t align, al_handle *out)
{
    return *out = store->allocate_aligned(size_bytes, align);
}

#define AL_RESIZE
static int al_resize(al_handle handle, size_t size_bytes)
{
    segment::size_type received = size_bytes;
    char *reuse = static_cast<char *>(handle);
    const bool more = size_bytes > 2048;
    return store->allocation_command<char>((more ? ipc::expand_fwd : ipc::shrink_in_place) |
                                               ipc::nothrow_allocation,
                                           more ? size_bytes : size_bytes + 64, received, reuse) !=
           nullptr;
}

static uint64_t al_used_bytes(void)
{
    return store->get_size() - store->get_free_memory();
}

#include "alloc_bench.h"
