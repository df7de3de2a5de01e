/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"

/* Shows where in a source something is wrong: the line, and below it a caret. */

/* Appends two lines, or nothing if the source has no such line. The caret stands below the word
 * that the message quotes last ('x' or "x"), else below the line's first word. Control characters
 * are left out, so that the text may go to a terminal. */
void excerpt_write(struct buf *out, struct str source, int64_t line, struct str message);
/* "scripts/routes/x/y.lua:12: text": the path below the scripts folder and the line. False if the
 * message names no place. */
bool excerpt_place(struct str message, struct str *ret_path, int64_t *ret_line);
