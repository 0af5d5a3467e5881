"""kafka-configs, kafka-topics --alter, kafka-log-dirs, kafka-features, kafka-leader-election, kafka-acls, kafka-cluster."""

import json
import re

from harness.report import equal

from .console import consume, produce

TOPIC = "tools-administered"


def tests(suite, tools):
    suite.test("admin-topics-alter-partitions", lambda: partitions(tools))
    suite.test("admin-configs-of-a-topic", lambda: topic_configs(tools))
    suite.test("admin-configs-of-a-topic-take-effect", lambda: take_effect(tools))
    suite.test("admin-configs-of-brokers", lambda: broker_configs(tools))
    suite.test("admin-configs-refused", lambda: refused_configs(tools))
    suite.test("admin-configs-of-users", lambda: user_configs(tools))
    suite.test("admin-log-dirs", lambda: log_dirs(tools))
    suite.test("admin-features", lambda: features(tools))
    suite.test("admin-leader-election", lambda: leader_election(tools))
    suite.test("admin-acls-without-an-authorizer", lambda: acls(tools))
    suite.test("admin-cluster", lambda: cluster(tools))


def partitions(tools):
    tools.create(TOPIC, partitions=2)
    equal(tools.topics("--alter", "--topic", TOPIC, "--partitions", 4), [], "output of --alter")
    equal(tools.offsets(TOPIC), {0: 0, 1: 0, 2: 0, 3: 0}, "offsets of the larger topic")
    produce(tools, TOPIC, [f"{at}:line" for at in range(90)], "--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    assert all(tools.offsets(TOPIC).values()), f"a partition that takes nothing: {tools.offsets(TOPIC)}"
    said = "\n".join(tools.topics("--alter", "--topic", TOPIC, "--partitions", 3, expect=1))
    assert f"The topic {TOPIC} currently has 4 partition(s); 3 would not be an increase." in said, f"fewer partitions: {said}"
    assert "does not exist" in "\n".join(tools.topics("--alter", "--topic", "tools-nobody", "--partitions", 3, expect=1)), "a topic that is not there"


def configs(tools, *arguments, **more):
    return tools.on_broker("kafka.admin.ConfigCommand", *arguments, **more)


def altered(tools, kind, name, *what):
    return configs(tools, "--alter", "--entity-type", kind, *(["--entity-name", name] if name is not None else ["--entity-default"]), *what)


def described(tools, kind, name):
    """What was set, as the tool shows it: {name: value}."""
    head, *lines = configs(tools, "--describe", "--entity-type", kind, *(["--entity-name", name] if name is not None else ["--entity-default"]))
    assert head.endswith(" are:"), f"first line {head!r}"
    settings = [re.fullmatch(r"  (\S+?)=(\S*) sensitive=false synonyms=\{(.+)\}", line) for line in lines]
    assert all(settings), f"lines {lines}"
    return {each[1]: each[2] for each in settings}


def topic_configs(tools):
    topic = "tools-configured"
    tools.create(topic)
    done = [f"Completed updating config for topic {topic}."]
    equal(altered(tools, "topics", topic, "--add-config", "retention.ms=100000000000,max.message.bytes=2000000"), done, "output of --add-config")
    equal(described(tools, "topics", topic), {"retention.ms": "100000000000", "max.message.bytes": "2000000"}, "what was set")
    equal(altered(tools, "topics", topic, "--delete-config", "retention.ms"), done, "output of --delete-config")
    equal(described(tools, "topics", topic), {"max.message.bytes": "2000000"}, "what is left")
    every = configs(tools, "--describe", "--all", "--entity-type", "topics", "--entity-name", topic)
    assert any(line.startswith("  segment.bytes=1073741824 ") for line in every), f"no default among {every}"


def take_effect(tools):
    """A limit holds from the next record on."""
    topic = "tools-limited"
    tools.create(topic)
    produce(tools, topic, ["x" * 3_000])
    altered(tools, "topics", topic, "--add-config", "max.message.bytes=1000")
    said = tools.on_broker("ConsoleProducer", "--topic", topic, stdin="y" * 3_000 + "\n", notices=None)
    assert any("RecordTooLargeException" in line or "larger than" in line for line in said) or tools.offsets(topic) == {0: 1}, f"a long line: {said}"
    equal(tools.offsets(topic), {0: 1}, "end of the log")
    altered(tools, "topics", topic, "--delete-config", "max.message.bytes")
    produce(tools, topic, ["z" * 3_000])
    equal([len(line) for line in consume(tools, topic, 2)], [3_000, 3_000], "lines read")


def broker_configs(tools):
    equal(altered(tools, "brokers", None, "--add-config", "log.flush.interval.messages=50000"), ["Completed updating default config for brokers in the cluster."],
          "output for all brokers")
    assert described(tools, "brokers", None).get("log.flush.interval.messages") == "50000", "what was set for all brokers"
    number = broker(tools)
    equal(altered(tools, "brokers", number, "--add-config", "log.flush.interval.messages=60000"), [f"Completed updating config for broker {number}."],
          "output for one broker")
    equal(described(tools, "brokers", number).get("log.flush.interval.messages"), "60000", "what was set for one broker")
    altered(tools, "brokers", number, "--delete-config", "log.flush.interval.messages")
    altered(tools, "brokers", None, "--delete-config", "log.flush.interval.messages")
    assert "log.flush.interval.messages" not in described(tools, "brokers", None), "what was deleted"


def broker(tools):
    return re.search(r"\(id: (\d+) ", tools.on_broker("BrokerApiVersionsCommand")[0])[1]


def refused_configs(tools):
    for kind, name, setting, text in (
        ("topics", TOPIC, "no.such=1", "Unknown topic config name: no.such"),
        ("topics", TOPIC, "retention.ms=soon", "Invalid value soon for configuration retention.ms"),
        ("brokers", broker(tools), "offsets.topic.num.partitions=9",
         "Cannot update these configs dynamically: [offsets.topic.num.partitions]"),
    ):
        arguments = ["--alter", "--entity-type", kind, "--entity-name", name, "--add-config", setting]
        said = "\n".join(configs(tools, *arguments, expect=1))
        assert text in said, f"{setting}: {said}"


def user_configs(tools):
    """There are none; the tool also asks for credentials."""
    equal(configs(tools, "--describe", "--entity-type", "users", "--entity-name", "nobody"), [], "of a user")
    equal(configs(tools, "--describe", "--entity-type", "users"), [], "of all users")
    equal(configs(tools, "--describe", "--entity-type", "clients"), [], "of all clients")


def log_dirs(tools):
    said = tools.on_broker("LogDirsCommand", "--describe", "--topic-list", TOPIC)
    equal(said[:1], ["Querying brokers for log directories information"], "first line")
    [one] = json.loads(said[-1])["brokers"]
    [folder] = one["logDirs"]
    equal(folder["error"], None, "error")
    # A partition without records may have no size yet.
    found = {part["partition"]: (part["size"] > 0, part["offsetLag"], part["isFuture"]) for part in folder["partitions"]}
    equal(found, {f"{TOPIC}-{at}": (True, 0, False) for at in range(4)}, "partitions: whether they have bytes, lag, whether they come")


def features(tools):
    # By columns: the name, and the numbers behind what they are called.
    rows = {}
    for line in tools.on_broker("FeatureCommand", "describe"):
        words = line.split()
        rows[words[1]] = dict(zip(("lowest", "highest", "is"), words[3:9:2], strict=True))
    equal(rows["group.version"]["is"], "1", "group.version")
    equal(rows["metadata.version"]["is"], "4.3-IV0", "metadata.version")
    equal(tools.on_broker("FeatureCommand", "upgrade", "--feature", "group.version=1"), ["group.version was upgraded to 1."], "an upgrade to what it is")


def leader_election(tools):
    said = tools.on_broker("LeaderElectionCommand", "--election-type", "preferred", "--topic", TOPIC, "--partition", 0)
    equal(said, [f"Valid replica already elected for partitions {TOPIC}-0"], "what the tool says")
    equal(tools.on_broker("LeaderElectionCommand", "--election-type", "preferred", "--all-topic-partitions"), [], "what it says of all")


def acls(tools):
    said = "\n".join(tools.on_broker("AclCommand", "--list", expect=1))
    assert "SecurityDisabledException: No Authorizer is configured" in said, f"acls: {said}"


def cluster(tools):
    [line] = tools.run("ClusterTool", "cluster-id", "--bootstrap-server", tools.broker.bootstrap)
    assert re.fullmatch(r"Cluster ID: [A-Za-z0-9_-]{22}", line), f"{line!r}"
    head, row = (line.split() for line in tools.run("ClusterTool", "list-endpoints", "--bootstrap-server", tools.broker.bootstrap))
    found = dict(zip(head, row, strict=True))
    equal((f"{found['HOST']}:{found['PORT']}", found["STATE"], found["ENDPOINT_TYPE"]), (tools.broker.bootstrap, "unfenced", "broker"), "endpoint")
    equal(tools.on_broker("ClientMetricsCommand", "--list"), [""], "subscriptions to metrics")
