"""`tests/clients/run`: picks the suites, gives each a broker of its own, prints a line a test and the count."""

import argparse
import importlib
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

from . import broker, prepare
from .report import Report, Suite, describe, read_count

# Each is a module `suites.NAME` with `run(suite, target)`.
SUITES = ["specs", "java", "crash", "tools", "nodes", "librdkafka", "go", "kafkajs", "kafka_python", "aiokafka", "sarama", "kafka_go",
          "rskafka", "mixed", "transactions", "streams", "raw", "faults", "folders", "differential"]
# Those that take minutes begin first.
LONG = ["java", "differential", "tools", "folders", "mixed", "nodes", "rskafka", "faults", "transactions", "streams"]
# They mostly wait: for sessions to end, for members to come, for JVMs.
AT_ONCE = 2


def main():
    words = argparse.ArgumentParser(prog="tests/clients/run", description=__doc__)
    words.add_argument("--target", choices=sorted(broker.TARGETS), default="highwater",
                       help="the broker under test (kafka: Apache's own, which must pass as well)")
    words.add_argument("suite", nargs="*", metavar="SUITE[:PART]",
                       help=f"{', '.join(SUITES)}; with PART, only tests with it in their name; default all")
    asked = words.parse_args()
    chosen = [entry.partition(":") for entry in asked.suite or SUITES]
    for name, _, _ in chosen:
        if name not in SUITES:
            words.error(f"no suite named {name}: there are {', '.join(SUITES)}")

    # Told to end, it ends as on a failure: brokers stopped, folders removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    try:
        prepare.jars()
        if len(chosen) == 1:
            run_here(report, *chosen[0], broker.TARGETS[asked.target])
        else:
            prepare.everything(asked.target)
            run_apart(report, chosen, asked.target)
    except prepare.CannotPrepare as error:
        print(f"cannot run the suites: {error}", file=sys.stderr)
        return 2
    return 0 if report.close() else 1


def run_here(report, name, _, wanted, target):
    """Runs one suite, a line a test as it goes."""
    started = time.monotonic()
    module = importlib.import_module(f"suites.{name}")
    try:
        module.run(Suite(report, name, wanted or None), target)
    except AssertionError as error:
        report.fail(f"{name}/whole suite", describe(error))
    prepare.say(f"{name}: {time.monotonic() - started:.0f} s")


def run_apart(report, chosen, target):
    """Runs each suite in a process of its own, some at once; what each says is shown when it has ended."""
    running = set()

    def run(name, wanted):
        command = [sys.executable, "-m", "harness", "--target", target, f"{name}:{wanted}" if wanted else name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        running.add(process)
        said, _ = process.communicate()
        running.discard(process)
        return name, said, process.returncode

    in_order = sorted(chosen, key=lambda entry: LONG.index(entry[0]) if entry[0] in LONG else len(LONG))
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        suites = [pool.submit(run, name, wanted) for name, _, wanted in in_order]
        for suite in as_completed(suites):
            name, said, code = suite.result()
            print(said, end="", flush=True)
            passed, failed = read_count(said)
            report.passed, report.failed = report.passed + passed, report.failed + failed
            if code != 0 and failed == 0:
                report.fail(f"{name}/whole suite", f"it ended with {code}")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            process.terminate()


# Not a plain return: a test that hung has left its thread behind.
if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.exit(code)
