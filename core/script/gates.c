/* SPDX-License-Identifier: MIT */
/* A list under a lock: it is searched when a generation is made, never by a request. */
#include "script/gates.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

struct gates {
    pthread_mutex_t lock;
    struct arena *arena;
    struct gate **list;
    size_t count, cap;
};

struct gates *gates_new(void)
{
    struct gates *g = xcalloc(1, sizeof(*g));
    pthread_mutex_init(&g->lock, NULL);
    g->arena = arena_new(0);
    return g;
}

void gates_free(struct gates *g)
{
    if (g == NULL)
        return;
    pthread_mutex_destroy(&g->lock);
    arena_free(g->arena);
    free(g->list);
    free(g);
}

static struct gate *find(const struct gates *g, struct str name)
{
    for (size_t i = 0; i < g->count; i++)
        if (str_eq(g->list[i]->name, name))
            return g->list[i];
    return NULL;
}

static struct gate *add(struct gates *g, struct str name)
{
    struct gate *gate = arena_zalloc(g->arena, sizeof(*gate));
    gate->name = arena_str(g->arena, name);
    vec_reserve(&g->list, &g->cap, g->count + 1, sizeof(*g->list));
    g->list[g->count++] = gate;
    return gate;
}

struct gate *gates_get(struct gates *g, struct str name)
{
    pthread_mutex_lock(&g->lock);
    struct gate *gate = find(g, name);
    if (gate == NULL)
        gate = add(g, name);
    pthread_mutex_unlock(&g->lock);
    return gate;
}

const char *gates_state_name(enum gate_state state)
{
    static const char *const names[] = {"up", "draining", "down"};
    return names[state];
}
