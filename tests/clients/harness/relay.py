"""Suites in other languages: a program that prints a line a test, relayed into the report."""

import subprocess
import threading

SUITE_LIMIT_S = 900


def relay(suite, broker, command):
    """Each line is `ok NAME` or `FAILED NAME: WHY`; the last is `end N`, without which tests are missing."""
    process = subprocess.Popen([*command, broker.bootstrap, suite.wanted or ""], stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(SUITE_LIMIT_S, process.kill)
    timer.start()
    seen, ended = 0, False
    for line in process.stdout:
        verdict, _, rest = line.rstrip("\n").partition(" ")
        if verdict == "ok":
            suite.report.ok(f"{suite.name}/{rest}")
            seen += 1
        elif verdict == "FAILED":
            name, _, why = rest.partition(": ")
            suite.report.fail(f"{suite.name}/{name}", why)
            seen += 1
        elif verdict == "end":
            ended = int(rest) == seen
    process.wait()
    timer.cancel()
    if not ended:
        suite.report.fail(f"{suite.name}/whole suite", f"ended with {process.returncode} after {seen} tests, not all of them")
    if not broker.alive():
        suite.report.fail(f"{suite.name}/broker survives", broker.tail())
