/* SPDX-License-Identifier: MIT */
#pragma once

/* Named fault points: places where a test makes the process die or fail. They exist only in builds
 * with MOONTIDE_FAULTS (the test presets); elsewhere fault_hit is a constant 0 and costs nothing.
 *
 * MOONTIDE_FAULT="writer.committed=kill@3" kills the process (SIGKILL) at the third pass of that
 * point; "bus.deliver=fail@1" makes fault_hit return 1 at the first pass, "=fail@*" at every one.
 * Several are joined by ','. What "fail" means is said where the point stands. */
#ifdef MOONTIDE_FAULTS
int fault_hit(const char *point);
#else
static inline int fault_hit(const char *point)
{
    (void)point;
    return 0;
}
#endif
