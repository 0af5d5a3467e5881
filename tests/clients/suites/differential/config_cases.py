"""DescribeConfigs."""

from .case import case
from .side import APPEND_TIME, PLAIN, SMALL

TOPIC, BROKER, LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32


def cases():
    def ask(about, *resources, lowest=0, **fields):
        """Resources are (type, name, keys)."""
        asked = [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys} for kind, name, keys in resources]
        return case("DescribeConfigs", about, {"Resources": asked, **fields}, lowest)

    some = ["segment.bytes", "max.message.bytes", "min.insync.replicas", "message.timestamp.type", "compression.type", "index.interval.bytes"]
    yield ask("topic-all", (TOPIC, PLAIN, None))
    yield ask("topic-some", (TOPIC, PLAIN, some))
    yield ask("topic-overridden", (TOPIC, APPEND_TIME, some), (TOPIC, SMALL, some))
    kept = ["cleanup.policy", "retention.ms", "retention.bytes", "file.delete.delay.ms", "flush.messages", "flush.ms"]
    yield ask("topic-retention", (TOPIC, PLAIN, kept), IncludeSynonyms=True)
    yield ask("broker-retention", (BROKER, "0", ["log.retention.ms", "log.retention.bytes", "log.retention.check.interval.ms", "log.cleanup.policy",
                                                 "log.segment.delete.delay.ms", "log.flush.interval.messages", "log.flush.interval.ms",
                                                 "log.flush.offset.checkpoint.interval.ms", "log.flush.start.offset.checkpoint.interval.ms"]))
    yield ask("broker-retention-hours", (BROKER, "0", ["log.retention.hours", "log.retention.minutes"]))
    yield ask("topic-no-keys", (TOPIC, PLAIN, []))
    yield ask("topic-unknown-key", (TOPIC, PLAIN, ["no.such.setting", "segment.bytes"]))
    yield ask("topic-synonyms", (TOPIC, SMALL, ["max.message.bytes", "segment.bytes", "compression.type"]), IncludeSynonyms=True)
    yield ask("topic-documentation", (TOPIC, SMALL, ["max.message.bytes"]), lowest=3, IncludeDocumentation=True)
    yield ask("topic-unknown", (TOPIC, "diff-nobody", None))
    yield ask("topic-invalid-name", (TOPIC, "two words", None))
    yield ask("topic-empty-name", (TOPIC, "", None))
    yield ask("topic-known-and-unknown", (TOPIC, PLAIN, ["segment.bytes"]), (TOPIC, "diff-nobody", ["segment.bytes"]))
    yield ask("topic-twice", (TOPIC, PLAIN, ["compression.type"]), (TOPIC, PLAIN, ["segment.bytes"]))
    yield ask("broker-some", (BROKER, "0", ["message.max.bytes", "num.partitions", "auto.create.topics.enable", "log.segment.bytes"]))
    yield ask("broker-synonyms", (BROKER, "0", ["message.max.bytes", "num.partitions"]), IncludeSynonyms=True)
    yield ask("broker-unknown", (BROKER, "99", ["num.partitions"]))
    yield ask("broker-not-a-number", (BROKER, "zero", ["num.partitions"]))
    yield ask("broker-default", (BROKER, "", ["num.partitions"]))
    yield ask("type-unknown", (9, "x", None))
    yield ask("type-zero", (0, "x", None))
    yield ask("nothing")
