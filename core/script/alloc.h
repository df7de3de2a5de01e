/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The allocator of one Lua state: small blocks from free lists by size, cut from slabs that are
 * given back when the state goes. A state belongs to one thread, so nothing is locked. */
struct alloc;

/* Returns owned. */
struct alloc *alloc_new(void);
/* After lua_close. */
void alloc_free(struct alloc *a);
/* A lua_Alloc; ud is the struct alloc. */
void *alloc_lua(void *ud, void *old, size_t old_size, size_t size);
/* Bytes handed out now. */
size_t alloc_used(const struct alloc *a);

/* How far alloc_used may grow. The first growth past soft is told once; growth past hard is
 * refused: Lua then collects everything and asks again. SIZE_MAX: no bound. */
struct alloc_bounds {
    size_t soft, hard;
    void (*told)(void *ctx, bool refused); /* refused: for the second time, after the collection */
    void *ctx;
};
/* The bounds of an allocator, to be changed in place; none at first. */
struct alloc_bounds *alloc_bounds(struct alloc *a);
