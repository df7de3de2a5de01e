/* SPDX-License-Identifier: MIT */
/* What is true of HTTP messages whoever reads or writes them: names of methods and statuses, legal
 * tokens and values. Kept apart from the parser so that routes, scripts and clients can ask without
 * a connection. */
#include "http/message.h"

static const char *const method_texts[] = {
    [HTTP_GET_] = "GET",         [HTTP_HEAD_] = "HEAD",   [HTTP_POST_] = "POST",
    [HTTP_PUT_] = "PUT",         [HTTP_PATCH_] = "PATCH", [HTTP_DELETE_] = "DELETE",
    [HTTP_OPTIONS_] = "OPTIONS", [HTTP_OTHER_] = "OTHER",
};

struct reason {
    int status;
    const char *text;
};

static const struct reason reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {418, "I'm a teapot"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {511, "Network Authentication Required"},
};

static bool is_token_char(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

struct str http_header_find(const struct http_request *r, struct str name)
{
    for (size_t i = 0; i < r->header_count; i++) {
        if (r->headers[i].name.n == name.n && str_ieq(r->headers[i].name, name))
            return r->headers[i].value;
    }
    return (struct str){NULL, 0};
}

const char *http_method_text(enum http_method m)
{
    return method_texts[m];
}

enum http_method http_method_from(struct str name)
{
    for (int m = HTTP_GET_; m < HTTP_OTHER_; m++) {
        if (str_eq(name, str_from(method_texts[m])))
            return (enum http_method)m;
    }
    return HTTP_OTHER_;
}

const char *http_reason(int status)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status)
            return reasons[i].text;
    }
    return "";
}

bool http_value_is_valid(struct str value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

bool http_token_is_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (!is_token_char(name.p[i]))
            return false;
    }
    return name.n > 0;
}
