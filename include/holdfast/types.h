/* SPDX-License-Identifier: MIT */
/* types.h - the handles, the export mark and the limits that every other header needs */
#ifndef HOLDFAST_TYPES_H
#define HOLDFAST_TYPES_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define HF_API __attribute__((visibility("default")))
#else
#define HF_API
#endif

#define HF_VERSION_MAJOR 0
#define HF_VERSION_MINOR 1
#define HF_VERSION_PATCH 0
#define HF_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_store hf_store; /* an open store: thread-safe, belongs to one process          */
typedef struct hf_txn hf_txn;     /* the one writer: used by one thread at a time                */
typedef struct hf_view hf_view;   /* a reader's section: used by the thread that began it        */

/* Bytes from the start of the store's segment; 0 is null. What a handle inside the file is. */
typedef uint64_t hf_ref;

#define HF_NAME_BYTES_MAX 4095       /* longest name of an object or a type, without its NUL     */
#define HF_PROCESSES_MAX 1000        /* handles attached to one store at a time                  */
#define HF_READERS_MAX 4096          /* views open on one store at a time, over all processes    */
#define HF_ALIGN_BYTES_MAX 65536     /* largest alignment that holds in every mapping            */

/* "0.1.0", of the library that is running. Thread-safe, cannot fail. */
HF_API const char *hf_version(void);

#ifdef __cplusplus
}
#endif
#endif
