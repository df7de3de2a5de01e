#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The test runner: finds every test program, runs them side by side, reads their TAP, and reports cases.

    python3 tests/run.py [--quick] [--list] [--only GROUP] [PATTERN]

Everything is expected to be built (./dev test does that). Groups: lint, unit, tsan, spec, fuzz, e2e, fault.
"""
import argparse
import concurrent.futures
import ctypes
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from harness import BUILD, SANITIZER, SANITIZER_ENV, binary  # noqa: E402
from tap import matches  # noqa: E402

LAST = os.path.join(BUILD, "last-tests.json")
DEFAULT_SECONDS = 120  # of one program; a source line with "timeout: 300" in its first ten changes it
GROUPS = ["lint", "unit", "tsan", "spec", "fuzz", "e2e", "fault"]
QUICK = {"lint", "unit", "spec"}
TSAN = re.compile(r"^(loop_|breaker_|bus_|store_test_sqlite_)")
BY_MACRO = re.compile(r"^#define(?:.*\\\n)*.*cmocka_unit_test", re.MULTILINE)  # names are in its uses
UNIT_CASE = re.compile(r"cmocka_unit_test\w*\(\s*(\w+)")
SENTENCE = re.compile(r"(?<![A-Za-z0-9])([A-Z]{2,}[-_]\d+[a-z]?\d?)(?![A-Za-z0-9])")
TAP_LINE = re.compile(r"^(not )?ok\b\s*(\d*)\s*-?\s*(.*)$")


class Program:
    """One process that runs cases and prints TAP."""

    def __init__(self, group, label, argv, source=None, prefix="", cases=None, env=None):
        self.group, self.label, self.argv, self.source = group, label, argv, source
        self.prefix = prefix  # put before each case's name
        self.cases = cases    # names known without running it, in order; None if only a run tells
        self.env = env or {}

    def seconds(self):
        if self.source and os.path.isfile(self.source):
            with open(self.source, encoding="utf-8") as file:
                found = re.search(r"timeout: (\d+)", "".join(file.readlines()[:10]))
                if found:
                    return int(found.group(1))
        return DEFAULT_SECONDS


class Result:
    def __init__(self, program, name, outcome, detail="", broken=False):
        self.program, self.name, self.outcome, self.detail = program, name, outcome, detail
        self.broken = broken  # the program did not get to reporting this case itself


# -- finding programs ----------------------------------------------------------------------------------------------


def unit_programs(group, build, wanted):
    """The cmocka binaries of tests/unit/<floor>/test_<module>.c, named <floor>_test_<module>."""
    for source in sorted(glob.glob(os.path.join(ROOT, "tests/unit/*/test_*.c"))):
        floor = os.path.basename(os.path.dirname(source))
        stem = os.path.basename(source)[:-2]
        if not wanted(f"{floor}_{stem}"):
            continue
        label = f"{floor}/{stem[5:]}" + (" (tsan)" if group == "tsan" else "")
        with open(source, encoding="utf-8") as file:
            text = file.read()
        cases = UNIT_CASE.findall(text) if not BY_MACRO.search(text) else []
        path = os.path.join(BUILD, build, "unit", f"{floor}_{stem}")
        yield Program(group, label, [path], source, label + ": ", [f"{label}: {case}" for case in cases] or None,
                      {"CMOCKA_MESSAGE_OUTPUT": "TAP"})


def python_programs(group, folder, glob_pattern):
    for source in sorted(glob.glob(os.path.join(ROOT, "tests", folder, glob_pattern))):
        label = os.path.relpath(source, ROOT)
        listed = subprocess.run([sys.executable, source, "--list"], capture_output=True, text=True,
                                env=environment(), check=False)
        cases = listed.stdout.splitlines() if listed.returncode == 0 else [f"{label} can be loaded"]
        yield Program(group, label, [sys.executable, source], source, "", cases)


def spec_programs():
    """One process a file, so that they share out over the cores and one that hangs is named."""
    for source in sorted(glob.glob(os.path.join(ROOT, "tests/spec/**/*_spec.lua"), recursive=True)):
        label = os.path.relpath(source, ROOT)
        yield Program("spec", label, [binary("asan"), "test", label], source)


def fuzz_programs():
    """Replays corpus/NAME and crashers/NAME through asan/replay_NAME. A target without inputs, or inputs without a
    target, fail."""
    top = os.path.join(ROOT, "tests/fuzz")
    names = {os.path.basename(path)[5:-2] for path in glob.glob(f"{top}/fuzz_*.c")}
    names |= {os.path.basename(path) for path in glob.glob(f"{top}/corpus/*") + glob.glob(f"{top}/crashers/*")}
    for name in sorted(names):
        inputs = [file for kind in ("corpus", "crashers") for file in sorted(glob.glob(f"{top}/{kind}/{name}/*"))]
        replay = os.path.join(BUILD, "asan", f"replay_{name}")
        inputs = inputs if glob.glob(f"{top}/corpus/{name}/*") else []  # replay fails when it is given none
        yield Program("fuzz", f"fuzz/{name}", [replay, *inputs], None, "",
                      [f"SHOP-6 fuzz/{name}: corpus and crashers replayed"])


def find_programs(groups):
    found = []
    if "lint" in groups:
        found += python_programs("lint", "lint", "*.py")
    if "unit" in groups:
        found += unit_programs("unit", "asan", lambda name: True)
    if "tsan" in groups:
        found += unit_programs("tsan", "tsan", TSAN.match)
    if "spec" in groups:
        found += spec_programs()
    if "fuzz" in groups:
        found += fuzz_programs()
    if "e2e" in groups:
        found += python_programs("e2e", "e2e", "test_*.py")
    if "fault" in groups:
        found += python_programs("fault", "fault", "test_*.py")
    return found


# -- running one ---------------------------------------------------------------------------------------------------


def environment(extra=None):
    env = dict(os.environ)
    env.update(SANITIZER_ENV)
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    env["PYTHONPATH"] = os.path.join(ROOT, "tests", "support")
    env.update(extra or {})
    return env


def run_process(argv, env, seconds):
    """Runs argv in a process group of its own, which is gone afterwards: (exit code, stdout, stderr, timed out)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   start_new_session=True)
        late = False
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return process.returncode, texts[0], texts[1], late


