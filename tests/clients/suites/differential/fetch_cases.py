"""Fetch: positions, limits, epochs, isolation, and the sessions of incremental fetches."""

from .case import case, several
from .compare import UNKNOWN_ID
from .side import EMPTY, PLAIN, PLAIN_BATCHES, PLAIN_EACH, WIDE

NOBODY = "diff-nobody"
END = PLAIN_BATCHES * PLAIN_EACH
NO_SESSION = -1


def cases():
    yield from positions()
    yield from requests()
    yield from sessions()


def topics(side, *entries):
    """Entries are (topic, partition, fields); as topics of a request, by name and by id."""
    found = {}
    for topic, partition, fields in entries:
        found.setdefault(topic, []).append({"Partition": partition, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20, **fields})
    known = {name: each for each, name in side.ids.items()}
    return [{"Topic": topic, "TopicId": known.get(topic, UNKNOWN_ID), "Partitions": parts} for topic, parts in found.items()]


def ask(*entries, **fields):
    def body(side, _):
        return {"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 24, "SessionEpoch": NO_SESSION, "Topics": topics(side, *entries)} | fields

    return body


def one(about, topic=PLAIN, partition=0, lowest=0, highest=32767, request=None, **fields):
    return case("Fetch", about, ask((topic, partition, fields), **(request or {})), lowest, highest)


def positions():
    for offset in (0, 1, 4, END - 1, END, END + 1, 1000, -1, -2, 2**63 - 1):
        yield one(f"offset-{offset}", FetchOffset=offset)
    yield one("empty-partition", topic=EMPTY)
    yield one("empty-partition-offset-1", topic=EMPTY, FetchOffset=1)
    for limit in (-1, 0, 1, 100, 300, 100_000):
        yield one(f"partition-limit-{limit}", PartitionMaxBytes=limit)
        yield one(f"request-limit-{limit}", request={"MaxBytes": limit})
    for epoch in (-1, 0, 1, 7, -5):
        yield one(f"leader-epoch-{epoch}", lowest=9, CurrentLeaderEpoch=epoch)
    for epoch in (-1, 0, 1):
        yield one(f"last-fetched-epoch-{epoch}", lowest=12, FetchOffset=3, LastFetchedEpoch=epoch)
        yield one(f"last-fetched-epoch-{epoch}-past-the-end", lowest=12, FetchOffset=END + 5, LastFetchedEpoch=epoch)
    yield one("leader-epoch-wrong-past-the-end", lowest=9, FetchOffset=1000, CurrentLeaderEpoch=3)
    yield one("log-start-offset-given", lowest=5, LogStartOffset=5)


def requests():
    yield one("unknown-topic", topic=NOBODY)
    yield one("unknown-partition", partition=4)
    yield one("negative-partition", partition=-1)
    yield one("zero-id", lowest=13, topic="")
    yield case("Fetch", "nothing", ask())
    yield case("Fetch", "known-and-unknown",
               ask((NOBODY, 0, {}), (PLAIN, 0, {}), (WIDE, 7, {}), (WIDE, 1, {}), (WIDE, 2, {"FetchOffset": 50_000})))
    yield case("Fetch", "several-within-a-limit", ask((WIDE, 0, {}), (PLAIN, 0, {}), (WIDE, 1, {}), MaxBytes=200))
    yield case("Fetch", "partition-twice", ask((PLAIN, 0, {}), (PLAIN, 0, {"FetchOffset": 5})))
    for level in (0, 1, 2):
        yield one(f"isolation-{level}", request={"IsolationLevel": level})
    yield one("waits-a-little", FetchOffset=END, request={"MaxWaitMs": 30, "MinBytes": 1})
    yield one("minimum-met", request={"MaxWaitMs": 30_000, "MinBytes": 10})
    yield one("minimum-above-maximum", request={"MaxWaitMs": 30_000, "MinBytes": 1 << 30, "MaxBytes": 50})
    yield one("wait-negative", FetchOffset=END, request={"MaxWaitMs": -1, "MinBytes": 1})
    yield one("rack", lowest=11, request={"RackId": "some-rack"})
    for replica in (5, -2):
        yield one(f"replica-{replica}", highest=14, request={"ReplicaId": replica})


def sessions():
    def session(about, *steps, lowest=7):
        """Steps give (entries, fields); a field SessionId of -1 stands for the session the first answer opened."""

        def step(entries, fields):
            def body(side, answers):
                opened = answers[0].get("SessionId", 0) if answers else 0
                given = {key: opened if key == "SessionId" and value == -1 else value for key, value in fields.items()}
                forgotten = given.pop("Forget", ())
                data = [{"Topic": entry["Topic"], "TopicId": entry["TopicId"], "Partitions": [part["Partition"] for part in entry["Partitions"]]}
                        for entry in topics(side, *forgotten)]
                return ask(*entries, **given, ForgottenTopicsData=data)(side, None)

            return body

        return several("Fetch", f"session-{about}", *[step(*each) for each in steps], lowest=lowest)

    first = ([(PLAIN, 0, {"FetchOffset": END}), (WIDE, 0, {"FetchOffset": 10_000})], {"SessionId": 0, "SessionEpoch": 0})
    known, current = (PLAIN, 0, {"FetchOffset": 0}), {"SessionId": -1}
    yield session("opened", first)
    yield session("nothing-new", first, ([], current | {"SessionEpoch": 1}), ([], current | {"SessionEpoch": 2}))
    yield session("position-changed", first, ([known], current | {"SessionEpoch": 1}), ([], current | {"SessionEpoch": 2}))
    yield session("partition-added", first, ([(WIDE, 1, {})], current | {"SessionEpoch": 1}), ([], current | {"SessionEpoch": 2}))
    yield session("partition-forgotten", first, ([], current | {"SessionEpoch": 1, "Forget": [(WIDE, 0, {})]}), ([], current | {"SessionEpoch": 2}))
    yield session("all-forgotten", first, ([], current | {"SessionEpoch": 1, "Forget": [(WIDE, 0, {}), (PLAIN, 0, {})]}),
                  ([], current | {"SessionEpoch": 2}))
    yield session("forgotten-but-never-asked", first, ([], current | {"SessionEpoch": 1, "Forget": [(EMPTY, 0, {})]}))
    yield session("unknown-partition-added", first, ([(WIDE, 9, {}), (NOBODY, 0, {})], current | {"SessionEpoch": 1}), ([], current | {"SessionEpoch": 2}))
    yield session("wrong-epoch", first, ([], current | {"SessionEpoch": 2}), ([], current | {"SessionEpoch": 1}))
    yield session("epoch-again", first, ([], current | {"SessionEpoch": 1}), ([], current | {"SessionEpoch": 1}))
    yield session("unknown-id", ([known], {"SessionId": 1_234_567, "SessionEpoch": 1}))
    yield session("id-zero-with-epoch", ([known], {"SessionId": 0, "SessionEpoch": 1}))
    yield session("closed", first, ([known], current | {"SessionEpoch": NO_SESSION}), ([], current | {"SessionEpoch": 1}))
    yield session("opened-anew", first, ([known], current | {"SessionEpoch": 0}), ([], current | {"SessionEpoch": 1}))
    yield session("epoch-negative", first, ([known], current | {"SessionEpoch": -2}), ([], current | {"SessionEpoch": -5}))
    yield session("unknown-id-closed", ([known], {"SessionId": 1_234_567, "SessionEpoch": NO_SESSION}))
    yield session("unknown-id-opened", ([known], {"SessionId": 1_234_567, "SessionEpoch": 0}))
    yield session("empty", ([], {"SessionId": 0, "SessionEpoch": 0}))
