/* SPDX-License-Identifier: MIT */
/*
 * failing_malloc.h - malloc and its kin fail when the test says so
 *
 * The linker leads what the test's program and the library allocate here: such a test is listed in
 * tests/CMakeLists.txt. It defines allocation_fails(), which is asked for each
 * allocation, by whichever thread wants it.
 */
#ifndef HF_TESTS_SUPPORT_FAILING_MALLOC_H
#define HF_TESTS_SUPPORT_FAILING_MALLOC_H

#include <stdbool.h>
#include <stddef.h>

static bool allocation_fails(void);

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
    return allocation_fails() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size)
{
    return allocation_fails() ? NULL : __real_calloc(count, size);
}
void *__wrap_realloc(void *old, size_t size)
{
    return allocation_fails() ? NULL : __real_realloc(old, size);
}

#endif
