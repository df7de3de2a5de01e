/* SPDX-License-Identifier: MIT */
/* How a command finds the server that it is meant for. A server writes where it listens to
 * DATA/run.json, so that the usual case, one server started from this folder, needs no flag at all.
 */
#include "app/client.h"

#include "app/admin/token.h"
#include "app/client_http.h"
#include "base/file.h"
#include "base/json.h"
#include "http/url.h"

#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define DATA_FOLDERS "./data"
#define RUN_FILE_MAX 4096
#define WAIT_S 60 /* a stream that is followed has a heartbeat every 15 s */

static struct str flag_or_env(struct str flag, const char *name)
{
    return flag.n > 0 ? flag : str_from(getenv(name));
}

/* The admin address in folder/run.json, appended to out, and the process; false if there is none.
 */
static bool read_run_file(const char *folder, struct buf *out, int64_t *ret_pid)
{
    struct buf path = BUF_INIT, text = BUF_INIT;
    struct arena *a = arena_new(0);
    struct json run;
    const struct json *admin = NULL;
    struct err err;
    buf_addf(&path, "%s/run.json", folder);
    if (!file_read(buf_str(&path).p, RUN_FILE_MAX, &text, &err) &&
        !json_parse(a, buf_str(&text), 4, &run, &err) && run.type == JSON_OBJECT)
        admin = json_find(&run, STR("admin"));
    bool found = admin && admin->type == JSON_TEXT;
    const struct json *pid = found ? json_find(&run, STR("pid")) : NULL;
    if (found)
        buf_adds(out, admin->s);
    *ret_pid = pid && pid->type == JSON_INT ? pid->i : 0;
    arena_free(a);
    buf_deinit(&text);
    buf_deinit(&path);
    return found;
}

/* Looks for servers below ./data: folder and address of the last one found go to the buffers, the
 * number is returned. wanted: only that address; empty: all. */
static int scan_folders(struct str wanted, struct buf *ret_folder, struct buf *ret_address)
{
    int count = 0;
    DIR *dir = opendir(DATA_FOLDERS);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct buf folder = BUF_INIT, address = BUF_INIT;
        buf_addf(&folder, DATA_FOLDERS "/%s", e->d_name);
        int64_t ignored;
        bool found = e->d_name[0] != '.' && read_run_file(buf_str(&folder).p, &address, &ignored);
        if (found && (wanted.n == 0 || str_eq(wanted, buf_str(&address)))) {
            count++;
            buf_clear(ret_folder);
            buf_clear(ret_address);
            buf_adds(ret_folder, buf_str(&folder));
            buf_adds(ret_address, buf_str(&address));
        }
        buf_deinit(&folder);
        buf_deinit(&address);
    }
    if (dir)
        closedir(dir);
    return count;
}

static bool read_own_run_file(struct client *c, struct buf *data)
{
    buf_clear(&c->address);
    if (!read_run_file(buf_str(data).p, &c->address, &c->pid))
        return false;
    buf_clear(&c->folder);
    buf_adds(&c->folder, buf_str(data));
    return true;
}

/* Fills in the address, and the data folder where it is known. */
static int find_server(struct client *c, struct str admin, struct buf *data, struct err *err)
{
    struct buf ignored = BUF_INIT;
    if (admin.n > 0) {
        buf_adds(&c->address, admin);
        if (data->n == 0 && scan_folders(admin, data, &ignored) > 1)
            buf_clear(data);
        buf_deinit(&ignored);
        return 0;
    }
    if (data->n > 0) {
        if (read_own_run_file(c, data))
            return 0;
        return err_set(err, ERR_IO, "no server runs in %s", buf_str(data).p);
    }
    int count = scan_folders((struct str){NULL, 0}, data, &ignored);
    if (count == 1 && read_own_run_file(c, data)) {
        buf_deinit(&ignored);
        return 0;
    }
    buf_deinit(&ignored);
    if (count == 0)
        return err_set(err, ERR_IO,
                       "no server runs below " DATA_FOLDERS "; name one with --admin or --data");
    return err_set(err, ERR_CONFIG,
                   "several servers below " DATA_FOLDERS "; name one with --admin or --data");
}

static int connect_one(const struct addrinfo *info)
{
    const struct timeval wait = {.tv_sec = WAIT_S};
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    if (connect(fd, info->ai_addr, info->ai_addrlen) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int connect_to(const struct client *c, struct err *err)
{
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int fd = -1, result = getaddrinfo(c->host, c->port, &hints, &found);
    if (result)
        return err_set(err, ERR_IO, "%s", gai_strerror(result));
    errno = ECONNREFUSED;
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next)
        fd = connect_one(at);
    int saved = errno;
    freeaddrinfo(found);
    if (fd < 0)
        return err_set(err, ERR_IO, "%s", strerror(saved));
    return fd;
}

static int send_all(int fd, struct str s, struct err *err)
{
    while (s.n > 0) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, ERR_IO, "the connection broke");
        s.p += n;
        s.n -= (size_t)n;
    }
    return 0;
}

