/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

/* The allocator of one Lua state: small blocks from free lists by size, cut from slabs that are
 * given back when the state goes. A state belongs to one thread, so nothing is locked. */
struct alloc;

/* Empty. Returns owned. */
struct alloc *alloc_new(void);
/* After lua_close. */
void alloc_free(struct alloc *a);
/* A lua_Alloc; ud is the struct alloc. */
void *alloc_lua(void *ud, void *old, size_t old_size, size_t size);
/* Bytes handed out now. */
size_t alloc_used(const struct alloc *a);
