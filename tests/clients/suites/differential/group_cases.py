"""The classic group protocol and its offsets: every state of a group against every request, error for error."""

from .groups import (CONSUMER, MEMBER_ID_REQUIRED, NO_MEMBER, RANGE, ROUND_ROBIN, STATES, Scene, empty, preparing, simple, stable,
                     stable_static, subscription)
from .side import EMPTY, PLAIN, WIDE

NOBODY = "diff-nobody"


def cases():
    yield from table()
    yield from joining()
    yield from rebalances()
    yield from offsets()
    yield from bad_names()


# ---- states x requests


def table():
    """What one member asks, rightly and wrongly, in each state. Only what is answered at once."""
    for state, enter in STATES.items():
        for about, api, body in requests():
            if api == "SyncGroup" and about == "right" and state == "completing":
                continue

            def script(group, enter=enter, api=api, body=body):
                member = enter(group)
                group.asked(api, body(group, member))
                # What it did to the group shows afterwards.
                group.note(group.listed())
                group.asked("DescribeGroups", group.describe())
                group.asked("OffsetFetch", group.fetch())

            # Before version 5 nobody joins with a name of his own.
            yield Scene(api, f"{state}-{about}", script, lowest=5 if (state, api) == ("static", "JoinGroup") else 0)


def requests():
    """(name, API, body of group and member)"""
    for about, change in (("right", {}), ("old-generation", {"GenerationId": 0}), ("next-generation", {"GenerationId": 99}),
                          ("unknown-member", {"MemberId": "nobody"}), ("no-member", {"MemberId": NO_MEMBER}),
                          ("no-generation", {"GenerationId": -1})):
        yield about, "Heartbeat", lambda group, member, change=change: member.beat_body(**change)
        yield about, "SyncGroup", lambda group, member, change=change: member.sync_body(**change)
    yield "other-protocol", "SyncGroup", lambda group, member: member.sync_body(ProtocolName=ROUND_ROBIN)
    yield "other-type", "SyncGroup", lambda group, member: member.sync_body(ProtocolType="connect")
    yield "no-protocol", "SyncGroup", lambda group, member: member.sync_body(ProtocolName=None, ProtocolType=None)
    yield "other-instance", "Heartbeat", lambda group, member: member.beat_body(GroupInstanceId="another")
    yield "other-instance", "SyncGroup", lambda group, member: member.sync_body(GroupInstanceId="another")

    yield "right", "LeaveGroup", lambda group, member: member.leave_body()
    yield "unknown-member", "LeaveGroup", lambda group, member: member.leave_body(MemberId="nobody")
    yield "no-member", "LeaveGroup", lambda group, member: member.leave_body(MemberId=NO_MEMBER)
    yield "by-instance", "LeaveGroup", lambda group, member: member.leave_body(MemberId=NO_MEMBER, GroupInstanceId="instance")
    yield "other-instance", "LeaveGroup", lambda group, member: member.leave_body(GroupInstanceId="another")
    yield "instance-of-another", "LeaveGroup", lambda group, member: member.leave_body(MemberId="nobody", GroupInstanceId="instance")
    yield "nobody", "LeaveGroup", lambda group, member: member.leave_body() | {"Members": []}

    yield "unknown-member", "JoinGroup", lambda group, member: member.join_body(MemberId="nobody")
    yield "other-type", "JoinGroup", lambda group, member: member.join_body(ProtocolType="connect")
    yield "no-common-protocol", "JoinGroup", lambda group, member: member.join_body(Protocols=[{"Name": "mine", "Metadata": b""}])
    yield "no-protocols", "JoinGroup", lambda group, member: member.join_body(Protocols=[])
    yield "no-type", "JoinGroup", lambda group, member: member.join_body(ProtocolType="")
    yield "session-too-short", "JoinGroup", lambda group, member: member.join_body(SessionTimeoutMs=5_999)
    yield "session-too-long", "JoinGroup", lambda group, member: member.join_body(SessionTimeoutMs=1_800_001)
    yield "unknown-instance", "JoinGroup", lambda group, member: member.join_body(MemberId="nobody", GroupInstanceId="another")
    yield "instance-of-another", "JoinGroup", lambda group, member: member.join_body(MemberId="nobody", GroupInstanceId="instance")

    yield "nobody", "OffsetCommit", lambda group, member: group.commit()
    yield "right", "OffsetCommit", lambda group, member: group.commit(generation=member.generation, member=member.id, instance=member.instance)
    yield "old-generation", "OffsetCommit", lambda group, member: group.commit(generation=0, member=member.id, instance=member.instance)
    yield "next-generation", "OffsetCommit", lambda group, member: group.commit(generation=99, member=member.id, instance=member.instance)
    yield "unknown-member", "OffsetCommit", lambda group, member: group.commit(generation=member.generation, member="nobody")
    yield "generation-only", "OffsetCommit", lambda group, member: group.commit(generation=1)
    yield "member-only", "OffsetCommit", lambda group, member: group.commit(member=member.id)
    yield "instance-only", "OffsetCommit", lambda group, member: group.commit(instance="instance")
    yield "other-instance", "OffsetCommit", lambda group, member: group.commit(generation=member.generation, member=member.id, instance="another")
    yield "nothing", "OffsetCommit", lambda group, member: group.commit() | {"Topics": []}

    yield "one", "OffsetFetch", lambda group, member: group.fetch()
    yield "stable", "OffsetFetch", lambda group, member: group.fetch(stable=True)
    yield "all", "OffsetFetch", lambda group, member: group.fetch(topics=None)
    yield "member", "OffsetFetch", lambda group, member: group.fetch(member=member.id, epoch=member.generation)
    yield "unknown-member", "OffsetFetch", lambda group, member: group.fetch(member="nobody", epoch=7)
    yield "one", "OffsetDelete", lambda group, member: group.delete_offsets()
    yield "of-nobody", "OffsetDelete", lambda group, member: group.delete_offsets(EMPTY)
    yield "unknown-topic", "OffsetDelete", lambda group, member: group.delete_offsets(NOBODY)
    yield "unknown-partition", "OffsetDelete", lambda group, member: group.delete_offsets(PLAIN, 9)
    yield "one", "DescribeGroups", lambda group, member: group.describe()
    yield "operations", "DescribeGroups", lambda group, member: group.describe() | {"IncludeAuthorizedOperations": True}
    yield "one", "DeleteGroups", lambda group, member: {"GroupsNames": [group.id]}
    yield "twice", "DeleteGroups", lambda group, member: {"GroupsNames": [group.id, group.id]}


