/* SPDX-License-Identifier: MIT */
/* One request to the server on behalf of a command, and what is said when it fails. */
#include "app/commands/inside.h"

#include <stdio.h>
#include <stdlib.h>

#define JSON_DEPTH 64

static bool is_plain(char c)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

void commands_call_param(struct buf *target, const char *name, struct str value)
{
    if (value.n == 0)
        return;
    buf_addc(target, memchr(target->p, '?', target->n) ? '&' : '?');
    buf_addf(target, "%s=", name);
    commands_call_encode(target, value);
}

void commands_call_encode(struct buf *target, struct str value)
{
    for (size_t i = 0; i < value.n; i++) {
        if (is_plain(value.p[i]))
            buf_addc(target, value.p[i]);
        else
            buf_addf(target, "%%%02X", (unsigned char)value.p[i]);
    }
}

/* A problem's message, or the bare status. */
static int refused(const struct client *c, int status, struct str body)
{
    if (status == 401 && c->token.n == 0)
        return commands_fail(EXIT_FAILED, "no admin token: set MOONTIDE_ADMIN_TOKEN, or name "
                                          "--admin-token-file or --data");
    if (status == 401)
        return commands_fail(EXIT_FAILED,
                             "the server at %.*s does not take this admin token; it comes from "
                             "MOONTIDE_ADMIN_TOKEN, --admin-token-file or the data folder",
                             (int)c->address.n, c->address.p);
    struct arena *a = arena_new(0);
    struct json problem;
    struct buf text = BUF_INIT;
    struct err err;
    const struct json *message = NULL;
    if (!json_parse(a, body, JSON_DEPTH, &problem, &err) && problem.type == JSON_OBJECT)
        message = json_find(&problem, STR("message"));
    bool told = message && message->type == JSON_TEXT;
    if (status == 404 && (!told || str_starts(message->s, STR("no such path"))))
        buf_addf(&text,
                 "at %.*s is no Moontide admin side, or one of another version; is it the gateway? "
                 "Name the admin side with --admin",
                 (int)c->address.n, c->address.p);
    else if (told)
        commands_table_clean(&text, message->s);
    else
        buf_addf(&text, "the server answered %d", status);
    commands_fail(EXIT_FAILED, "%s", buf_str(&text).p);
    buf_deinit(&text);
    arena_free(a);
    return EXIT_FAILED;
}

int commands_call_or(const struct commands_args *args, const struct client_request *r, int also,
                     int *ret_status, struct buf *ret_body)
{
    struct client c = CLIENT_INIT;
    struct err err;
    int status, code = EXIT_OK;
    if (client_open(&c, &args->client, &err) || client_call(&c, r, &status, ret_body, &err))
        code = commands_fail_err(&err);
    else if (status / 100 != 2 && status != also)
        code = refused(&c, status, buf_str(ret_body));
    else
        *ret_status = status;
    client_close(&c);
    return code;
}

int commands_call(const struct commands_args *args, const struct client_request *r,
                  struct buf *ret_body)
{
    int status;
    return commands_call_or(args, r, 0, &status, ret_body);
}

int commands_call_parse(struct arena *a, struct str body, struct json *ret)
{
    struct err err;
    if (json_parse(a, body, JSON_DEPTH, ret, &err))
        return commands_fail(EXIT_FAILED, "the server's answer is no JSON: %s", err.message);
    if (ret->type != JSON_OBJECT)
        return commands_fail(EXIT_FAILED, "the server's answer is no object");
    return EXIT_OK;
}

int commands_call_json(const struct commands_args *args, const char *target, struct arena *a,
                       struct buf *ret_body, struct json *ret)
{
    struct client_request r = {.method = "GET", .target = str_from(target)};
    int code = commands_call(args, &r, ret_body);
    return code == EXIT_OK ? commands_call_parse(a, buf_str(ret_body), ret) : code;
}

int commands_show(const struct commands_args *args, const char *target,
                  void (*print)(const struct json *answer))
{
    struct arena *a = arena_new(0);
    struct buf body = BUF_INIT;
    struct json answer;
    int code = commands_call_json(args, target, a, &body, &answer);
    if (code == EXIT_OK && args->json)
        puts(buf_str(&body).p);
    else if (code == EXIT_OK)
        print(&answer);
    buf_deinit(&body);
    arena_free(a);
    return code;
}
