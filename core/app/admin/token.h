/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

/* True for "Bearer TOKEN" with this very token; takes the same time whichever bytes differ. */
bool admin_token_matches(struct str token, struct str authorization);
/* The same for "Basic BASE64" of a name and the token as its password. */
bool admin_token_matches_basic(struct str token, struct str authorization, struct arena *a);
/* The token of a client: MOONTIDE_ADMIN_TOKEN, else the file, else DATA/admin.token (data may be
 * empty). Never makes one: ERR_NOT_FOUND if there is none. */
int admin_token_find(struct str token_file, struct str data, struct buf *ret, struct err *err);