# ---- how members come in


def joining():
    def names_itself(group):
        """Before version 4 a name comes with the join, from then on before it."""
        member = group.member()
        first = group.asked("JoinGroup", member.join_body(), member.client)
        member.id = first["MemberId"]
        assert member.id.startswith("differential-"), f"a member named {member.id}"
        if first["ErrorCode"] == MEMBER_ID_REQUIRED:
            group.asked("DescribeGroups", group.describe())
            group.note(member.join())
        group.note(member.join())
        member.generation = 2
        group.note(member.sync())
        group.asked("DescribeGroups", group.describe())

    yield Scene("JoinGroup", "gets-a-name", names_itself)

    def pending_leaves(group):
        member = group.member()
        member.id = group.ask("JoinGroup", member.join_body(), member.client)["MemberId"]
        group.asked("Heartbeat", member.beat_body(), member.client)
        group.asked("LeaveGroup", member.leave_body(), member.client)
        group.asked("JoinGroup", member.join_body(), member.client)
        group.asked("DescribeGroups", group.describe())

    yield Scene("JoinGroup", "leaves-before-it-joined", pending_leaves, lowest=4)
    yield Scene("LeaveGroup", "before-it-joined", pending_leaves)

    def again_at_once(group, enter, **change):
        member = enter(group)
        group.asked("JoinGroup", member.join_body(**change), member.client)
        group.asked("DescribeGroups", group.describe())

    def alone(about, enter, lowest=0, **change):
        return Scene("JoinGroup", about, lambda group: again_at_once(group, enter, **change), lowest=lowest)

    yield alone("leader-again", stable)
    yield alone("leader-again-other-metadata", stable, Protocols=[{"Name": RANGE, "Metadata": subscription(EMPTY)}])
    yield alone("leader-again-other-protocol", stable, Protocols=[{"Name": ROUND_ROBIN, "Metadata": b"x"}, {"Name": RANGE, "Metadata": b"y"}])
    yield alone("leader-again-while-completing", STATES["completing"])
    yield alone("static-again-without-name", stable_static, lowest=5, MemberId=NO_MEMBER)
    yield alone("static-again-other-metadata", stable_static, lowest=5, MemberId=NO_MEMBER, Protocols=[{"Name": RANGE, "Metadata": subscription(EMPTY)}])
    yield alone("static-again-by-name", stable_static, lowest=5)
    yield alone("after-everybody-left", empty, lowest=4, MemberId=NO_MEMBER)
    yield alone("with-a-name-after-everybody-left", empty)
    yield alone("into-a-simple-group", simple, lowest=4, MemberId=NO_MEMBER)

    def static_replaced(group):
        """The second holder of an instance takes the first one's place; the first is told with each request."""
        first, second = stable_static(group), group.member(instance="instance")
        group.note(second.join())
        group.asked("Heartbeat", first.beat_body(), first.client)
        group.asked("SyncGroup", first.sync_body(), first.client)
        group.asked("OffsetCommit", group.commit(generation=first.generation, member=first.id, instance="instance"), first.client)
        group.asked("LeaveGroup", first.leave_body(), first.client)
        group.note(second.sync())
        group.asked("Heartbeat", second.beat_body(), second.client)
        group.asked("DescribeGroups", group.describe())

    for api, lowest in (("JoinGroup", 5), ("SyncGroup", 3), ("Heartbeat", 3), ("LeaveGroup", 3), ("OffsetCommit", 7)):
        yield Scene(api, "static-replaced", static_replaced, lowest=lowest)


