"""`kill -9` under the load of Apache's Java client (../java, Crash): idempotent producers, with nothing but their own retries.

The moments are drawn from a seed, which is printed; `HIGHWATER_SEED` draws them again.
"""

import os
import random
import subprocess
import time

from harness import prepare

# A start of Apache Kafka takes seconds.
KILLS = {"highwater": 50, "kafka": 4}
MOST_RECORDS = 3_000
LIMIT_S = 300


def run(suite, target):
    broker = target()
    try:
        broker.start()
        suite.test("java-producers-across-kills", lambda: killed(broker), limit_s=LIMIT_S)
    finally:
        broker.remove()


def killed(broker):
    seed = int(os.environ.get("HIGHWATER_SEED", time.time_ns() >> 10))
    prepare.say(f"crash: HIGHWATER_SEED={seed}")
    draw = random.Random(seed)
    command = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", prepare.java_suite(), "highwater.suite.Crash",
               broker.bootstrap, str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as driver:
        try:
            for number in range(KILLS[broker.name]):
                # Small numbers as often as large ones: right after a start, and when rolls are due.
                say(driver, f"after {int(MOST_RECORDS ** draw.random())}", "now", f"before kill {number}")
                broker.kill()
                broker.start()
            said = say(driver, "end", "read", "after the last kill")
        finally:
            driver.kill()
    prepare.say(f"crash: {said}")


def say(driver, command, expected, when):
    """Tells the driver something and awaits its answer."""
    driver.stdin.write(f"{command}\n")
    answer = driver.stdout.readline().strip()
    assert answer.startswith(expected), f"{when}: {answer or 'the driver ended'}"
    return answer