def parse_tap(text):
    """(planned or None, [(passed, skipped, name, detail)]); '#' lines after a case are its detail."""
    planned, cases, before = None, [], []
    for line in text.splitlines():
        plan = re.match(r"^1\.\.(\d+)", line)
        found = TAP_LINE.match(line)
        if plan:
            planned = int(plan.group(1))
        elif found:
            name, _, directive = found.group(3).partition("# ")
            skipped = directive.upper().startswith("SKIP")
            words = directive.split(None, 1)
            name = name.strip() or (words[1].strip() if skipped and len(words) > 1 else "unnamed")  # cmocka's way
            cases.append([not found.group(1) or skipped, skipped, name, before])
            before = []
        elif line.startswith("#") and cases:
            cases[-1][3].append(line[2:])
        elif line.strip():
            before.append(line)
    return planned, cases


def how_it_ended(code, late, seconds):
    if late:
        return f"not finished within {seconds} s, killed"
    return f"killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"


def missing_case(program, reported):
    """The name under which a program's early end is shown: the first case that did not report."""
    for name in program.cases or []:
        if name not in reported:
            return name
    return f"{program.label}: runs to its end"


def run_program(program, pattern):
    """All results of one program."""
    argv = list(program.argv)
    if program.group in ("lint", "e2e", "fault") and pattern is not None:
        argv += ["--only", pattern]
    if not os.path.exists(argv[0]):
        return [Result(program, missing_case(program, ()), "failed", f"{argv[0]} is not built", True)]
    seconds = program.seconds()
    code, out, err, late = run_process(argv, environment(program.env), seconds)
    if program.group == "fuzz":
        outcome = "passed" if code == 0 and not late else "failed"
        return [Result(program, program.cases[0], outcome, out + err + how_it_ended(code, late, seconds))]
    planned, cases = parse_tap(out)
    results = []
    for passed, skipped, name, detail in cases:
        outcome = "skipped" if skipped else "passed" if passed else "failed"
        text = "\n".join(detail) + ("\n" + err if outcome == "failed" and err else "")
        results.append(Result(program, program.prefix + name, outcome, text))
    failed = any(result.outcome == "failed" for result in results)
    short = planned is None or len(cases) < planned
    if late or short or (code != 0 and not failed):
        name = missing_case(program, {result.name for result in results})
        detail = "\n".join([out, err, how_it_ended(code, late, seconds)])
        results.append(Result(program, name, "failed", detail, True))
    elif SANITIZER.search(err) and not failed:
        results.append(Result(program, f"{program.label}: leaves no sanitizer report", "failed", err, True))
    return results


# -- the report ----------------------------------------------------------------------------------------------------


def sentence_of(name):
    found = SENTENCE.search(name)
    return found.group(1).replace("_", "-") if found else ""