# ---- several members


def two_members(group, **more):
    """Stable, with a leader and another one."""
    first = group.member(**more)
    first.join(), first.sync()
    second = group.member(**more)
    second.begin_join()
    first.await_rebalance()
    first.begin_join()
    first.end_join(), second.end_join()
    second.begin_sync()
    first.sync(), second.end_sync()
    return first, second


def rebalances():
    def second_comes(group):
        first = stable(group)
        second = group.member()
        second.begin_join()
        first.await_rebalance()
        group.asked("DescribeGroups", group.describe())
        group.asked("OffsetCommit", group.commit(generation=first.generation, member=first.id), first.client)
        first.begin_join()
        for each in (first, second):
            group.note(each.end_join())
        group.asked("DescribeGroups", group.describe())
        group.asked("OffsetCommit", group.commit(generation=first.generation, member=first.id), first.client)
        second.begin_sync()
        group.note(first.sync())
        group.note(second.end_sync())
        group.note(group.listed())
        group.asked("DescribeGroups", group.describe())

    for api in ("JoinGroup", "SyncGroup", "OffsetCommit", "DescribeGroups"):
        yield Scene(api, "second-member-comes", second_comes)

    def leader_leaves(group):
        first, second = two_members(group)
        group.asked("LeaveGroup", first.leave_body(), first.client)
        group.asked("Heartbeat", second.beat_body(), second.client)
        group.note(second.join())
        group.note(second.sync())
        group.asked("DescribeGroups", group.describe())

    def follower_leaves(group):
        first, second = two_members(group)
        group.asked("LeaveGroup", second.leave_body(), second.client)
        group.asked("Heartbeat", first.beat_body(), first.client)
        group.asked("OffsetCommit", group.commit(generation=first.generation, member=first.id), first.client)
        group.note(first.join())
        group.note(first.sync())

    def follower_asks_again(group):
        """A follower that joins again with what it had is answered at once; with something else everybody joins."""
        first, second = two_members(group)
        group.note(second.join())
        group.note(second.sync())
        second.protocols = [{"Name": RANGE, "Metadata": subscription(EMPTY)}]
        second.begin_join()
        first.await_rebalance()
        first.begin_join()
        group.note(first.end_join())
        group.note(second.end_join())

    def sync_meets_rebalance(group):
        """A third member comes while a second one waits for the leader's assignment."""
        first, second = two_members(group)
        first.begin_join()
        second.await_rebalance()
        second.begin_join()
        first.end_join(), second.end_join()
        second.begin_sync()
        third = group.member()
        third.begin_join()
        group.note(second.end_sync())
        group.asked("SyncGroup", first.sync_body(), first.client)
        for each in (first, second):
            each.begin_join()
        for each in (first, second, third):
            group.note(each.end_join())

    def votes(group):
        """The protocol most members name first of those that all have."""
        first = group.member(protocols=((RANGE, PLAIN), (ROUND_ROBIN, PLAIN), ("mine", PLAIN)))
        first.join(), first.sync()
        second = group.member(protocols=((ROUND_ROBIN, PLAIN), (RANGE, PLAIN)))
        second.begin_join()
        first.await_rebalance()
        third = group.member(protocols=((ROUND_ROBIN, PLAIN), (RANGE, PLAIN)))
        third.begin_join()
        group.await_members(3)
        first.begin_join()
        for each in (first, second, third):
            group.note(each.end_join())
        group.asked("JoinGroup", group.member().join_body(Protocols=[{"Name": "mine", "Metadata": b""}]))

    def many_leave_at_once(group):
        first, second = two_members(group)
        body = first.leave_body()
        body["Members"] = [*body["Members"], {"MemberId": "nobody", "GroupInstanceId": None, "Reason": None}, *second.leave_body()["Members"],
                           *second.leave_body()["Members"]]
        group.asked("LeaveGroup", body)
        group.asked("DescribeGroups", group.describe())
        group.note(group.listed())

    for script in (leader_leaves, follower_leaves, follower_asks_again, sync_meets_rebalance, votes):
        about = script.__name__.replace("_", "-")
        for api in ("JoinGroup", "SyncGroup", "LeaveGroup", "Heartbeat"):
            if script is not votes or api == "JoinGroup":
                yield Scene(api, about, script)
    yield Scene("LeaveGroup", "many-leave-at-once", many_leave_at_once, lowest=3)


