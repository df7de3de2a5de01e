/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

#define HTTP_DIGEST_CHARS 64

/* SHA-256 over the parts, each with its length before it, so that no two lists are one text; as 64
 * hexadecimal digits and a NUL. */
void http_digest(const struct str *parts, size_t count, char out[HTTP_DIGEST_CHARS + 1]);
