/* SPDX-License-Identifier: MIT */
/* Requests refused and accepted, over a real connection: what the client sees, and that no handler
 * saw it. */
#include "http/parse.h"
#include "http_client.h"

#define H "Host: a\r\n"

struct refusal {
    const char *bytes;
    size_t n;
    int status;
};

#define REFUSAL(status, literal)                                                                   \
    {                                                                                              \
        (literal), sizeof(literal) - 1, (status)                                                   \
    }

static const struct refusal refusals[] = {
    /* request line */
    REFUSAL(400, "GET  / HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET /  HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET / HTTP/1.1 \r\n" H "\r\n"),
    REFUSAL(400, " GET / HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET\t/ HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET /a\tb HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET /\r\n" H "\r\n"),
    REFUSAL(400, "GET / http/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET / HTTP/1.1x\r\n" H "\r\n"),
    REFUSAL(400, "GET / HTTP/11\r\n" H "\r\n"),
    REFUSAL(400, "G@T / HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(501, "FOO / HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(501, "get / HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "PRI / HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET /#x HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET x HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET * HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET ftp://a/ HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET http://b/ HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET http://a:80/ HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET http://u@a/ HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET http:// HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(501, "CONNECT a:80 HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    REFUSAL(505, "GET / HTTP/2.0\r\n" H "\r\n"),
    REFUSAL(505, "GET / HTTP/1.2\r\n" H "\r\n"),
    REFUSAL(505, "GET / HTTP/0.9\r\n" H "\r\n"),
    /* raw bytes */
    REFUSAL(400, "GET / HTTP/1.1\n" H "\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\nHost: a\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r" H "\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n"),
    REFUSAL(400, "GET /\0 HTTP/1.1\r\n" H "\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\n" H "X: a\x01"),
    REFUSAL(400, "GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n"),
    REFUSAL(400, "\x16\x03\x01\x02\x00\x01\x00\x01"),
    /* header lines */
    REFUSAL(400, "GET / HTTP/1.1\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\n" H H "\r\n"),
    REFUSAL(400, "GET / HTTP/1.0\r\n" H "Host: b\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\n" H "X y: a\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\n" H ": a\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\n" H "X\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n"),
    REFUSAL(400, "GET / HTTP/1.1\r\n X: a\r\n" H "\r\n"),
    /* framing */
    REFUSAL(400, "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    REFUSAL(400,
            "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc"),
    REFUSAL(400,
            "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"),
    REFUSAL(400, "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    REFUSAL(400, "POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\nabc"),
    REFUSAL(400, "POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\nabc"),
    REFUSAL(400, "POST / HTTP/1.1\r\n" H "Content-Length: -3\r\n\r\nabc"),
    REFUSAL(400, "POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\nabc"),
    REFUSAL(400, "POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n"),
    REFUSAL(400, "POST / HTTP/1.1\r\n" H "Content-Length: 3 3\r\n\r\nabc"),
    REFUSAL(501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n"),
    REFUSAL(501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    REFUSAL(501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n"),
    REFUSAL(400, "POST / HTTP/1.1\r\n" H
                 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    REFUSAL(417, "POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\nContent-Length: 3\r\n\r\n"),
    REFUSAL(413, "POST / HTTP/1.1\r\n" H "Content-Length: 1048577\r\n\r\n"),
    REFUSAL(413, "POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n"),
/* chunks */
#define CHUNKED "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
    REFUSAL(400, CHUNKED "x\r\n"),
    REFUSAL(400, CHUNKED "3\nabc\r\n0\r\n\r\n"),
    REFUSAL(400, CHUNKED "3 \r\nabc\r\n0\r\n\r\n"),
    REFUSAL(400, CHUNKED "-3\r\nabc\r\n0\r\n\r\n"),
    REFUSAL(400, CHUNKED "3\r\nabcd\r\n0\r\n\r\n"),
    REFUSAL(400, CHUNKED "3\r\nabc\n0\r\n\r\n"),
    REFUSAL(400, CHUNKED "fffffffffffffffff\r\n"),
    REFUSAL(413, CHUNKED "100001\r\n"),
    REFUSAL(413, CHUNKED "ffffffffffffffff\r\n"),
    REFUSAL(400, CHUNKED "0\r\nX: a\r\rGET / HTTP/1.1\r\n"),
    REFUSAL(400, CHUNKED "0\r\nX: a\n\r\n"),
    REFUSAL(400, CHUNKED "0\r\nX: a\r\n b\r\n\r\n"),
    REFUSAL(400, CHUNKED "0\r\n\rx"),
    REFUSAL(400, CHUNKED "0\r\nX\x01"),
};

static void assert_refused(struct world *w, const struct refusal *refusal)
{
    struct client c = client_open(w);
    struct response r = {0};
    int handled = w->handled;
    client_send_n(w, &c, refusal->bytes, refusal->n);
    client_response(w, &c, &r);
    if (r.status != refusal->status)
        print_error("%d, not %d, for: %s\n", r.status, refusal->status, refusal->bytes);
    assert_int_equal(r.status, refusal->status);
    assert_true(response_has(&r, "\r\nConnection: close\r\n"));
    assert_true(response_has(&r, "\r\nContent-Type: application/problem+json\r\n"));
    assert_non_null(strstr(buf_str(&r.body).p, "\"correlationId\":\""));
    assert_non_null(strstr(buf_str(&r.body).p, "\"timestamp\":\"2026-01-01T00:00:00.000+0000\""));
    client_await_closed(w, &c);
    assert_false(c.reset);
    assert_int_equal(c.in.n, 0);
    assert_int_equal(w->handled, handled);
    client_close(&c);
    world_settle(w, NULL);
    assert_int_equal(http_server_connections(w->server), 0);
    response_deinit(&r);
}

static void every_refusal_has_its_status_a_problem_and_closes(void **state)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        assert_refused(*state, &refusals[i]);
}

struct accepted {
    const char *request;
    const char *echo;
};

static const struct accepted accepted[] = {
    {"GET / HTTP/1.1\r\n" H "\r\n", "GET /|"},
    {"\r\nGET /x?y=1 HTTP/1.1\r\n" H "\r\n", "GET /x?y=1|"},
    {"GET http://a/x?y HTTP/1.1\r\n" H "\r\n", "GET /x?y|"},
    {"GET HTTP://A HTTP/1.1\r\n" H "\r\n", "GET /|"},
    {"GET http://a?y HTTP/1.1\r\n" H "\r\n", "GET /?y|"},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS *|"},
    {"TRACE / HTTP/1.1\r\n" H "\r\n", "TRACE /|"},
    {"GET / HTTP/1.1\r\nhOsT:a:80  \r\nX:\r\nY: \t a\tb \r\n\r\n", "GET /|"},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", "POST /|abc"},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", "POST /|"},
    {"GET / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi", "GET /|hi"},
    {CHUNKED "3\r\nabc\r\n2;x=\"y\"\r\nde\r\n0\r\n\r\n", "POST /|abcde"},
    {CHUNKED "0\r\nX: a\r\nY: b\r\n\r\n", "POST /|"},
    {CHUNKED "00A\r\n0123456789\r\n000\r\n\r\n", "POST /|0123456789"},
    {"POST / HTTP/1.1\r\n" H "transfer-encoding:  Chunked \r\n\r\n1\r\n\r\r\n0\r\n\r\n",
     "POST /|\r"},
    {"GET /up HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "GET /up|"},
    {"PATCH /%7Eu?a=%20 HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n{", "PATCH /%7Eu?a=%20|{"},
};

#define ACCEPTED_COUNT (sizeof(accepted) / sizeof(accepted[0]))

static void accepted_requests_arrive_whole_one_after_another(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    for (size_t i = 0; i < ACCEPTED_COUNT; i++)
        client_expect(w, &c, accepted[i].request, 200, accepted[i].echo);
    assert_int_equal(w->handled, ACCEPTED_COUNT);
    client_close(&c);
}

static void byte_by_byte_gives_the_same_as_whole(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    for (size_t i = 0; i < ACCEPTED_COUNT; i++) {
        const char *at = accepted[i].request;
        for (; at[1]; at++) {
            client_send_n(w, &c, at, 1);
            loop_turn(w->loop);
        }
        client_expect(w, &c, at, 200, accepted[i].echo);
    }
    assert_int_equal(w->handled, ACCEPTED_COUNT);
    client_close(&c);
}

static void refusals_fed_byte_by_byte_are_the_same(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct client c = client_open(w);
        struct response r = {0};
        for (size_t at = 0; at < refusals[i].n; at++) {
            client_send_n(w, &c, refusals[i].bytes + at, 1);
            loop_turn(w->loop);
        }
        client_response(w, &c, &r);
        assert_int_equal(r.status, refusals[i].status);
        client_close(&c);
        response_deinit(&r);
    }
    assert_int_equal(w->handled, 0);
}

static void see_headers(void *ctx, struct http_exchange *x)
{
    const struct http_request *r = http_exchange_request(x);
    struct world *w = ctx;
    w->handled++;
    assert_int_equal(r->header_count, 4);
    assert_true(str_eq(r->host, STR("a.b:80")));
    assert_true(str_eq(r->headers[1].name, STR("X-eMpty")));
    assert_int_equal(http_header_find(r, STR("x-empty")).n, 0);
    assert_true(str_eq(http_header_find(r, STR("X-Value")), STR("a,  b\t\xc3\xa4")));
    assert_true(str_eq(http_header_find(r, STR("connection")), STR("Keep-Alive, x")));
    assert_true(str_eq(r->path, STR("/p")) && str_eq(r->query, STR("q=1?2")));
    assert_int_equal(r->method, HTTP_OTHER_);
    assert_true(str_eq(r->method_name, STR("PROPFIND")));
    assert_int_equal(r->minor, 1);
    http_answer(x, 204, STR(""), NULL, 0, STR(""));
}

static void names_values_path_and_query_are_what_was_sent(void **state)
{
    struct world *w = *state;
    world_restart(w, see_headers);
    struct client c = client_open(w);
    client_expect(w, &c,
                  "PROPFIND /p?q=1?2 HTTP/1.1\r\nHost: a.b:80\r\nX-eMpty:\r\n"
                  "X-Value: \t a,  b\t\xc3\xa4 \t\r\nConnection: Keep-Alive, x\r\n\r\n",
                  204, "");
    assert_int_equal(w->handled, 1);
    client_close(&c);
}

static void refusals_after_the_head_follow_accept_and_name_the_path(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct response r = {0};
    client_send(w, &c,
                "POST /orders?x HTTP/1.1\r\n" H
                "Accept: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n");
    client_response(w, &c, &r);
    assert_int_equal(r.status, 413);
    assert_true(response_has(&r, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(buf_str(&r.body).p, "\"path\":\"/orders\""));
    assert_non_null(strstr(buf_str(&r.body).p, "\"code\":\"too_large\""));
    client_close(&c);
    response_deinit(&r);
}

/* "GET /aaa... HTTP/1.1" of exactly n bytes, and a Host header. */
static char *long_line(size_t n, const char *rest)
{
    char *text = malloc(n + strlen(rest) + 1);
    memset(text, 'a', n);
    memcpy(text, "GET /", 5);
    memcpy(text + n - 9, " HTTP/1.1", 9);
    strcpy(text + n, rest);
    return text;
}

static int status_of(struct world *w, const char *request)
{
    struct client c = client_open(w);
    struct response r = {0};
    client_send(w, &c, request);
    client_response(w, &c, &r);
    client_close(&c);
    response_deinit(&r);
    return r.status;
}

static void the_request_line_may_be_as_long_as_its_limit(void **state)
{
    char *at = long_line(8192, "\r\n" H "\r\n");
    char *over = long_line(8193, "\r\n" H "\r\n");
    char *endless = long_line(9000, "");
    assert_int_equal(status_of(*state, at), 200);
    assert_int_equal(status_of(*state, over), 414);
    endless[8500] = '\0';
    assert_int_equal(status_of(*state, endless), 414);
    /* Beyond the limit already, whatever comes there: a line torn before it says the same. */
    char *spoilt = long_line(9000, "\r\n" H "\r\n");
    spoilt[8900] = '\x03';
    assert_int_equal(status_of(*state, spoilt), 414);
    char *early = long_line(9000, "\r\n" H "\r\n");
    early[100] = '\x03';
    assert_int_equal(status_of(*state, early), 400);
    free(early);
    free(spoilt);
    free(at);
    free(over);
    free(endless);
}

static void headers_are_limited_in_number_and_size(void **state)
{
    struct buf request = BUF_INIT;
    for (int extra = 99; extra <= 100; extra++) {
        buf_clear(&request);
        buf_lit(&request, "GET / HTTP/1.1\r\n" H);
        for (int i = 0; i < extra; i++)
            buf_addf(&request, "X-%d: y\r\n", i);
        buf_lit(&request, "\r\n");
        assert_int_equal(status_of(*state, buf_str(&request).p), extra == 99 ? 200 : 431);
    }
    for (int excess = 0; excess <= 1; excess++) {
        buf_clear(&request);
        buf_lit(&request, "GET / HTTP/1.1\r\n" H "X: ");
        /* The block between the request line and the empty line: CRLF, Host and this one. */
        size_t fill = (64u << 10) - (sizeof("\r\n" H "X: \r\n") - 1) + (size_t)excess;
        for (size_t i = 0; i < fill; i++)
            buf_addc(&request, 'v');
        buf_lit(&request, "\r\n\r\n");
        assert_int_equal(status_of(*state, buf_str(&request).p), excess ? 431 : 200);
    }
    memset(request.p + request.n - 4, 'v', 4); /* never ends */
    assert_int_equal(status_of(*state, request.p), 431);
    buf_deinit(&request);
}

static void chunks_of_one_byte_are_served_but_endless_extensions_are_not(void **state)
{
    struct buf request = BUF_INIT;
    buf_lit(&request, CHUNKED);
    for (int i = 0; i < 50000; i++)
        buf_lit(&request, "1\r\nx\r\n");
    buf_lit(&request, "0\r\n\r\n");
    assert_int_equal(status_of(*state, buf_str(&request).p), 200);
    assert_int_equal(((struct world *)*state)->body_seen, 50000);
    buf_clear(&request);
    buf_lit(&request, CHUNKED "1;");
    for (int i = 0; i < 100000; i++)
        buf_addc(&request, 'x');
    assert_int_equal(status_of(*state, buf_str(&request).p), 400);
    buf_clear(&request);
    buf_lit(&request, CHUNKED "0\r\nX: ");
    for (int i = 0; i < 100000; i++)
        buf_addc(&request, 'x');
    assert_int_equal(status_of(*state, buf_str(&request).p), 431);
    buf_deinit(&request);
}

static void bodies_may_be_as_large_as_their_limit_and_chunks_count_together(void **state)
{
    struct world *w = *state;
    struct buf request = BUF_INIT;
    w->limits.body_bytes = 100000;
    world_restart(w, world_handle);
    buf_lit(&request, "POST / HTTP/1.1\r\n" H "Content-Length: 100000\r\n\r\n");
    for (int i = 0; i < 100000; i++)
        buf_addc(&request, 'b');
    assert_int_equal(status_of(w, buf_str(&request).p), 200);
    assert_int_equal(w->body_seen, 100000);
    for (int excess = 0; excess <= 1; excess++) {
        buf_clear(&request);
        buf_lit(&request, CHUNKED);
        for (int i = 0; i < 1000; i++)
            buf_addf(&request, "64\r\n%0100d\r\n", i);
        buf_adds(&request, excess ? STR("1\r\nx\r\n0\r\n\r\n") : STR("0\r\n\r\n"));
        assert_int_equal(status_of(w, buf_str(&request).p), excess ? 413 : 200);
    }
    buf_deinit(&request);
}

static void a_body_earns_time_however_large_it_is(void **state)
{
    (void)state;
    assert_int_equal(http_body_earned_ns(0, 1024), 0);
    assert_int_equal(http_body_earned_ns(1536, 1024), NS_PER_S + NS_PER_S / 2);
    assert_int_equal(http_body_earned_ns(10ull << 30, 1024), (10 << 20) * NS_PER_S);
    int64_t most = http_body_earned_ns(UINT64_MAX, 1);
    assert_true(most > (INT64_MAX >> 3) && most < (INT64_MAX >> 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_CASE(every_refusal_has_its_status_a_problem_and_closes),
        WORLD_CASE(accepted_requests_arrive_whole_one_after_another),
        WORLD_CASE(byte_by_byte_gives_the_same_as_whole),
        WORLD_CASE(refusals_fed_byte_by_byte_are_the_same),
        WORLD_CASE(names_values_path_and_query_are_what_was_sent),
        WORLD_CASE(refusals_after_the_head_follow_accept_and_name_the_path),
        WORLD_CASE(the_request_line_may_be_as_long_as_its_limit),
        WORLD_CASE(headers_are_limited_in_number_and_size),
        WORLD_CASE(chunks_of_one_byte_are_served_but_endless_extensions_are_not),
        WORLD_CASE(bodies_may_be_as_large_as_their_limit_and_chunks_count_together),
        cmocka_unit_test(a_body_earns_time_however_large_it_is),
    };
    return cmocka_run_group_tests_name("http/parse", tests, NULL, NULL);
}
