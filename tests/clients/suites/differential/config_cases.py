"""DescribeConfigs, IncrementalAlterConfigs, AlterConfigs, ListConfigResources."""

from .case import Step, case, several
from .side import APPEND_TIME, EMPTY, PLAIN, SMALL, until

TOPIC, BROKER, LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32


SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


def cases():
    yield from describe()
    yield from alter()
    yield from replace()
    yield from altered()
    yield from list_resources()


def describe():
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
    yield ask("broker-racks", (BROKER, "0", ["broker.rack", "replica.selector.class"]), IncludeSynonyms=True)
    yield ask("broker-synonyms", (BROKER, "0", ["message.max.bytes", "num.partitions"]), IncludeSynonyms=True)
    yield ask("broker-unknown", (BROKER, "99", ["num.partitions"]))
    yield ask("broker-not-a-number", (BROKER, "zero", ["num.partitions"]))
    yield ask("broker-default", (BROKER, "", ["num.partitions"]))
    yield ask("type-unknown", (9, "x", None))
    yield ask("type-zero", (0, "x", None))
    yield ask("nothing")
    yield ask("client-metrics", (CLIENT_METRICS, "diff-metrics", None))
    yield ask("client-metrics-empty-name", (CLIENT_METRICS, "", None))


def change(kind, name, *changes):
    """Changes are (setting, operation, value)."""
    configs = [{"Name": setting, "ConfigOperation": how, "Value": value} for setting, how, value in changes]
    return {"ResourceType": kind, "ResourceName": name, "Configs": configs}


def alter():
    def validate(about, *resources):
        return case("IncrementalAlterConfigs", about, {"Resources": list(resources), "ValidateOnly": True})

    one = ("segment.ms", SET, "1000000")
    yield validate("topic", change(TOPIC, PLAIN, one))
    yield validate("topic-unchanged", change(TOPIC, SMALL, ("max.message.bytes", SET, "500")))
    yield validate("topic-unknown", change(TOPIC, "diff-nobody", one))
    yield validate("topic-invalid-name", change(TOPIC, "two words", one))
    yield validate("topic-empty-name", change(TOPIC, "", one))
    yield validate("topic-unknown-and-value", change(TOPIC, "diff-nobody", ("segment.ms", SET, "x")))
    yield validate("topic-twice", change(TOPIC, PLAIN, one), change(TOPIC, PLAIN, one))
    yield validate("setting-twice", change(TOPIC, PLAIN, one, one))
    yield validate("several", change(TOPIC, PLAIN, one), change(TOPIC, "diff-nobody", one), change(TOPIC, EMPTY, ("no.such", SET, "1")))
    yield validate("nothing")
    yield validate("no-changes", change(TOPIC, PLAIN))
    for about, *changed in (
        ("unknown", "no.such.setting", SET, "1"), ("unknown-deleted", "no.such.setting", DELETE, None), ("unknown-appended", "no.such.setting", APPEND, "1"),
        ("null", "segment.ms", SET, None), ("deleted", "segment.ms", DELETE, None), ("deleted-with-value", "segment.ms", DELETE, "5"),
        ("not-a-number", "segment.ms", SET, "soon"), ("out-of-range", "segment.ms", SET, "0"),
        ("appended-to-a-number", "segment.ms", APPEND, "5"), ("appended", "cleanup.policy", APPEND, "delete"),
        ("appended-unknown", "cleanup.policy", APPEND, "keep"), ("subtracted", "cleanup.policy", SUBTRACT, "delete"),
        ("subtracted-other", "cleanup.policy", SUBTRACT, "keep"), ("appended-null", "cleanup.policy", APPEND, None),
        ("without-effect", "preallocate", SET, "true"), ("tiered", "remote.storage.enable", SET, "true"), ("not-tiered", "remote.storage.enable", SET, "false"),
        ("level", "compression.gzip.level", SET, "9"), ("level-0", "compression.gzip.level", SET, "0"), ("level-10", "compression.gzip.level", SET, "10"),
        ("level-lz4", "compression.lz4.level", SET, "18"), ("level-zstd", "compression.zstd.level", SET, "-5"), ("jitter", "segment.jitter.ms", SET, "-1"),
        ("replicas", "leader.replication.throttled.replicas", SET, "0:0,1:0"), ("replicas-all", "follower.replication.throttled.replicas", SET, "*"),
        ("replicas-what", "follower.replication.throttled.replicas", SET, "all"), ("local", "local.retention.ms", SET, "-3"),
    ):
        yield validate(f"topic-setting-{about}", change(TOPIC, PLAIN, tuple(changed)))

    limit = ("max.connections", SET, "1000")
    yield validate("broker", change(BROKER, "0", limit))
    yield validate("brokers", change(BROKER, "", limit))
    yield validate("broker-other", change(BROKER, "7", limit))
    yield validate("broker-not-a-number", change(BROKER, "zero", limit))
    for about, *changed in (
        ("read-only", "num.partitions", SET, "3"), ("read-only-deleted", "num.partitions", DELETE, None), ("read-only-hours", "log.retention.hours", SET, "3"),
        ("group", "group.max.size", SET, "3"), ("assignment", "group.consumer.assignment.interval.ms", SET, "5"),
        ("out-of-range", "log.segment.bytes", SET, "10"), ("not-a-number", "message.max.bytes", SET, "large"), ("zero", "log.retention.ms", SET, "0"),
        ("topic-name", "retention.ms", DELETE, None), ("null", "max.connections", SET, None), ("appended", "log.cleanup.policy", APPEND, "delete"),
        ("appended-to-a-number", "max.connections", APPEND, "5"), ("appended-unknown", "no.such.setting", APPEND, "5"),
        ("producers", "producer.id.expiration.ms", SET, "1000"), ("codec", "compression.type", SET, "zip"),
    ):
        for name in ("0", ""):
            yield validate(f"broker{name}-setting-{about}", change(BROKER, name, tuple(changed)))
    yield validate("broker-setting-unknown", change(BROKER, "0", ("no.such.setting", SET, "1")))
    yield validate("type-unknown", change(9, "x", one))
    yield validate("type-zero", change(0, "x", one))
    yield validate("client-metrics", change(CLIENT_METRICS, "diff-metrics", ("interval.ms", SET, "1000")))