def load_last():
    try:
        with open(LAST, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {"cases": [], "seconds": {}}


def save_last(results, seconds, groups, everything):
    """Keeps the results; those of cases that did not run now stay, unless all of their group ran."""
    last = load_last()
    fresh = {(r.program.group, r.name) for r in results}
    kept = [c for c in last["cases"]
            if (c["group"], c["name"]) not in fresh and not (everything and c["group"] in groups)]
    cases = kept + [{"group": r.program.group, "name": r.name, "result": r.outcome} for r in results]
    os.makedirs(BUILD, exist_ok=True)
    with open(LAST + ".new", "w", encoding="utf-8") as file:
        json.dump({"cases": cases, "seconds": {**last["seconds"], **seconds}}, file, indent=1)
    os.replace(LAST + ".new", LAST)


def natural(text):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def list_cases(groups, pattern):
    rows = {(c["group"], c["name"]): c["result"] for c in load_last()["cases"] if c["group"] in groups}
    for program in find_programs(groups):
        for name in program.cases or []:
            rows.setdefault((program.group, name), "not run")
    table = [(sentence_of(name), name, result) for (_, name), result in rows.items() if matches(pattern, name)]
    table.sort(key=lambda row: (row[0] == "", natural(row[0]), natural(row[1])))
    width = max([8] + [len(row[0]) for row in table])
    print(f"{'sentence':<{width}}  {'result':<7}  case")
    for sentence, name, result in table:
        print(f"{sentence or '-':<{width}}  {result:<7}  {name}")
    return 0 if table else 1


def fix_addresses():
    """The sanitizers of gcc 12 cannot live with more than 28 random bits in addresses, which newer kernels use."""
    try:
        with open("/proc/sys/vm/mmap_rnd_bits", encoding="utf-8") as file:
            if int(file.read()) > 28:
                ctypes.CDLL(None).personality(0x0040000)  # ADDR_NO_RANDOMIZE, inherited by what runs from here
    except (OSError, ValueError):
        pass  # not readable: nothing to correct


def strays():
    """Running servers of the test builds: leftovers of an earlier run, or another run right now."""
    ours = {os.path.realpath(os.path.join(BUILD, kind, "moontide")) for kind in ("asan", "tsan")}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            path = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
            if path in ours:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                    yield pid, file.read().replace("\0", " ").strip()
        except OSError:
            continue  # gone meanwhile, or another user's


def show_group(group, results, seconds):
    counts = {kind: sum(r.outcome == kind for r in results) for kind in ("passed", "failed", "skipped")}
    line = f"{group:<6} {counts['passed']:>5} passed"
    line += f", {counts['failed']} failed" if counts["failed"] else ""
    line += f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"{line:<50} {seconds:6.1f} s", flush=True)


def show_failures(failures):
    first = failures[0]
    print(f"\nFAILED {first.name}  ({first.program.label})")
    shadow = re.compile(r"^Shadow bytes around.*?(?=^==\d+==|\Z)", re.MULTILINE | re.DOTALL)  # the long tail of a report
    for line in shadow.sub("", first.detail).strip().splitlines()[-40:]:
        print(f"    {line}")
    print(f"run it alone: ./dev test {shell_quoted(first.name)}")
    for other in failures[1:31]:
        print(f"FAILED {other.name}  ({other.program.label})")
    if len(failures) > 31:
        print(f"... and {len(failures) - 31} more")


def shell_quoted(text):
    return '"' + re.sub(r'(["$`\\])', r"\\\1", text) + '"'


def run_all(programs, pattern):
    """Runs the programs over the cores, longest first; returns (results, seconds by program)."""
    before = load_last()["seconds"]
    programs = sorted(programs, key=lambda p: -before.get(f"{p.group} {p.label}", 10.0))
    left = {group: [p for p in programs if p.group == group] for group in GROUPS}
    by_group, spent, seconds, others = {}, {}, {}, []

    def timed(program):
        start = time.monotonic()
        results = run_program(program, pattern)
        return program, results, time.monotonic() - start

    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for future in concurrent.futures.as_completed([pool.submit(timed, program) for program in programs]):
            program, results, took = future.result()
            wanted = [r for r in results if matches(pattern, r.name)]
            others += [r for r in results if r.broken and r not in wanted]
            by_group.setdefault(program.group, []).extend(wanted)
            spent[program.group] = spent.get(program.group, 0) + took
            seconds[f"{program.group} {program.label}"] = round(took, 2)
            left[program.group].remove(program)
            if not left[program.group] and by_group[program.group]:
                show_group(program.group, by_group[program.group], spent[program.group])
    results = [r for group in GROUPS for r in by_group.get(group, [])]
    return results or others, seconds  # a program that broke before the wanted case must not look like none


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", choices=GROUPS)
    parser.add_argument("pattern", nargs="?")
    args = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ./dev test --list | head
    groups = {args.only} if args.only else set(QUICK if args.quick else GROUPS)
    if args.list:
        return list_cases(groups, args.pattern)
    for pid, line in strays():
        print(f"a server of the test builds is still running: {pid}: {line}\n"
              f"end it first (kill {pid}), or wait for the other test run", file=sys.stderr)
        return 1
    fix_addresses()
    programs = [p for p in find_programs(groups)
                if p.cases is None or any(matches(args.pattern, name) for name in p.cases)]
    results, seconds = run_all(programs, args.pattern)
    save_last(results, seconds, groups, args.pattern is None)
    failures = [r for r in results if r.outcome == "failed"]
    if failures:
        show_failures(failures)
    if not results:
        print(f"no case matches {args.pattern!r}" if args.pattern else "no case was found")
    passed = sum(r.outcome == "passed" for r in results)
    print(f"{passed} passed, {len(failures)} failed", flush=True)
    return 1 if failures or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
