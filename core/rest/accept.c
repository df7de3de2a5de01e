/* SPDX-License-Identifier: MIT */
/* Only two types can be answered, so that this compares the weights that the client gave them. */
#include "rest/accept.h"

#include <ctype.h>

struct weight {
    double q;
    int place; /* in the header */
};

static struct str trim(struct str s)
{
    while (s.n > 0 && isspace((unsigned char)s.p[0]))
        s = (struct str){s.p + 1, s.n - 1};
    while (s.n > 0 && isspace((unsigned char)s.p[s.n - 1]))
        s.n--;
    return s;
}

/* What comes before mark; *rest is what comes behind it. */
static struct str cut(struct str *rest, char mark)
{
    const char *found = rest->n > 0 ? memchr(rest->p, mark, rest->n) : NULL;
    size_t n = found != NULL ? (size_t)(found - rest->p) : rest->n;
    struct str part = {rest->p, n};
    size_t taken = found != NULL ? n + 1 : n;
    *rest = (struct str){rest->p + taken, rest->n - taken};
    return trim(part);
}

static double weight_of(struct str parameters)
{
    double q = 1;
    while (parameters.n > 0) {
        struct str p = cut(&parameters, ';');
        if (p.n > 2 && (p.p[0] == 'q' || p.p[0] == 'Q') && p.p[1] == '=')
            (void)str_to_number((struct str){p.p + 2, p.n - 2}, &q);
    }
    return q;
}

static void raise(struct weight *w, double q, int place)
{
    if (q > w->q)
        *w = (struct weight){q, place};
}

struct str rest_accept_type(struct str accept)
{
    struct weight json = {0, 0}, hal = {0, 0}, any = {0, 0};
    for (int place = 0; accept.n > 0; place++) {
        struct str range = cut(&accept, ',');
        struct str type = cut(&range, ';');
        double q = weight_of(range);
        if (str_ieq(type, STR("application/json")))
            raise(&json, q, place);
        else if (str_ieq(type, STR("application/hal+json")))
            raise(&hal, q, place);
        else if (str_eq(type, STR("*/*")) || str_ieq(type, STR("application/*")))
            raise(&any, q, place);
    }
    bool plain = json.q > 0 && json.q >= any.q &&
                 (json.q > hal.q || (json.q == hal.q && json.place < hal.place));
    return plain ? STR("application/json;charset=UTF-8")
                 : STR("application/hal+json;charset=UTF-8");
}
