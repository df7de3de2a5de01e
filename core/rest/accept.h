/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

/* The media type of a resource's answer: application/hal+json unless the client named
 * application/json first (B5 of the originals: the body is the same). */
struct str rest_accept_type(struct str accept);
