/* SPDX-License-Identifier: MIT */
/*
 * pointer.h - what is stored inside a store instead of raw pointers
 *
 * Every process maps a store at its own address, so an address written into it means nothing to the
 * next reader. Two kinds of reference do:
 *
 *   hf_ref      bytes from the start of the segment; 0 is null. Needs the view to be followed.
 *   HF_PTR(T)   distance from the field itself to its target; null is 1, since a field may well
 *               point to itself but never to its own second byte. Followed without a view.
 *
 * Example (C)
 *
 *   struct node { HF_PTR(struct node) next; int value; };
 *   hf_ptr_set(&n->next, other);                        // n is writable: announced
 *   for (const struct node *i = hf_ptr_get(&list->head); i != NULL; i = hf_ptr_get(&i->next)) ...
 *
 * Example (C++)
 *
 *   struct node { hf::ptr<node> next; int value; };
 *   n->next = other;
 *
 * Caveats: a struct that holds an HF_PTR can't be copied with memcpy or assignment in C (the copy
 * would point elsewhere by the distance of the copies); C++'s hf::ptr copies right. A target must
 * lie in the same store.
 */
#ifndef HOLDFAST_POINTER_H
#define HOLDFAST_POINTER_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* hf_ref_of - the reference of an address in the store; 0 for NULL and for addresses outside it
 * (HF_EPTR). Any address of the store is accepted, from a view or a transaction. */
HF_API hf_ref hf_ref_of(hf_view *view, const void *p);

/* hf_at - the address of a reference in this view; NULL for 0 and for references outside the used
 * part of the store (HF_EPTR). */
HF_API const void *hf_at(hf_view *view, hf_ref ref);

#define HF_PTR_NULL INT64_C(1)

/* The self-relative pointer as the file has it: 8 bytes, little-endian, in every program. */
static inline void *hf_offset_get(const int64_t *field)
{
    return *field == HF_PTR_NULL ? NULL : (void *)((uintptr_t)field + (uintptr_t)*field);
}

static inline void hf_offset_set(int64_t *field, const void *target)
{
    *field = target == NULL ? HF_PTR_NULL
                            : (int64_t)((intptr_t)(uintptr_t)target - (intptr_t)(uintptr_t)field);
}

/* A typed field. hf_ptr_null is no address: a zeroed field points to itself, so set it first. */
#define HF_PTR(T)                                                                                  \
    union {                                                                                        \
        int64_t offset;                                                                            \
        T *typed; /* never read: it only carries the type */                                       \
    }
#if defined(__GNUC__)
#define hf_ptr_get(field) ((__typeof__((field)->typed))hf_offset_get(&(field)->offset))
#else
#define hf_ptr_get(field) hf_offset_get(&(field)->offset)
#endif
#define hf_ptr_set(field, target) hf_offset_set(&(field)->offset, (target))

#ifdef __cplusplus
} /* extern "C" */

namespace hf
{
/* hf::ptr<T> - the same field as a C++ pointer. Idea: Boost.Interprocess's offset_ptr. */
template <class T> class ptr
{
    int64_t offset_;

  public:
    ptr() : offset_(HF_PTR_NULL) {}
    ptr(T *target) { hf_offset_set(&offset_, target); }
    ptr(const ptr &other) { hf_offset_set(&offset_, other.get()); }
    ptr &operator=(const ptr &other)
    {
        hf_offset_set(&offset_, other.get());
        return *this;
    }
    ptr &operator=(T *target)
    {
        hf_offset_set(&offset_, target);
        return *this;
    }
    T *get() const { return static_cast<T *>(hf_offset_get(&offset_)); }
    T *operator->() const { return get(); }
    T &operator*() const { return *get(); }
    T &operator[](ptrdiff_t i) const { return get()[i]; }
    explicit operator bool() const { return offset_ != HF_PTR_NULL; }
    friend bool operator==(const ptr &a, const ptr &b) { return a.get() == b.get(); }
    friend bool operator!=(const ptr &a, const ptr &b) { return a.get() != b.get(); }
};
} // namespace hf
#endif
#endif