static int send_request(const struct client *c, int fd, const struct client_request *r,
                        struct err *err)
{
    struct buf head = BUF_INIT;
    buf_addf(&head, "%s %.*s HTTP/1.1\r\nHost: %.*s\r\n", r->method, STR_ARG(r->target),
             (int)c->address.n, c->address.p);
    if (c->token.n > 0)
        buf_addf(&head, "Authorization: Bearer %.*s\r\n", (int)c->token.n, c->token.p);
    if (r->body.n > 0)
        buf_lit(&head, "Content-Type: application/json\r\n");
    if (r->body.n > 0 || strcmp(r->method, "GET") != 0)
        buf_addf(&head, "Content-Length: %zu\r\n", r->body.n);
    buf_lit(&head, "Connection: close\r\n\r\n");
    buf_adds(&head, r->body);
    int failed = send_all(fd, buf_str(&head), err);
    buf_deinit(&head);
    return failed;
}

bool client_set_address(struct client *c, struct str address)
{
    struct str scheme = STR("http://");
    if (str_starts(address, scheme))
        address = (struct str){address.p + scheme.n, address.n - scheme.n};
    if (address.n > 0 && address.p[address.n - 1] == '/')
        address.n--;
    size_t colon = address.n;
    while (colon > 0 && address.p[colon - 1] != ':')
        colon--;
    struct str host = {address.p, colon > 0 ? colon - 1 : 0};
    struct str port = {address.p + colon, address.n - colon};
    int64_t number;
    if (host.n == 0 || host.n >= sizeof(c->host) || !http_authority_is_valid(address) ||
        !str_to_int(port, &number) || number < 1 || number > 65535)
        return false;
    buf_clear(&c->address);
    buf_adds(&c->address, address);
    if (host.p[0] == '[')
        host = (struct str){host.p + 1, host.n - 2};
    snprintf(c->host, sizeof(c->host), "%.*s", STR_ARG(host));
    snprintf(c->port, sizeof(c->port), "%d", (int)number);
    return true;
}

int client_open(struct client *c, const struct client_conf *conf, struct err *err)
{
    struct buf data = BUF_INIT, address = BUF_INIT;
    buf_adds(&data, flag_or_env(conf->data, "MOONTIDE_DATA"));
    int failed = find_server(c, flag_or_env(conf->admin, "MOONTIDE_ADMIN"), &data, err);
    buf_adds(&address, buf_str(&c->address));
    if (!failed && !client_set_address(c, buf_str(&address)))
        failed = err_set(err, ERR_CONFIG, "\"%s\" is no address: expected HOST:PORT",
                         buf_str(&address).p);
    if (!failed) {
        struct str file = flag_or_env(conf->token_file, "MOONTIDE_ADMIN_TOKEN_FILE");
        struct err failure;
        failed = admin_token_find(file, buf_str(&data), &c->token, &failure);
        if (failed && failure.code == ERR_NOT_FOUND)
            failed = 0; /* whether the server is there at all is worth more to know */
        else if (failed)
            err_set(err, ERR_CONFIG, "%s", failure.message);
    }
    buf_deinit(&data);
    buf_deinit(&address);
    return failed;
}

void client_close(struct client *c)
{
    buf_deinit(&c->address);
    buf_deinit(&c->token);
    buf_deinit(&c->folder);
}

/* The process that wrote the run.json. */
static bool has_ended(const struct client *c)
{
    return c->pid > 0 && kill((pid_t)c->pid, 0) != 0 && errno == ESRCH;
}

int client_call(struct client *c, const struct client_request *r, int *ret_status,
                struct buf *ret_body, struct err *err)
{
    int failed = -1, status = 0;
    int fd = connect_to(c, err);
    if (fd >= 0) {
        failed = send_request(c, fd, r, err);
        if (!failed)
            failed = client_http_read(fd, r, &status, ret_body, err);
        close(fd);
    }
    /* Its port may have another server by now, which does not know the token. */
    if ((fd < 0 || status == 401) && has_ended(c))
        return err_set(
            err, ERR_IO,
            "no server runs in %s: process %lld has ended and left its run.json; start it "
            "again with \"moontide run\"",
            buf_str(&c->folder).p, (long long)c->pid);
    if (failed)
        err_wrap(err, "cannot reach the server at %s", buf_str(&c->address).p);
    if (fd < 0) {
        struct err plain = *err;
        err_set(err, ERR_IO, "%s; is it running, and is this its admin address?", plain.message);
    }
    if (!failed)
        *ret_status = status;
    return failed;
}
