"""librdkafka, the client below most languages', through its Python binding."""

from . import admin, consuming, exchange, groups, producing
from .cluster import Cluster


def run(suite, target):
    broker = target()
    try:
        broker.start()
        cluster = Cluster(broker)
        for part in (admin, producing, consuming, exchange, groups):
            part.tests(suite, cluster)
            if not broker.alive():
                suite.report.fail(f"{suite.name}/broker survives {part.__name__}", broker.tail())
                return
    finally:
        broker.remove()