def replace():
    def validate(about, *resources):
        """Resources are (type, name, settings)."""
        asked = [{"ResourceType": kind, "ResourceName": name, "Configs": [{"Name": key, "Value": value} for key, value in settings]}
                 for kind, name, settings in resources]
        return case("AlterConfigs", about, {"Resources": asked, "ValidateOnly": True})

    one = [("segment.ms", "1000000")]
    yield validate("topic", (TOPIC, SMALL, one))
    yield validate("topic-nothing", (TOPIC, SMALL, []))
    yield validate("topic-unknown", (TOPIC, "diff-nobody", one))
    yield validate("topic-empty-name", (TOPIC, "", one))
    yield validate("topic-twice", (TOPIC, PLAIN, one), (TOPIC, PLAIN, one))
    yield validate("setting-twice", (TOPIC, PLAIN, one + one))
    yield validate("setting-unknown", (TOPIC, PLAIN, [("no.such.setting", "1")]))
    yield validate("setting-null", (TOPIC, PLAIN, [("segment.ms", None)]))
    yield validate("setting-out-of-range", (TOPIC, PLAIN, [("segment.ms", "0")]))
    yield validate("broker", (BROKER, "0", [("max.connections", "1000")]))
    yield validate("broker-nothing", (BROKER, "", []))
    yield validate("broker-read-only", (BROKER, "0", [("num.partitions", "3")]))
    yield validate("broker-other", (BROKER, "7", [("max.connections", "1000")]))
    yield validate("several", (TOPIC, PLAIN, one), (TOPIC, "diff-nobody", one), (BROKER, "", [("max.connections", "-1")]))
    yield validate("loggers", (LOGGER, "0", [("root", "INFO")]))
    yield validate("type-unknown", (9, "x", one))
    yield validate("nothing")


def altered():
    """What is altered is told, by its source and synonyms, until it falls back."""

    def told(kind, name, setting, value):
        asked = {"Resources": [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": [setting]}], "IncludeSynonyms": True}

        def body(side, _):
            def is_told(side):
                found = side.client.call("DescribeConfigs", 4, asked)["Results"][0]["Configs"]
                return [each["Value"] for each in found] == ([] if value is None else [value])

            until(side, is_told)
            return asked

        return Step("DescribeConfigs", body, version=4)

    def make(*resources):
        return {"Resources": list(resources), "ValidateOnly": False}

    yield several("IncrementalAlterConfigs", "topic-altered", make(change(TOPIC, EMPTY, ("segment.ms", SET, "2000000"), ("max.message.bytes", SET, "9999"))),
                  told(TOPIC, EMPTY, "segment.ms", "2000000"), told(TOPIC, EMPTY, "max.message.bytes", "9999"),
                  make(change(TOPIC, EMPTY, ("segment.ms", DELETE, None), ("max.message.bytes", DELETE, None))),
                  told(TOPIC, EMPTY, "max.message.bytes", "1048588"))
    setting = "message.max.bytes"
    yield several("IncrementalAlterConfigs", "broker-altered", make(change(BROKER, "", (setting, SET, "888888"))), told(BROKER, "", setting, "888888"),
                  told(BROKER, "0", setting, "888888"), told(TOPIC, EMPTY, "max.message.bytes", "888888"), told(TOPIC, SMALL, "max.message.bytes", "500"),
                  make(change(BROKER, "0", (setting, SET, "777777"))), told(BROKER, "0", setting, "777777"), told(BROKER, "", setting, "888888"),
                  told(TOPIC, EMPTY, "max.message.bytes", "777777"),
                  make(change(BROKER, "0", (setting, DELETE, None)), change(BROKER, "", (setting, DELETE, None))), told(BROKER, "", setting, None),
                  told(BROKER, "0", setting, "1048588"), told(TOPIC, EMPTY, "max.message.bytes", "1048588"))

    def all_of(name, *settings):
        configs = [{"Name": key, "Value": value} for key, value in settings]
        return {"Resources": [{"ResourceType": TOPIC, "ResourceName": name, "Configs": configs}], "ValidateOnly": False}

    yield several("AlterConfigs", "topic-replaced", all_of(EMPTY, ("segment.ms", "3000000")), told(TOPIC, EMPTY, "segment.ms", "3000000"),
                  all_of(EMPTY, ("max.message.bytes", "5555")), told(TOPIC, EMPTY, "max.message.bytes", "5555"), told(TOPIC, EMPTY, "segment.ms", "604800000"),
                  all_of(EMPTY), told(TOPIC, EMPTY, "max.message.bytes", "1048588"))


def list_resources():
    def listed(about, *kinds, lowest=1):
        return case("ListConfigResources", about, {"ResourceTypes": list(kinds)}, lowest)

    yield listed("client-metrics", CLIENT_METRICS, lowest=0)
    yield listed("topics", TOPIC)
    yield listed("brokers", BROKER)
    yield listed("topics-and-brokers", TOPIC, BROKER, TOPIC)
    yield listed("groups", GROUP)
    yield listed("all")
    yield listed("unknown", TOPIC, 9)
    yield listed("zero", 0)
