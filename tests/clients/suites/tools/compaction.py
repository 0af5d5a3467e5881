"""Apache's LogCompactionTester, on a broker that compacts all the while."""

from suites.folders.side import running

from .kafka_tools import Tools

EAGER = {"log.roll.ms": 50, "log.cleaner.backoff.ms": 50, "log.cleaner.min.cleanable.ratio": 0.01}
MESSAGES = 60_000


def tests(suite, target):
    for codec in ("none", "lz4"):
        suite.test(f"log-compaction-tester-{codec}", lambda codec=codec: compacted(target, codec), limit_s=120)


def compacted(target, codec):
    with running(target, EAGER) as broker:
        said = Tools(broker).on_broker("LogCompactionTester", "--messages", MESSAGES, "--duplicates", 20, "--percent-deletes", 10,
                                       "--topics", 2, "--compression-type", codec, "--sleep", 2)
    assert said[-1] == "Data verification is completed", f"the tool said: {said}"
    reduction = next(float(line.split("(")[1].split("%")[0]) for line in said if "% reduction)" in line)
    assert reduction > 10, f"only {reduction} % went: {said}"
