/* SPDX-License-Identifier: MIT */
/* Names for what was asked: keys of calls that leave the process, and whether a request that comes
 * again under its key is still the same one. */
#include "http/digest.h"

#include <openssl/evp.h>

#include <stdio.h>
#include <stdlib.h>

void http_digest(const struct str *parts, size_t count, char out[HTTP_DIGEST_CHARS + 1])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    for (size_t i = 0; ok && i < count; i++) {
        uint64_t n = parts[i].n;
        ok = EVP_DigestUpdate(ctx, &n, sizeof(n)) && EVP_DigestUpdate(ctx, parts[i].p, parts[i].n);
    }
    if (!ok || !EVP_DigestFinal_ex(ctx, sum, NULL)) {
        fprintf(stderr, "moontide: SHA-256 is not available\n");
        abort();
    }
    EVP_MD_CTX_free(ctx);
    for (size_t i = 0; i < HTTP_DIGEST_CHARS / 2; i++)
        snprintf(out + 2 * i, 3, "%02x", sum[i]);
}
