"""Apache's Java client: the tests are Java (../java), this starts them and relays their lines."""

import subprocess
import threading

from harness import prepare

SUITE_LIMIT_S = 400


def run(suite, target):
    classpath = prepare.java_suite()
    broker = target().start()
    try:
        relay(suite, ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath,
                      "highwater.suite.Main", broker.bootstrap, suite.wanted or ""])
        if not broker.alive():
            suite.report.fail(f"{suite.name}/broker survives", broker.tail())
    finally:
        broker.remove()


def relay(suite, command):
    """Each line is `ok NAME` or `FAILED NAME: WHY`; the last is `end N`, without which tests are missing."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
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
