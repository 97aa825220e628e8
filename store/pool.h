/* SPDX-License-Identifier: MIT */
/*
 * pool.h - what the store's check asks of pools (holdfast/pool.h is for users)
 */
#ifndef HF_STORE_POOL_H
#define HF_STORE_POOL_H

#include "base/check.h"
#include "base/segment.h"
#include "holdfast/pool.h"
#include "pool_format.h"

#define HF__POOL_TYPE "hf_pool"

/* Rules pool.* of the object of that type at offset. Safe on any input. */
void hf__pool_check(struct hf__segment *seg, uint64_t offset, struct hf__check *check);

#endif
