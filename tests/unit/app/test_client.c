/* SPDX-License-Identifier: MIT */
/* clang-format off */
#include "app/client_http.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
/* clang-format on */

struct reading {
    int status;
    struct buf body, pieces;
    int wanted; /* pieces until on_data has enough */
    struct err err;
};

static bool on_data(void *ctx, struct str data)
{
    struct reading *r = ctx;
    buf_adds(&r->pieces, data);
    return --r->wanted > 0;
}

/* Reads `text` as if a server had sent it and closed. */
static int receive(struct reading *r, const char *text, bool stream)
{
    int fds[2];
    struct client_request request = {.method = "GET", .on_data = stream ? on_data : NULL, .ctx = r};
    buf_clear(&r->body);
    buf_clear(&r->pieces);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(write(fds[0], text, strlen(text)), strlen(text));
    close(fds[0]);
    int failed = client_http_read(fds[1], &request, &r->status, &r->body, &r->err);
    close(fds[1]);
    return failed;
}

static int setup(void **state)
{
    unsetenv("MOONTIDE_ADMIN");
    unsetenv("MOONTIDE_DATA");
    unsetenv("MOONTIDE_ADMIN_TOKEN_FILE");
    setenv("MOONTIDE_ADMIN_TOKEN", "0123456789abcdef", 1);
    *state = calloc(1, sizeof(struct reading));
    return 0;
}

static int teardown(void **state)
{
    struct reading *r = *state;
    buf_deinit(&r->body);
    buf_deinit(&r->pieces);
    free(r);
    return 0;
}

static void addresses_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *port;
    } good[] = {
        {"127.0.0.1:8090", "127.0.0.1", "8090"}, {"localhost:1", "localhost", "1"},
        {"[::1]:65535", "::1", "65535"},         {"http://host.example:80", "host.example", "80"},
        {"http://host:80/", "host", "80"},
    };
    static const char *const bad[] = {
        "",           "host",   ":80",         "host:",        "host:0",
        "host:65536", "host:x", "https://h:1", "http://h:1/x", "a b:1",
        "[::1]",      "u@h:1",  "h:1?x"};
    struct client c = CLIENT_INIT;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(client_set_address(&c, str_from(good[i].text)));
        assert_string_equal(c.host, good[i].host);
        assert_string_equal(c.port, good[i].port);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (client_set_address(&c, str_from(bad[i])))
            fail_msg("%s", bad[i]);
    }
    assert_string_equal(buf_str(&c.address).p, "host:80");
    client_close(&c);
}

static void an_answer_is_read_by_its_length(void **state)
{
    struct reading *r = *state;
    assert_int_equal(receive(r, "HTTP/1.1 200 OK\r\ncontent-LENGTH:  3\r\n\r\nabcXYZ", false), 0);
    assert_int_equal(r->status, 200);
    assert_string_equal(buf_str(&r->body).p, "abc");
    assert_int_equal(receive(r, "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", false), 0);
    assert_int_equal(r->status, 204);
    assert_int_equal(r->body.n, 0);
}

static void an_answer_is_read_by_chunks(void **state)
{
    struct reading *r = *state;
    assert_int_equal(receive(r,
                             "HTTP/1.1 100 Continue\r\n\r\n"
                             "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
                             false),
                     0);
    assert_int_equal(r->status, 404);
    assert_string_equal(buf_str(&r->body).p, "abc0123456789");
}

static void an_answer_without_length_ends_with_the_connection(void **state)
{
    struct reading *r = *state;
    assert_int_equal(receive(r, "HTTP/1.0 200 OK\n\nall of it", false), 0);
    assert_string_equal(buf_str(&r->body).p, "all of it");
}

