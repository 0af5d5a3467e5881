"""A broker's folders under Apache Kafka, and Apache Kafka's under the broker: each reads what the other left, stopped or killed.

With Kafka itself as the target its folders go to another Kafka.
"""

from . import checkpoints, compacted, moved, transactions


def run(suite, target):
    moved.tests(suite, target)
    checkpoints.tests(suite, target)
    compacted.tests(suite, target)
    transactions.tests(suite, target)
