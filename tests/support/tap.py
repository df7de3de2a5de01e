# SPDX-License-Identifier: MIT
"""Cases in Python: declared with @case, run by main(), reported as TAP, so that a test file works alone and under run.py.

    from tap import case, main

    @case("PATH-6a an order is answered with 201")
    def order():
        assert ...

    if __name__ == "__main__":
        main()

    python3 tests/e2e/test_x.py [--list] [--only PATTERN]
"""
import contextlib
import os
import random
import re
import signal
import sys
import traceback

CASES = []
_cleanups = []


class Skip(Exception):
    """Raised by skip(): the case does not apply here."""


class TooLong(BaseException):
    """The case's time is over; not an Exception, so that no case swallows it."""


def case(name, seconds=60):
    """Declares the function as a case. It fails when it raises or runs longer than `seconds`."""
    def declare(function):
        CASES.append((name, function, seconds))
        return function
    return declare


def skip(reason):
    raise Skip(reason)


def note(text):
    """A line of diagnostics in the case's output."""
    for line in str(text).splitlines() or [""]:
        print(f"# {line}", flush=True)


def at_end(function):
    """Runs function() when the case is over, last one first; what it raises fails the case."""
    _cleanups.append(function)


def rng():
    """A source of chance whose seed is printed; MOONTIDE_TEST_SEED repeats it."""
    seed = int(os.environ.get("MOONTIDE_TEST_SEED") or random.SystemRandom().randrange(1 << 31))
    note(f"seed {seed} (repeat with MOONTIDE_TEST_SEED={seed})")
    return random.Random(seed)


def matches(pattern, name):
    """True if the pattern is a part of the name or, as a regular expression, found in it. Capitals count if it has any."""
    if pattern is None or pattern in name:
        return True
    flags = re.IGNORECASE if pattern == pattern.lower() else 0
    with contextlib.suppress(re.error):
        return re.search(pattern, name, flags) is not None
    return False


def _run_cleanups():
    first = None
    while _cleanups:
        function = _cleanups.pop()
        try:
            function()
        except Exception as error:  # every clean-up runs; the first failure is the case's
            first = first or error
    return first


def _on_alarm(_signal, _frame):
    raise TooLong()


def _attempt(function, seconds):
    """Runs one case with its clean-ups; returns None, or the error."""
    failure = None
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.alarm(seconds)
    try:
        function()
    except TooLong as error:
        failure = AssertionError(f"not finished within {seconds} s")
        failure.__traceback__ = error.__traceback__
    except Exception as error:
        failure = error
    signal.alarm(0)
    after = _run_cleanups()
    if isinstance(failure, Skip):
        return after or failure
    if failure is not None and after is not None:
        note(f"and at the end: {after}")
    return failure or after


def _report(number, name, failure):
    if failure is None:
        print(f"ok {number} - {name}", flush=True)
    elif isinstance(failure, Skip):
        print(f"ok {number} - {name} # SKIP {failure}", flush=True)
    else:
        print(f"not ok {number} - {name}", flush=True)
        here = os.path.dirname(os.path.realpath(__file__))
        for frame in traceback.extract_tb(failure.__traceback__):
            path = os.path.realpath(frame.filename)
            if os.path.dirname(path) != here:
                note(f"{os.path.relpath(path)}:{frame.lineno}: {frame.line}")
        text = str(failure)
        note(text if isinstance(failure, AssertionError) and text else f"{type(failure).__name__}: {text}")


def main(argv=None):
    """Runs the declared cases and exits: 0 if all passed."""
    argv = list(sys.argv[1:] if argv is None else argv)
    pattern = argv[argv.index("--only") + 1] if "--only" in argv else None
    chosen = [entry for entry in CASES if matches(pattern, entry[0])]
    if "--list" in argv:
        for name, _, _ in chosen:
            print(name)
        sys.exit(0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would servers
    print(f"1..{len(chosen)}", flush=True)
    failed = 0
    for number, (name, function, seconds) in enumerate(chosen, 1):
        failure = _attempt(function, seconds)
        _report(number, name, failure)
        failed += failure is not None and not isinstance(failure, Skip)
    sys.exit(1 if failed else 0)
