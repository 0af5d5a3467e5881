"""Apache's command line tools, each a process of its own as a user starts it, their output read strictly."""

from . import administration, compaction, console, deletion, files, groups, resets, topics, transactions, verifying
from .kafka_tools import Tools


def run(suite, target):
    broker = target()
    try:
        broker.start()
        tools = Tools(broker)
        topics.tests(suite, tools)
        console.tests(suite, tools)
        deletion.tests(suite, tools)
        groups.tests(suite, tools)
        verifying.tests(suite, tools)
        resets.tests(suite, tools)
        administration.tests(suite, tools)
        transactions.tests(suite, tools)
        files.tests(suite, tools)
    finally:
        broker.remove()
    compaction.tests(suite, target)
