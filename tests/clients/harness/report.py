"""One line a test, and the count at the end.

A test is a function that raises when it finds something wrong. It runs on a thread of its own, so that one which
hangs costs its own time limit and is reported, and the rest still run.
"""

import re
import sys
import threading
import traceback

TEST_LIMIT_S = 120


class Report:
    """Collects outcomes of every suite; `wanted` is a part of a test's name, or None for all of them."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def ok(self, name):
        self.passed += 1
        print(f"{name}  ok", flush=True)

    def fail(self, name, why):
        self.failed += 1
        print(f"{name}  FAILED  {one_line(why)}", flush=True)

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return self.failed == 0 and self.passed > 0


def read_count(said):
    """How many passed and failed, by the last line of what a run said that said so."""
    counts = re.findall(r"^(\d+) passed, (\d+) failed$", said, re.MULTILINE)
    return tuple(map(int, counts[-1])) if counts else (0, 0)


class Suite:
    """The tests of one suite, run in the order they are given."""

    def __init__(self, report, name, wanted=None):
        self.report, self.name, self.wanted = report, name, wanted

    def wants(self, test_name):
        return self.wanted is None or self.wanted in test_name

    def test(self, test_name, body, limit_s=TEST_LIMIT_S):
        if not self.wants(test_name):
            return
        outcome = []

        def run():
            try:
                body()
                outcome.append(None)
            except BaseException as error:  # noqa: BLE001: whatever a test raises is its verdict
                outcome.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(limit_s)
        full_name = f"{self.name}/{test_name}"
        if not outcome:
            where = traceback.extract_stack(sys._current_frames()[thread.ident])[-1]
            self.report.fail(full_name, f"no end after {limit_s} s, at {where.name}:{where.lineno}")
        elif outcome[0] is None:
            self.report.ok(full_name)
        else:
            self.report.fail(full_name, describe(outcome[0]))


def describe(error):
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].name}:{frames[-1].lineno})" if frames else ""
    text = str(error) or type(error).__name__
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return f"{kind}{text}{where}"


def one_line(text, limit=1500):
    flat = " | ".join(line.strip() for line in str(text).splitlines() if line.strip())
    return flat if len(flat) <= limit else flat[:limit] + "…"


def equal(found, expected, what):
    """The assertion all suites use: says what was looked at, what was found and what should have been."""
    assert found == expected, f"{what}: found {shorten(found)}, expected {shorten(expected)}"


def shorten(value, limit=300):
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
