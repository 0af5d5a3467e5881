"""`tests/clients/run`: picks the suites, gives each a broker of its own, prints a line a test and the count."""

import argparse
import importlib
import signal
import sys
import time

from . import broker, prepare
from .report import Report, Suite, describe

# In the order they run. Each is a module `suites.NAME` with `run(suite, target)`.
SUITES = ["specs", "java", "crash", "tools", "nodes", "librdkafka", "go", "kafkajs", "kafka_python", "aiokafka", "sarama", "kafka_go",
          "rskafka", "mixed", "transactions", "streams", "raw", "faults", "folders", "differential"]


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
    report, target = Report(), broker.TARGETS[asked.target]
    try:
        prepare.jars()
        for name, _, wanted in chosen:
            started = time.monotonic()
            module = importlib.import_module(f"suites.{name}")
            try:
                module.run(Suite(report, name, wanted or None), target)
            except AssertionError as error:
                report.fail(f"{name}/whole suite", describe(error))
            prepare.say(f"{name}: {time.monotonic() - started:.0f} s")
    except prepare.CannotPrepare as error:
        print(f"cannot run the suites: {error}", file=sys.stderr)
        return 2
    return 0 if report.close() else 1


# Not a plain return: a test that hung has left its thread behind.
if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.exit(code)
