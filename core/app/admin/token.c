/* SPDX-License-Identifier: MIT */
/* The one secret of the admin side. Where it comes from is decided here for both ends, so that a
 * client started beside the server finds what the server uses. */
#include "app/admin/token.h"

#include "app/admin/admin.h"
#include "base/file.h"

#include <stdlib.h>

#define TOKEN_MIN 16
#define TOKEN_MAX 1024
#define TOKEN_RANDOM 24 /* bytes of a made one, written in hex */

static int check(struct str token, const char *source, struct err *err)
{
    if (token.n < TOKEN_MIN || token.n > TOKEN_MAX)
        return err_set(err, ERR_CONFIG, "%s: an admin token has %d to %d bytes", source, TOKEN_MIN,
                       TOKEN_MAX);
    for (size_t i = 0; i < token.n; i++) {
        if (token.p[i] <= ' ' || token.p[i] > '~')
            return err_set(err, ERR_CONFIG,
                           "%s: an admin token is of printable ASCII without spaces", source);
    }
    return 0;
}

static int from_file(const char *path, struct buf *ret, struct err *err)
{
    struct buf text = BUF_INIT;
    int failed = file_read(path, 2 * TOKEN_MAX, &text, err);
    if (!failed) {
        struct str token = buf_str(&text);
        while (token.n > 0 && (token.p[token.n - 1] == '\n' || token.p[token.n - 1] == '\r'))
            token.n--;
        failed = check(token, path, err);
        if (!failed)
            buf_adds(ret, token);
    }
    buf_deinit(&text);
    return failed;
}

static int make(struct str data, const char *path, struct buf *ret, struct err *err)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char random[TOKEN_RANDOM];
    char token[2 * TOKEN_RANDOM + 1];
    struct buf folder = BUF_INIT;
    buf_adds(&folder, data);
    int failed = file_make_dirs(buf_str(&folder).p, err);
    buf_deinit(&folder);
    if (failed)
        return -1;
    file_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        token[2 * i] = hex[random[i] >> 4];
        token[2 * i + 1] = hex[random[i] & 15];
    }
    token[sizeof(token) - 1] = '\n';
    if (file_write(path, (struct str){token, sizeof(token)}, 0600, err))
        return -1;
    buf_add(ret, token, sizeof(token) - 1);
    return 0;
}

/* 1: *ret has it; 0: no source names one, and path has become that of DATA/admin.token; -1. */
static int find(struct str token_file, struct str data, struct buf *path, struct buf *ret,
                struct err *err)
{
    struct str token = str_from(getenv("MOONTIDE_ADMIN_TOKEN"));
    if (token.n > 0) {
        if (check(token, "MOONTIDE_ADMIN_TOKEN", err))
            return -1;
        buf_adds(ret, token);
        return 1;
    }
    if (token_file.n == 0 && data.n == 0)
        return 0;
    buf_adds(path, token_file.n > 0 ? token_file : data);
    if (token_file.n == 0)
        buf_lit(path, "/admin.token");
    struct err failure;
    if (from_file(buf_str(path).p, ret, &failure) == 0)
        return 1;
    if (failure.code == ERR_NOT_FOUND && token_file.n == 0)
        return 0;
    return err_set(err, ERR_CONFIG, "admin token: %s", failure.message);
}

int admin_token(struct str token_file, struct str data, struct buf *ret, struct err *err)
{
    struct buf path = BUF_INIT;
    int found = find(token_file, data, &path, ret, err);
    if (found == 0 && make(data, buf_str(&path).p, ret, err))
        found = -1;
    buf_deinit(&path);
    return found < 0 ? -1 : 0;
}

int admin_token_find(struct str token_file, struct str data, struct buf *ret, struct err *err)
{
    struct buf path = BUF_INIT;
    int found = find(token_file, data, &path, ret, err);
    buf_deinit(&path);
    if (found != 0)
        return found < 0 ? -1 : 0;
    return err_set(err, ERR_NOT_FOUND,
                   "no admin token: set MOONTIDE_ADMIN_TOKEN, or --admin-token-file, or --data");
}

bool admin_token_matches(struct str token, struct str authorization)
{
    struct str scheme = STR("Bearer ");
    if (token.n == 0 || authorization.n < scheme.n ||
        !str_ieq((struct str){authorization.p, scheme.n}, scheme))
        return false;
    struct str given = {authorization.p + scheme.n, authorization.n - scheme.n};
    while (given.n > 0 && given.p[0] == ' ') {
        given.p++;
        given.n--;
    }
    /* As many steps as bytes were given: the time tells the client nothing that it does not know.
     */
    unsigned difference = given.n != token.n;
    for (size_t i = 0; i < given.n; i++)
        difference |= (unsigned char)given.p[i] ^ (unsigned char)token.p[i % token.n];
    return difference == 0;
}

/* Of the base64 alphabet; -1 for anything else. */
static int digit_of(char ch)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = ch != '\0' ? strchr(digits, ch) : NULL;
    return at ? (int)(at - digits) : -1;
}

static struct str decode_base64(struct str text, struct arena *a)
{
    char *out = arena_alloc(a, text.n + 1);
    unsigned bits = 0;
    int have = 0;
    size_t n = 0;
    for (size_t i = 0; i < text.n && digit_of(text.p[i]) >= 0; i++) {
        bits = bits << 6 | (unsigned)digit_of(text.p[i]);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have & 0xFF);
        }
    }
    return (struct str){out, n};
}

bool admin_token_matches_basic(struct str token, struct str authorization, struct arena *a)
{
    struct str scheme = STR("Basic ");
    struct buf bearer = BUF_INIT;
    if (authorization.n < scheme.n || authorization.n > 4096 ||
        !str_ieq((struct str){authorization.p, scheme.n}, scheme))
        return false;
    struct str pair =
        decode_base64((struct str){authorization.p + scheme.n, authorization.n - scheme.n}, a);
    const char *colon = pair.n > 0 ? memchr(pair.p, ':', pair.n) : NULL;
    if (colon == NULL)
        return false;
    buf_lit(&bearer, "Bearer ");
    buf_add(&bearer, colon + 1, (size_t)(pair.p + pair.n - colon - 1));
    bool matches = admin_token_matches(token, buf_str(&bearer));
    buf_deinit(&bearer);
    return matches;
}