static void a_stream_comes_in_pieces_and_can_be_left(void **state)
{
    struct reading *r = *state;
    const char *answer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n";
    r->wanted = 2;
    assert_int_equal(receive(r, answer, true), 0);
    assert_string_equal(buf_str(&r->pieces).p, "ab");
    assert_int_equal(r->body.n, 0);
    assert_int_equal(receive(r, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 1\r\n\r\nx", true),
                     0);
    assert_int_equal(r->pieces.n, 0);
    assert_string_equal(buf_str(&r->body).p, "x");
}

static void broken_answers_are_errors(void **state)
{
    struct reading *r = *state;
    static const char *const broken[] = {
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        if (receive(r, broken[i], false) != -1)
            fail_msg("%s", broken[i]);
        assert_int_equal(r->err.code, ERR_IO);
    }
}

static void a_server_is_found_by_its_run_file(void **state)
{
    struct reading *r = *state;
    char before[512], folder[] = "/tmp/moontide-client-XXXXXX";
    assert_non_null(getcwd(before, sizeof(before)));
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    struct client c = CLIENT_INIT;
    struct client_conf none = {.admin = STR("")}, data = {.data = STR("data/b")};
    assert_int_equal(client_open(&c, &none, &r->err), -1);
    assert_int_equal(r->err.code, ERR_IO);
    assert_int_equal(file_make_dirs("data/a", &r->err), 0);
    assert_int_equal(file_make_dirs("data/b", &r->err), 0);
    assert_int_equal(
        file_write("data/a/run.json", STR("{\"admin\":\"127.0.0.1:7\",\"pid\":1}"), 0600, &r->err),
        0);
    assert_int_equal(client_open(&c, &none, &r->err), 0);
    assert_string_equal(c.host, "127.0.0.1");
    assert_string_equal(c.port, "7");
    client_close(&c);

    struct client second = CLIENT_INIT;
    assert_int_equal(client_open(&second, &data, &r->err), -1);
    assert_int_equal(r->err.code, ERR_IO);
    assert_int_equal(
        file_write("data/b/run.json", STR("{\"admin\":\"127.0.0.1:8\"}"), 0600, &r->err), 0);
    assert_int_equal(client_open(&second, &none, &r->err), -1);
    assert_int_equal(r->err.code, ERR_CONFIG); /* two of them */
    client_close(&second);
    struct client third = CLIENT_INIT;
    assert_int_equal(client_open(&third, &data, &r->err), 0);
    assert_string_equal(third.port, "8");
    client_close(&third);

    unlink("data/a/run.json");
    unlink("data/b/run.json");
    rmdir("data/a");
    rmdir("data/b");
    rmdir("data");
    assert_int_equal(chdir(before), 0);
    rmdir(folder);
}

static void without_a_token_the_server_is_asked_all_the_same(void **state)
{
    struct reading *r = *state;
    struct client c = CLIENT_INIT;
    struct client_conf conf = {.admin = STR("127.0.0.1:1"), .data = STR("/nonexistent")};
    unsetenv("MOONTIDE_ADMIN_TOKEN");
    assert_int_equal(client_open(&c, &conf, &r->err), 0);
    assert_int_equal(c.token.n, 0);
    client_close(&c);
    setenv("MOONTIDE_ADMIN_TOKEN", "short", 1);
    struct client other = CLIENT_INIT;
    assert_int_equal(client_open(&other, &conf, &r->err), -1);
    assert_int_equal(r->err.code, ERR_CONFIG);
    client_close(&other);
}

static void an_unreachable_server_is_named(void **state)
{
    struct reading *r = *state;
    struct client c = CLIENT_INIT;
    struct client_conf conf = {.admin = STR("127.0.0.1:1")};
    struct client_request request = {.method = "GET", .target = STR("/livez")};
    assert_int_equal(client_open(&c, &conf, &r->err), 0);
    assert_int_equal(client_call(&c, &request, &r->status, &r->body, &r->err), -1);
    assert_int_equal(r->err.code, ERR_IO);
    assert_non_null(strstr(r->err.message, "cannot reach the server at 127.0.0.1:1: "));
    client_close(&c);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(addresses_are_taken_apart),
        CASE(an_answer_is_read_by_its_length),
        CASE(an_answer_is_read_by_chunks),
        CASE(an_answer_without_length_ends_with_the_connection),
        CASE(a_stream_comes_in_pieces_and_can_be_left),
        CASE(broken_answers_are_errors),
        CASE(a_server_is_found_by_its_run_file),
        CASE(without_a_token_the_server_is_asked_all_the_same),
        CASE(an_unreachable_server_is_named),
    };
    return cmocka_run_group_tests_name("app/client", tests, NULL, NULL);
}