# ---- offsets


def offsets():
    def commit(about, *bodies, lowest=0, highest=32767):
        def script(group):
            for body in bodies:
                group.asked("OffsetCommit", body(group))
            group.asked("OffsetFetch", group.fetch(topics=None))

        return Scene("OffsetCommit", about, script, lowest, highest)

    yield commit("largest-metadata", lambda group: group.commit(metadata="x" * 4096))
    yield commit("metadata-too-large", lambda group: group.commit(metadata="x" * 4097))
    yield commit("metadata-wide-characters", lambda group: group.commit(metadata="ü🙂" * 1365), lambda group: group.commit(metadata="🙂" * 2049, topic=EMPTY))
    yield commit("no-metadata", lambda group: group.commit(metadata=None))
    yield commit("unknown-topic", lambda group: group.commit(topic=NOBODY))
    yield commit("unknown-partition", lambda group: group.commit(partition=9))
    yield commit("negative-partition", lambda group: group.commit(partition=-1))
    for offset in (-2, -1, 0, 2**63 - 1):
        yield commit(f"offset-{offset}", lambda group, offset=offset: group.commit(offset))
    yield commit("back-and-forth", lambda group: group.commit(9), lambda group: group.commit(3))

    def good_and_bad(group):
        body = group.commit(1)
        body["Topics"] += group.commit(2, topic=NOBODY)["Topics"] + group.commit(3, topic=WIDE, partition=2)["Topics"]
        body["Topics"][-1]["Partitions"] += group.commit(4, partition=9)["Topics"][0]["Partitions"]
        body["Topics"][-1]["Partitions"] += group.commit(5, partition=1, metadata="x" * 5000)["Topics"][0]["Partitions"]
        return body

    yield commit("good-and-bad", good_and_bad)

    def twice(group):
        body = group.commit(1)
        body["Topics"] += group.commit(2)["Topics"]
        return body

    yield commit("partition-twice", twice)

    def fetch(about, body, lowest=0, highest=32767):
        def script(group):
            for topic, partition in ((PLAIN, 0), (WIDE, 2), (WIDE, 0)):
                group.ask("OffsetCommit", group.commit(5 + partition, topic=topic, partition=partition, metadata=f"of {topic}"))
            group.asked("OffsetFetch", body(group))

        return Scene("OffsetFetch", about, script, lowest, highest)

    yield fetch("several", lambda group: group.fetch(((PLAIN, (0,)), (WIDE, (2, 1, 0)), (EMPTY, (0,)))))
    yield fetch("all", lambda group: group.fetch(None))
    yield fetch("nothing", lambda group: group.fetch(()))
    yield fetch("unknown", lambda group: group.fetch(((NOBODY, (0,)), (PLAIN, (9, -1)))))
    yield fetch("two-groups", lambda group: {**group.fetch(), "Groups": group.fetch()["Groups"] + group.fetch(group="diff-of-nobody")["Groups"]}, lowest=8)
    yield fetch("no-groups", lambda group: {**group.fetch(), "Groups": []}, lowest=8)
    yield fetch("group-twice", lambda group: {**group.fetch(), "Groups": group.fetch()["Groups"] * 2}, lowest=8)

    def subscribed(group):
        member = stable(group)
        for topic in (PLAIN, EMPTY):
            group.ask("OffsetCommit", group.commit(generation=member.generation, member=member.id, topic=topic))
        for topic in (PLAIN, EMPTY):
            group.asked("OffsetDelete", group.delete_offsets(topic))
        group.asked("OffsetFetch", group.fetch(None))

    yield Scene("OffsetDelete", "subscribed-and-not", subscribed)

    def other_type(group):
        member = group.member(kind="connect")
        member.join(), member.sync()
        group.ask("OffsetCommit", group.commit(generation=member.generation, member=member.id))
        group.asked("OffsetDelete", group.delete_offsets())
        group.asked("DescribeGroups", group.describe())
        group.note(group.listed(TypesFilter=["classic"]))
        member.leave()
        group.asked("OffsetDelete", group.delete_offsets())
        group.asked("DeleteGroups", {"GroupsNames": [group.id]})

    for api in ("OffsetDelete", "DescribeGroups", "DeleteGroups"):
        yield Scene(api, "of-another-type", other_type)

    def filtered(group):
        enter = (stable, simple, empty, preparing)
        enter[group.version % len(enter)](group)
        for states in ([], ["Stable"], ["stable", "Empty"], ["PreparingRebalance"], ["Dead"], ["no such state"]):
            group.note(group.listed(StatesFilter=states))
        for types in ([], ["classic"], ["Classic", "consumer"], ["consumer"], ["no such type"]):
            group.note(group.listed(TypesFilter=types))

    yield Scene("ListGroups", "filtered", filtered)
    for enter in (stable, simple, empty):
        yield Scene("ListGroups", enter.__name__, lambda group, enter=enter: (enter(group), group.note(group.listed())))


