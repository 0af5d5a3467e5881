"""aiokafka: a client written in Python, for asyncio."""

import logging

from . import admin, groups, records
from .cluster import Cluster


def run(suite, target):
    # It tells of every retry; what goes wrong in a test the test says.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    broker = target()
    try:
        broker.start()
        cluster = Cluster(broker)
        for part in (admin, records, groups):
            part.tests(suite, cluster)
            if not broker.alive():
                suite.report.fail(f"{suite.name}/broker survives {part.__name__}", broker.tail())
                return
    finally:
        broker.remove()
