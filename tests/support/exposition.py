# SPDX-License-Identifier: MIT
"""A strict reader of the Prometheus text format 0.0.4: whatever it does not have to allow is an error."""
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}


class Malformed(AssertionError):
    pass


def need(condition, line, why):
    if not condition:
        raise Malformed(f"{why}: {line!r}")


def read_labels(text, line):
    labels, at = {}, 0
    while at < len(text):
        found = LABEL.match(text, at)
        need(found, line, "a malformed label")
        name, value, comma = found.groups()
        need(name not in labels, line, "a label twice")
        need(not comma or found.end() < len(text), line, "a comma at the end")
        labels[name] = re.sub(r"\\(.)", lambda m: "\n" if m.group(1) == "n" else m.group(1), value)
        at = found.end()
    return labels


def read_value(text, line):
    if text in ("+Inf", "-Inf", "NaN"):
        return float(text.replace("Inf", "inf"))
    need(re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text), line, "a malformed number")
    return float(text)


def suffixes(kind):
    return {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}.get(kind, ("",))


class Family:
    def __init__(self, name, text):
        self.name, self.help, self.kind, self.samples = name, text, None, []

    def add(self, name, labels, value, line):
        need(self.kind, line, "a sample before its TYPE")
        need(name in {self.name + s for s in suffixes(self.kind)}, line, f"no sample of {self.name}")
        key = (name, tuple(sorted(labels.items())))
        need(all((n, tuple(sorted(l.items()))) != key for n, l, _ in self.samples), line, "a sample twice")
        need(not (self.kind == "counter" and not value >= 0), line, "a counter below zero")
        self.samples.append((name, labels, value))

    def value(self, suffix="", **labels):
        found = [v for n, l, v in self.samples if n == self.name + suffix and l == labels]
        assert len(found) == 1, (self.name, suffix, labels, found)
        return found[0]

    def sum(self, suffix="", **labels):
        return sum(v for n, l, v in self.samples
                   if n == self.name + suffix and all(l.get(k) == w for k, w in labels.items()))

    def check(self):
        need(self.kind, self.name, "no TYPE")
        if self.kind == "counter":
            need(self.name.endswith("_total"), self.name, "a counter's name ends in _total")
        if self.kind == "histogram":
            self.check_histogram()

    def check_histogram(self):
        groups = {}
        for name, labels, value in self.samples:
            rest = {k: v for k, v in labels.items() if k != "le"}
            groups.setdefault(tuple(sorted(rest.items())), []).append((name, labels.get("le"), value))
        for labels, samples in groups.items():
            buckets = [(read_value(le, labels), v) for n, le, v in samples if n.endswith("_bucket")]
            rest = {n: v for n, le, v in samples if le is None}
            need(buckets and buckets[-1][0] == math.inf, labels, "no +Inf bucket at the end")
            for column in (0, 1):
                values = [bucket[column] for bucket in buckets]
                need(values == sorted(values), labels, "buckets that do not rise")
            need(set(rest) == {self.name + "_sum", self.name + "_count"}, labels, "_sum or _count missing")
            need(rest[self.name + "_count"] == buckets[-1][1], labels, "_count is not the +Inf bucket")


def parse(text):
    """{name: Family}; raises Malformed on anything that is not exactly the format."""
    need(text.endswith("\n"), text[-80:], "no newline at the end")
    families, family = {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            found = re.fullmatch(rf"# HELP ({NAME}) (\S.*)", line)
            need(found, line, "a malformed HELP")
            need(found.group(1) not in families, line, "a family twice, or its lines apart")
            family = families[found.group(1)] = Family(*found.groups())
        elif line.startswith("# TYPE "):
            found = re.fullmatch(rf"# TYPE ({NAME}) (\w+)", line)
            need(found and found.group(2) in TYPES, line, "a malformed TYPE")
            need(family and family.name == found.group(1) and family.kind is None, line, "TYPE without its HELP")
            family.kind = found.group(2)
        else:
            found = SAMPLE.fullmatch(line)
            need(found and family, line, "a malformed line")
            labels = read_labels(found.group(2), line) if found.group(2) is not None else {}
            family.add(found.group(1), labels, read_value(found.group(3), line), line)
    for family in families.values():
        family.check()
    return families
