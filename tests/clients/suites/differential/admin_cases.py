"""CreatePartitions, ElectLeaders, access rules, quotas, features and what logs take on disk."""

from .case import Step, case, several
from .side import EMPTY, PLAIN, WIDE, until
from .topic_cases import gone, learned, topic

PREFERRED, UNCLEAN = 0, 1
EXACTLY, THE_DEFAULT, ANY_NAMED = 0, 1, 2
UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE = 1, 2, 3


def cases():
    yield from create_partitions()
    yield from elect_leaders()
    yield from acls()
    yield from describe_quotas()
    yield from alter_quotas()
    yield from update_features()
    yield from log_dirs()
    yield from scram()


def create_partitions():
    def more(name, count, assignments=None):
        return {"Name": name, "Count": count, "Assignments": assignments and [{"BrokerIds": brokers} for brokers in assignments]}

    def validate(about, *topics, **fields):
        return case("CreatePartitions", about, {"Topics": list(topics), "TimeoutMs": 10_000, "ValidateOnly": True, **fields})

    yield validate("validate", more(WIDE, 5))
    for count in (3, 2, 0, -1):
        yield validate(f"count-{count}", more(WIDE, count))
    yield validate("unknown", more("diff-nobody", 5))
    yield validate("invalid-name", more("two words", 5))
    yield validate("empty-name", more("", 5))
    yield validate("twice", more(WIDE, 5), more(WIDE, 6))
    yield validate("twice-and-another", more(WIDE, 5), more(PLAIN, 2), more(WIDE, 5))
    yield validate("several", more(WIDE, 5), more("diff-nobody", 1), more(PLAIN, 1))
    yield validate("nothing")
    yield validate("assigned", more(WIDE, 5, [[0], [0]]))
    yield validate("assigned-fewer", more(WIDE, 5, [[0]]))
    yield validate("assigned-more", more(WIDE, 4, [[0], [0]]))
    yield validate("assigned-to-unknown", more(WIDE, 4, [[7]]))
    yield validate("assigned-twice", more(WIDE, 4, [[0, 0]]))
    yield validate("assigned-to-none", more(WIDE, 4, [[]]))
    yield validate("timeout-0", more("diff-nobody", 5), TimeoutMs=0)
    made = Step("CreateTopics", {"Topics": [topic("diff-enlarged", 1)], "timeoutMs": 10_000}, version=5)
    asked = {"Topics": [more("diff-enlarged", 3), more("diff-nobody", 2)], "TimeoutMs": 10_000}
    yield several("CreatePartitions", "enlarged", made, learned("diff-enlarged"), asked, partitions("diff-enlarged", 3), asked,
                  Step("DeleteTopics", {"TopicNames": ["diff-enlarged"], "TimeoutMs": 10_000}, version=4), gone("diff-enlarged"))


def partitions(name, count):
    """Waits until the topic has so many."""

    asked = {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False}

    def body(side, _):
        def has_them(side):
            return len(side.client.call("Metadata", 12, asked)["Topics"][0]["Partitions"]) == count and side.client.led(name, count)

        until(side, has_them)
        return asked

    return Step("Metadata", body, version=12)


def elect_leaders():
    def elect(about, *topics, election=PREFERRED, lowest=0):
        asked = [{"Topic": name, "Partitions": parts} for name, parts in topics]
        return case("ElectLeaders", about, {"ElectionType": election, "TopicPartitions": asked, "TimeoutMs": 10_000}, lowest)

    yield elect("led", (WIDE, [0, 2]))
    yield elect("led-unclean", (WIDE, [0]), election=UNCLEAN, lowest=1)
    yield elect("unknown-topic", ("diff-nobody", [0]))
    yield elect("unknown-partition", (WIDE, [0, 9, -1]))
    yield elect("unknown-type", (WIDE, [0]), election=7, lowest=1)
    yield elect("several", (WIDE, [1]), ("diff-nobody", [0]), (PLAIN, [0]))
    yield elect("nothing")


def acls():
    rule = {"ResourceType": 2, "ResourceName": EMPTY, "ResourcePatternType": 3, "Principal": "User:a", "Host": "*", "Operation": 3, "PermissionType": 3}
    any_rule = {"ResourceTypeFilter": 1, "ResourceNameFilter": None, "PatternTypeFilter": 1, "PrincipalFilter": None, "HostFilter": None,
                "Operation": 1, "PermissionType": 1}
    yield case("DescribeAcls", "any", any_rule)
    yield case("CreateAcls", "two", {"Creations": [rule, {**rule, "Principal": "User:b"}]})
    yield case("CreateAcls", "none", {"Creations": []})
    yield case("DeleteAcls", "any", {"Filters": [any_rule]})
    yield case("DeleteAcls", "none", {"Filters": []})


