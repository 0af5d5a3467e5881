"""ApiVersions, Metadata, DescribeCluster, DescribeTopicPartitions: what there is and where."""

from .case import case, several
from .compare import UNKNOWN_ID
from .side import SMALL, EMPTY, PLAIN, WIDE

NO_CREATION = {"AllowAutoTopicCreation": False}
CONTROLLERS = 2


def cases():
    yield from api_versions()
    yield from metadata()
    yield from describe_cluster()
    yield from describe_topic_partitions()


def api_versions():
    yield case("ApiVersions", "valid", {"ClientSoftwareName": "suite", "ClientSoftwareVersion": "1.0"})
    for about, name, version in (("empty-name", "", "1"), ("space-in-name", "a b", "1"), ("dash-first", "-a", "1"), ("empty-version", "a", "")):
        yield case("ApiVersions", about, {"ClientSoftwareName": name, "ClientSoftwareVersion": version}, lowest=3)


def metadata():
    def topics(about, *entries, lowest=1, highest=32767, **more):
        return case("Metadata", about, {"Topics": list(entries), **NO_CREATION, **more}, lowest, highest)

    def by_id(about, *entries, lowest=12):
        """Entries are (name of a topic here, or 16 bytes) and the name to give."""

        def body(side, _):
            found = [{"TopicId": which if isinstance(which, bytes) else side.id(which), "Name": name} for which, name in entries]
            return {"Topics": found, **NO_CREATION}

        return case("Metadata", about, body, lowest)

    yield case("Metadata", "all", {"Topics": None, **NO_CREATION}, lowest=1)
    yield case("Metadata", "all-as-version-0-asks", {"Topics": []}, highest=0)
    yield topics("none")
    yield topics("named", {"Name": PLAIN}, {"Name": WIDE}, lowest=0)
    yield topics("unknown", {"Name": "diff-nobody"}, lowest=4)
    yield topics("known-and-unknown", {"Name": "diff-nobody"}, {"Name": EMPTY}, lowest=4)
    yield topics("named-twice", {"Name": PLAIN}, {"Name": PLAIN})
    for about, name in (("space", "two words"), ("empty", ""), ("dot", "."), ("dots", ".."), ("long", "x" * 250), ("slash", "a/b"), ("letters", "é")):
        yield topics(f"invalid-name-{about}", {"Name": name}, lowest=4)
        yield case("Metadata", f"invalid-name-{about}-to-be-created", {"Topics": [{"Name": name}], "AllowAutoTopicCreation": True}, lowest=4)
    yield topics("longest-name", {"Name": "x" * 249}, lowest=4)
    yield topics("topic-operations", {"Name": PLAIN}, lowest=8, IncludeTopicAuthorizedOperations=True)
    yield topics("cluster-operations", {"Name": PLAIN}, lowest=8, highest=10, IncludeClusterAuthorizedOperations=True)
    yield by_id("by-id", (PLAIN, None), (SMALL, None))
    yield by_id("by-unknown-id", (UNKNOWN_ID, None))
    yield by_id("by-id-known-and-unknown", (UNKNOWN_ID, None), (PLAIN, None))
    yield by_id("by-id-and-its-name", (PLAIN, PLAIN))
    yield by_id("by-id-and-another-name", (PLAIN, WIDE))
    yield by_id("by-zero-id-without-name", (bytes(16), None))
    yield by_id("by-id-before-version-12", (PLAIN, PLAIN), lowest=10)
    yield by_id("by-id-and-by-name", (PLAIN, None), (bytes(16), WIDE))


def describe_cluster():
    for endpoint in (0, 1, CONTROLLERS, 7):
        yield case("DescribeCluster", f"endpoint-type-{endpoint}", {"EndpointType": endpoint}, lowest=1)
    yield case("DescribeCluster", "plain", {})
    yield case("DescribeCluster", "operations", {"IncludeClusterAuthorizedOperations": True})
    yield case("DescribeCluster", "fenced-brokers", {"IncludeFencedBrokers": True}, lowest=2)


def describe_topic_partitions():
    def topics(about, *names, **more):
        return case("DescribeTopicPartitions", about, {"Topics": [{"Name": name} for name in names], **more})

    def cursor(topic, partition):
        return {"TopicName": topic, "PartitionIndex": partition}

    yield topics("all")
    yield topics("named", WIDE, PLAIN)
    yield topics("named-twice", PLAIN, PLAIN)
    yield topics("unknown", "diff-nobody")
    yield topics("known-and-unknown", "diff-nobody", PLAIN, "diff-aaa")
    yield topics("invalid-name", "two words")
    yield topics("empty-name", "")
    for limit in (-1, 0, 1, 2, 3, 4, 5):
        yield topics(f"limit-{limit}", WIDE, PLAIN, ResponsePartitionLimit=limit)
    yield topics("cursor-within", WIDE, ResponsePartitionLimit=10, Cursor=cursor(WIDE, 1))
    yield topics("cursor-and-limit", PLAIN, WIDE, ResponsePartitionLimit=1, Cursor=cursor(WIDE, 1))
    yield topics("cursor-skips-earlier-names", PLAIN, WIDE, EMPTY, Cursor=cursor(PLAIN, 0))
    yield topics("cursor-beyond-the-partitions", WIDE, Cursor=cursor(WIDE, 9))
    yield topics("cursor-on-unknown-topic", PLAIN, WIDE, Cursor=cursor("diff-q", 0))
    yield topics("cursor-without-topics", Cursor=cursor(EMPTY, 0), ResponsePartitionLimit=2)
    yield topics("cursor-negative", WIDE, Cursor=cursor(WIDE, -1))

    def next_page(side, answers):
        return {"Topics": [{"Name": PLAIN}, {"Name": WIDE}], "ResponsePartitionLimit": 2, "Cursor": answers[-1].get("NextCursor")}

    first = {"Topics": [{"Name": PLAIN}, {"Name": WIDE}], "ResponsePartitionLimit": 2}
    yield several("DescribeTopicPartitions", "pages", first, next_page)


