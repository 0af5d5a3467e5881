"""Kafka Streams on three nodes: a word count and a consume-transform-produce topology (../java, Streams), while instances of the
application and the nodes that lead are killed, or held still, and come back.

`exactly_once_v2`: every output and every count exactly once and in order. `at_least_once`: never too few.
How often is `HIGHWATER_STREAMS_KILLS`, 4 if it is not set; what and when is drawn from a seed, which is printed, and drawn again from
`HIGHWATER_SEED`.
"""

import os
import time

from harness import nodes, prepare
from harness.broker import Kafka

from .story import Story

KILLS = 4
TEST_LIMIT_S = 150
KILL_LIMIT_S = 60
QUICK = {"auto.leader.rebalance.enable": "false", "group.min.session.timeout.ms": 1_000}
# Only Kafka looks for what takes too long, and waits for a node's session where ours hears at once that it is gone.
QUICK_KAFKA = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": 100, "broker.session.timeout.ms": 3_000, "broker.heartbeat.interval.ms": 500}


def run(suite, target):
    if not any(suite.wants(name) for name in ("exactly-once", "at-least-once")):
        return
    prepare.java_suite()
    kills = int(os.environ.get("HIGHWATER_STREAMS_KILLS", KILLS))
    seed = int(os.environ.get("HIGHWATER_SEED", time.time_ns() >> 10))
    prepare.say(f"streams: HIGHWATER_SEED={seed}, {kills} kills")
    broker = nodes.of(target)(QUICK | (QUICK_KAFKA if target is Kafka else {}))
    story = None
    try:
        broker.start()
        story = Story(broker, seed)
        # Both applications live through the same kills.
        suite.test("exactly-once", lambda: (story.tell(kills), story.judge_exactly()), limit_s=TEST_LIMIT_S + kills * KILL_LIMIT_S)
        suite.test("at-least-once", story.judge_at_least)
        if not broker.alive():
            suite.report.fail(f"{suite.name}/broker survives", broker.tail())
    finally:
        if story is not None:
            story.close()
        broker.remove()