def describe_quotas():
    def ask(about, *components, **fields):
        asked = [{"EntityType": entity, "MatchType": how, "Match": name} for entity, how, name in components]
        return case("DescribeClientQuotas", about, {"Components": asked, "Strict": False, **fields})

    yield ask("all")
    yield ask("user", ("user", EXACTLY, "alice"))
    yield ask("default", ("client-id", THE_DEFAULT, None), Strict=True)
    yield ask("any-ip", ("ip", ANY_NAMED, None))
    yield ask("twice", ("user", EXACTLY, "alice"), ("user", ANY_NAMED, None))
    yield ask("empty-type", ("", EXACTLY, "alice"))
    yield ask("unknown-type", ("group", EXACTLY, "alice"))
    yield ask("unknown-match", ("user", 7, "alice"))
    yield ask("exactly-nothing", ("user", EXACTLY, None))
    yield ask("any-name", ("user", ANY_NAMED, "alice"))
    yield ask("ip-and-user", ("ip", ANY_NAMED, None), ("user", ANY_NAMED, None))


def alter_quotas():
    def alter(about, *entries, **fields):
        asked = [{"Entity": [{"EntityType": entity, "EntityName": name} for entity, name in parts],
                  "Ops": [{"Key": key, "Value": value, "Remove": remove} for key, value, remove in ops]} for parts, ops in entries]
        return case("AlterClientQuotas", about, {"Entries": asked, "ValidateOnly": True, **fields})

    alice = [("user", "alice")]
    rate = ("producer_byte_rate", 1024.0, False)
    yield alter("set", (alice, [rate]))
    yield alter("removed", (alice, [("producer_byte_rate", 0.0, True)]), ValidateOnly=False)
    yield alter("nothing-changed", (alice, []))
    yield alter("nothing")
    yield alter("no-entity", ([], [rate]))
    yield alter("unknown-entity", ([("group", "g")], [rate]))
    yield alter("ip-and-user", ([("ip", None), ("user", None)], [rate]))
    yield alter("of-clients-on-ip", ([("ip", None)], [rate]))
    yield alter("key-twice", (alice, [rate, rate]))
    yield alter("unknown-key", (alice, [("no.such", 1.0, False)]))
    yield alter("zero", (alice, [("producer_byte_rate", 0.0, False)]))
    yield alter("fraction", (alice, [("producer_byte_rate", 1.5, False)]))
    yield alter("too-large", ([("ip", None)], [("connection_creation_rate", 1e12, False)]))
    yield alter("entity-twice", (alice, []), (alice, []))


def update_features():
    def update(about, feature, level, upgrade=UPGRADE, lowest=0, **fields):
        asked = [{"Feature": feature, "MaxVersionLevel": level, "UpgradeType": upgrade}] if feature else []
        return case("UpdateFeatures", about, {"timeoutMs": 10_000, "FeatureUpdates": asked, "ValidateOnly": True, **fields}, lowest)

    # Version 0 cannot only ask.
    yield update("in-force", "group.version", 1, lowest=1)
    yield update("in-force-downgrade", "group.version", 1, SAFE_DOWNGRADE, lowest=1)
    yield update("metadata-in-force", "metadata.version", 30, lowest=1)
    yield update("too-high", "group.version", 9)
    yield update("negative", "group.version", -1)
    yield update("down-without-leave", "group.version", 0)
    yield update("metadata-down", "metadata.version", 20, SAFE_DOWNGRADE, lowest=1)
    yield update("unknown-way", "group.version", 1, 9, lowest=1)
    yield update("unknown", "no.such.feature", 1)
    yield update("unknown-off", "no.such.feature", 0, lowest=1)
    yield update("nothing", None, 0, lowest=1)


def log_dirs():
    def ask(about, *topics, **fields):
        asked = [{"Topic": name, "Partitions": parts} for name, parts in topics]
        return case("DescribeLogDirs", about, {"Topics": asked, **fields})

    yield ask("all", Topics=None)
    yield ask("some", (WIDE, [0, 2]), (PLAIN, [0]))
    yield ask("twice", (WIDE, [0, 0]), (WIDE, [0]))
    yield ask("unknown-partition", (WIDE, [0, 9]))
    yield ask("unknown-topic", ("diff-nobody", [0]))
    yield ask("nothing")


def scram():
    def ask(about, users):
        return case("DescribeUserScramCredentials", about, {"Users": users and [{"Name": name} for name in users]})

    yield ask("all", None)
    yield ask("none-named", [])
    yield ask("unknown", ["alice", "bob"])
    yield ask("twice", ["alice", "bob", "alice"])