# ---- names that are none


def bad_names():
    def named(api, about, body):
        def script(group):
            group.asked(api, body(group, group.member()))

        return Scene(api, about, script)

    yield named("JoinGroup", "empty-group-id", lambda group, member: member.join_body(GroupId=""))
    yield named("SyncGroup", "empty-group-id", lambda group, member: member.sync_body(GroupId="", ProtocolName=RANGE, GenerationId=1))
    yield named("Heartbeat", "empty-group-id", lambda group, member: member.beat_body(GroupId=""))
    yield named("LeaveGroup", "empty-group-id", lambda group, member: member.leave_body() | {"GroupId": ""})
    yield named("OffsetCommit", "empty-group-id", lambda group, member: group.commit() | {"GroupId": ""})
    yield named("OffsetFetch", "empty-group-id", lambda group, member: group.fetch(group=""))
    yield named("OffsetDelete", "empty-group-id", lambda group, member: group.delete_offsets() | {"GroupId": ""})
    yield named("DescribeGroups", "empty-group-id", lambda group, member: {"Groups": [""]})
    yield named("DescribeGroups", "nothing", lambda group, member: {"Groups": []})
    yield named("DescribeGroups", "several", lambda group, member: {"Groups": [group.id, "diff-of-nobody", group.id]})
    yield named("DeleteGroups", "empty-group-id", lambda group, member: {"GroupsNames": [""]})
    yield named("DeleteGroups", "nothing", lambda group, member: {"GroupsNames": []})
    yield named("FindCoordinator", "groups", lambda group, member: {"Key": group.id, "KeyType": 0, "CoordinatorKeys": [group.id, "", "diff-of-nobody"]})
    yield named("JoinGroup", "type-that-is-no-consumer", lambda group, member: member.join_body(ProtocolType=CONSUMER + "s"))
