"""Transactions: every state of one against every request, error for error, in each version of the protocol."""

from wire.client import produce_body
from wire.records import Batch

from .transactions import (ABORT, AT, COMMIT, NEW, OFFSETS_OF, OLD, SHORT_MS, TOPIC, VERIFIED, VERSIONS, Scene)

PROTOCOLS = (OLD, VERIFIED, NEW)
BEFORE = "before-890"
INTERNAL = "__consumer_offsets"
NOBODY = "diff-nobody"
OUTCOMES = {"commit": COMMIT, "abort": ABORT}


def scenes():
    yield from states_and_requests()
    yield from states_and_strangers()
    yield from too_late()
    yield from beginning()
    yield from retries()
    yield from offsets()
    yield from markers()
    yield from readers()
    yield from listings()
    yield from batched()


def scenes_before():
    """With a server of the level before, where it acts by itself: all else is chosen by the version of a request."""
    for scene in (*too_late(), Scene("init-while-ongoing", init_while_ongoing)):
        yield Scene(f"{BEFORE}-{scene.name}", scene.script)


# ---- states: each leaves the id in it


def unknown(transaction):
    """The coordinator has never heard of the id; the producer is one without."""
    transaction.producer, transaction.epoch = transaction.another_producer(), 0


def empty(transaction):
    transaction.begun()


def added(transaction):
    transaction.begun()
    transaction.added(0)


def ongoing(transaction):
    added(transaction)
    transaction.written(0)


def complete(committed, protocol):
    def enter(transaction):
        ongoing(transaction)
        transaction.ended(committed, protocol)

    return enter


STATES = {"unknown": unknown, "empty": empty, "added": added, "ongoing": ongoing,
          **{f"{name}-{protocol}": complete(outcome, protocol) for name, outcome in OUTCOMES.items() for protocol in (VERIFIED, NEW)}}


def fenced_idle(transaction):
    """Another instance has begun; this one does not know."""
    complete(COMMIT, VERIFIED)(transaction)
    transaction.fence()


def fenced_ongoing(transaction):
    ongoing(transaction)
    transaction.fence()


def timed_out(transaction):
    transaction.begun(SHORT_MS)
    transaction.ask("AddPartitionsToTxn", 3, transaction.add())
    transaction.await_state("CompleteAbort")


TOO_LATE = {"fenced-idle": fenced_idle, "fenced-ongoing": fenced_ongoing, "timed-out": timed_out}


# ---- requests: (name, API, version, body of a transaction)


def requests():
    for protocol in PROTOCOLS:
        for outcome, committed in OUTCOMES.items():
            yield f"{outcome}-{protocol}", "EndTxn", protocol, lambda txn, committed=committed, **who: txn.end(committed, **who)
        yield f"produce-{protocol}", "Produce", protocol, lambda txn, **who: txn.data(0, **who)
        yield f"offsets-{protocol}", "TxnOffsetCommit", protocol, lambda txn, **who: txn.offsets(**who)
    yield "add-offsets", "AddOffsetsToTxn", 4, lambda txn, **who: txn.add_offsets(**who)
    yield "add", "AddPartitionsToTxn", 3, lambda txn, **who: txn.add(**who)
    yield "verify", "AddPartitionsToTxn", 4, lambda txn, **who: txn.add(verify=True, **who)
    yield "add-by-broker", "AddPartitionsToTxn", 5, lambda txn, **who: txn.add(**who)
    yield "init-again", "InitProducerId", 5, lambda txn, **who: txn.init(**{**txn.who(), **who})


def more_requests():
    """What only one who is right is asked for."""
    yield from requests()
    yield "init", "InitProducerId", 5, lambda txn: txn.init()
    yield "add-other", "AddPartitionsToTxn", 3, lambda txn: txn.add(((TOPIC, (0, 1)),))
    yield "add-unknown", "AddPartitionsToTxn", 3, lambda txn: txn.add(((TOPIC, (0, 9)), (NOBODY, (0,))))
    yield "add-internal", "AddPartitionsToTxn", 3, lambda txn: txn.add(((TOPIC, (1,)), (INTERNAL, (0,))))
    yield "add-nothing", "AddPartitionsToTxn", 3, lambda txn: txn.add(())
    yield "verify-other", "AddPartitionsToTxn", 4, lambda txn: txn.add(((TOPIC, (0, 1)),), verify=True)
    for protocol in PROTOCOLS:
        yield f"produce-other-{protocol}", "Produce", protocol, lambda txn: txn.data(0, 1)


def ask(transaction, api, version, body, **who):
    return transaction.asked(api, body(transaction, **who), VERSIONS[api][version] if version in PROTOCOLS else version)


def states_and_requests():
    """Who is right asks; what became of it is asked afterwards."""
    for state, enter in STATES.items():
        for about, api, version, body in more_requests():
            def script(transaction, enter=enter, api=api, version=version, body=body):
                enter(transaction)
                ask(transaction, api, version, body)
                transaction.shows()

            yield Scene(f"{state}-{about}", script)


def strangers(transaction):
    yield {"ProducerEpoch": transaction.epoch - 1}
    yield {"ProducerEpoch": transaction.epoch + 1}
    yield {"ProducerId": transaction.another_producer()}
    yield {"TransactionalId": ""}
    yield {"ProducerId": -1, "ProducerEpoch": -1}


STRANGERS = ("older-epoch", "newer-epoch", "other-producer", "no-id", "no-producer")


def states_and_strangers():
    """Who is wrong asks for everything, one after the other."""
    for state, enter in STATES.items():
        for number, about in enumerate(STRANGERS):
            def script(transaction, enter=enter, number=number):
                enter(transaction)
                who = list(strangers(transaction))[number]
                for _, api, version, body in requests():
                    ask(transaction, api, version, body, **who)
                transaction.shows()

            yield Scene(f"{state}-{about}", script)


def too_late():
    """The instance that was overtaken: first each way to end, then everything."""
    for state, enter in TOO_LATE.items():
        for protocol in (VERIFIED, NEW):
            for outcome, committed in OUTCOMES.items():
                def script(transaction, enter=enter, protocol=protocol, committed=committed):
                    enter(transaction)
                    for _ in range(2):
                        transaction.asked("EndTxn", transaction.end(committed), VERSIONS["EndTxn"][protocol])
                    transaction.shows()

                yield Scene(f"{state}-{outcome}-{protocol}", script)

        def everything(transaction, enter=enter):
            enter(transaction)
            for _, api, version, body in requests():
                if api != "EndTxn":
                    ask(transaction, api, version, body)
            transaction.shows()

        yield Scene(f"{state}-everything", everything)


# ---- InitProducerId


def init_while_ongoing(transaction):
    """The first answer is that one is under way; then there is a new epoch, how much newer is compared."""
    ongoing(transaction)
    transaction.asked("InitProducerId", transaction.init())
    transaction.adopt(transaction.settled("InitProducerId", transaction.init(), AT["InitProducerId"]))
    transaction.shows()


def beginning():
    yield Scene("init-while-ongoing", init_while_ongoing)

    def every_version(transaction):
        for version in range(6):
            transaction.adopt(transaction.asked("InitProducerId", transaction.init(), version))
        transaction.shows()

    yield Scene("init-every-version", every_version)

    def limits(transaction):
        for timeout_ms in (0, -1, 900_000, 900_001, 2**31 - 1):
            transaction.asked("InitProducerId", transaction.init(timeout_ms))
        transaction.asked("InitProducerId", transaction.init(TransactionalId=""))
        # One without the other.
        transaction.asked("InitProducerId", transaction.init(ProducerId=5))
        transaction.asked("InitProducerId", transaction.init(ProducerEpoch=5))
        transaction.shows()

    yield Scene("init-limits", limits)

    def expected(transaction):
        """With the epoch one has, again with that (a retry), with one older, with one never given; below version 4 errors have other names."""
        transaction.begun()
        first = transaction.who()
        for version in (5, 3):
            transaction.asked("InitProducerId", transaction.init(**first), version)
            transaction.asked("InitProducerId", transaction.init(**first), version)
            second = {**first, "ProducerEpoch": first["ProducerEpoch"] + 1}
            transaction.asked("InitProducerId", transaction.init(**second), version)
            transaction.asked("InitProducerId", transaction.init(**first), version)
            transaction.asked("InitProducerId", transaction.init(**{**first, "ProducerEpoch": 99}), version)
            first = {**first, "ProducerEpoch": first["ProducerEpoch"] + 2}
        transaction.shows()

    yield Scene("init-expected-epochs", expected)

    def without_id(transaction):
        transaction.begun()
        for version in range(6):
            answer = transaction.asked("InitProducerId", transaction.init(TransactionalId=None), version)
            transaction.producers.append(answer["ProducerId"])

    yield Scene("init-of-nobody", without_id)


# ---- the same once more


def retries():
    for protocol in PROTOCOLS:
        for outcome, committed in OUTCOMES.items():
            def again(transaction, protocol=protocol, committed=committed):
                """Ended, once more the same way and the other, with the epoch it had and the one after."""
                ongoing(transaction)
                before = transaction.who()
                transaction.asked("EndTxn", transaction.end(committed), VERSIONS["EndTxn"][protocol])
                transaction.await_state("CompleteCommit", "CompleteAbort")
                for epoch in (before["ProducerEpoch"], before["ProducerEpoch"] + 1):
                    for which in (committed, not committed):
                        for asked in PROTOCOLS:
                            transaction.asked("EndTxn", transaction.end(which, ProducerEpoch=epoch), VERSIONS["EndTxn"][asked])
                            transaction.until(lambda: not transaction.described()["TransactionState"].startswith("Prepare"), "completing")
                transaction.shows()

            yield Scene(f"again-{outcome}-{protocol}", again)

        def resent(transaction, protocol=protocol):
            """A batch twice, one with a gap, one of the old numbering once the transaction is over, and the next one."""
            ongoing(transaction)
            version = VERSIONS["Produce"][protocol]
            transaction.asked("Produce", transaction.data(0), version)
            transaction.asked("Produce", transaction.data(0), version)
            transaction.sequence[0] = 9
            transaction.asked("Produce", transaction.data(0), version)
            transaction.ended(COMMIT, NEW if protocol == NEW else VERIFIED)
            transaction.asked("Produce", transaction.data(0, ProducerEpoch=0), version)
            transaction.asked("Produce", transaction.data(0), version)
            transaction.sequence[0] = 4
            transaction.asked("Produce", transaction.data(0), version)
            transaction.shows()

        yield Scene(f"resent-{protocol}", resent)

        def unlike(transaction, protocol=protocol):
            """Batches that are not what the request says: plain in a transaction, of one in a plain request, of two producers."""
            ongoing(transaction)
            version = VERSIONS["Produce"][protocol]
            plain = Batch([b"x"], producer_id=transaction.producer, epoch=transaction.epoch, sequence=2)
            transaction.asked("Produce", produce_body([(TOPIC, 0, plain)], transactional_id=transaction.id), version)
            transaction.asked("Produce", produce_body([(TOPIC, 0, plain)]), version)
            transaction.asked("Produce", produce_body([(TOPIC, 0, Batch([b"x"]))], transactional_id=transaction.id), version)
            transaction.asked("Produce", produce_body([(TOPIC, 0, transaction.batch())]), version)
            other = transaction.batch(1, ProducerId=transaction.another_producer())
            transaction.asked("Produce", produce_body([(TOPIC, 0, transaction.batch()), (TOPIC, 1, other)], transactional_id=transaction.id), version)
            transaction.asked("Produce", produce_body([(TOPIC, 0, transaction.batch())], acks=1, transactional_id=transaction.id), version)
            transaction.shows()

        yield Scene(f"unlike-{protocol}", unlike)


# ---- offsets


def offsets():
    def fetch(transaction, stable):
        one = {"GroupId": transaction.group, "MemberId": None, "MemberEpoch": -1, "Topics": [{"Name": OFFSETS_OF, "PartitionIndexes": [0]}]}
        return {"GroupId": transaction.group, "Topics": one["Topics"], "Groups": [one], "RequireStable": stable}

    def both(transaction):
        for version in (7, 8, 9):
            for stable in (False, True):
                transaction.asked("OffsetFetch", fetch(transaction, stable), version)

    for protocol in PROTOCOLS:
        version = VERSIONS["TxnOffsetCommit"][protocol]
        for outcome, committed in OUTCOMES.items():
            def pending(transaction, version=version, protocol=protocol, committed=committed):
                transaction.await_group()
                transaction.begun()
                if protocol != NEW:
                    transaction.asked("AddOffsetsToTxn", transaction.add_offsets())
                transaction.asked("TxnOffsetCommit", transaction.offsets(), version)
                both(transaction)
                transaction.ended(committed, NEW if protocol == NEW else VERIFIED)
                # Kafka applies what its log says a moment after the transaction is complete.
                transaction.until(lambda: transaction.ask("OffsetFetch", 7, fetch(transaction, True))["Topics"][0]["Partitions"][0]["ErrorCode"] == 0, "pending")
                both(transaction)

            yield Scene(f"offsets-pending-{outcome}-{protocol}", pending)

        def refused(transaction, version=version, protocol=protocol):
            transaction.await_group()
            transaction.begun()
            if protocol != NEW:
                transaction.asked("AddOffsetsToTxn", transaction.add_offsets())
            for change in ({"topic": NOBODY}, {"partition": 9}, {"metadata": "m" * 4097}, {"member": "nobody"}, {"generation": 3}, {"member": "nobody", "generation": 3},
                           {"instance": "nobody"}, {"group": ""}, {"offset": -5}):
                transaction.asked("TxnOffsetCommit", transaction.offsets(**change), version)
            transaction.asked("TxnOffsetCommit", transaction.offsets() | {"Topics": []}, version)
            both(transaction)
            transaction.asked("DescribeTransactions", {"TransactionalIds": [transaction.id]})

        yield Scene(f"offsets-refused-{protocol}", refused)

    def overtaken(transaction):
        """A plain commit while one is pending: the later record counts once the transaction is committed."""
        transaction.await_group()
        transaction.begun()
        transaction.asked("AddOffsetsToTxn", transaction.add_offsets())
        transaction.asked("TxnOffsetCommit", transaction.offsets(7), 4)
        part = {"PartitionIndex": 0, "CommittedOffset": 9, "CommittedLeaderEpoch": -1, "CommittedMetadata": ""}
        commit = {"GroupId": transaction.group, "GenerationIdOrMemberEpoch": -1, "MemberId": "", "Topics": [{"Name": OFFSETS_OF, "Partitions": [part]}]}
        transaction.asked("OffsetCommit", commit, 8)
        both(transaction)
        transaction.ended(COMMIT)
        transaction.until(lambda: transaction.ask("OffsetFetch", 7, fetch(transaction, True))["Topics"][0]["Partitions"][0]["ErrorCode"] == 0, "pending")
        both(transaction)

    yield Scene("offsets-overtaken", overtaken)

    def every_version(transaction):
        transaction.await_group()
        for version in range(5):
            transaction.begun()
            transaction.asked("AddOffsetsToTxn", transaction.add_offsets(), version)
            transaction.asked("TxnOffsetCommit", transaction.offsets(version), version)
            transaction.asked("EndTxn", transaction.end(COMMIT), version)
            transaction.await_state("CompleteCommit")
        transaction.asked("AddOffsetsToTxn", transaction.add_offsets() | {"GroupId": ""})

    yield Scene("offsets-every-version", every_version)


# ---- markers of a client


def markers():
    def marked(about, enter, *asked):
        def script(transaction):
            enter(transaction)
            # A marker of a coordinator that was never there keeps the one there is from writing another.
            transaction.is_left = about == "coordinators"
            for version, committed, change in asked:
                transaction.asked("WriteTxnMarkers", transaction.markers(committed, **{name: value(transaction) if callable(value) else value for name, value in change.items()}), version)
                transaction.producers_of(0)
                transaction.asked("ListOffsets", transaction.latest(0, 1))

        return Scene(f"markers-{about}", script)

    def epoch(by):
        return {"ProducerEpoch": lambda transaction: transaction.epoch + by}

    for state, enter in (("none", empty), ("open", ongoing), ("over", complete(COMMIT, VERIFIED)), ("over-new", complete(ABORT, NEW))):
        def second(transaction, enter=enter):
            # Its epoch is 1, so that there is one before it.
            transaction.begun()
            enter(transaction)

        for outcome, committed in OUTCOMES.items():
            for level in (0, 1, 2):
                for about, by in (("older", -1), ("same", 0), ("newer", 1)):
                    # Twice: the second must change nothing.
                    step = (2 if level else 1, committed, {"version": level, **epoch(by)})
                    yield marked(f"{state}-{about}-{outcome}-{level}", second, step, step)
    yield marked("coordinators", ongoing, (1, COMMIT, {"coordinator": 5}), (1, COMMIT, {"coordinator": 4}), (1, COMMIT, {"coordinator": 6}), (1, ABORT, {"coordinator": -1}))
    yield marked("elsewhere", empty, (1, COMMIT, {"topics": ((TOPIC, (0, 9)), (NOBODY, (0,)), (INTERNAL, (0,)))}), (2, COMMIT, {"topics": ()}))
    yield marked("of-no-producer", empty, (1, ABORT, {"ProducerId": -1, "ProducerEpoch": -1}), (1, ABORT, {"ProducerEpoch": -1}))


# ---- what readers are given


def readers():
    def reads(transaction):
        for version in range(4, 18):
            for isolation in (0, 1):
                transaction.fetched(version, isolation)
        for version in range(2, 11):
            for isolation in (0, 1):
                for time_ms in (-1, -3):
                    if time_ms != -3 or version >= 7:
                        transaction.asked("ListOffsets", transaction.latest(0, isolation, time_ms), version)

    for state in ("ongoing", "commit-verified", "abort-verified", "abort-new"):
        def script(transaction, enter=STATES[state]):
            enter(transaction)
            reads(transaction)

        yield Scene(f"read-{state}", script)

    def several(transaction):
        """Three of them, aborted but the second; read from each offset."""
        transaction.begun()
        for committed in (ABORT, COMMIT, ABORT):
            transaction.added(0)
            transaction.written(0)
            transaction.written(0)
            transaction.ended(committed)
        for offset in range(16):
            transaction.fetched(12, 1, offset)

    yield Scene("read-several", several)


# ---- lists and descriptions


def listings():
    def describe(transaction):
        ongoing(transaction)
        transaction.asked("DescribeTransactions", {"TransactionalIds": []})
        transaction.asked("DescribeTransactions", {"TransactionalIds": [transaction.id, "diff-nobody", ""]})

    yield Scene("describe", describe)

    def listed(transaction):
        ongoing(transaction)
        own = {"TransactionalIdPattern": transaction.id}
        nothing = {"StateFilters": [], "ProducerIdFilters": [], "DurationFilter": -1}
        for change in ({}, {"StateFilters": ["Ongoing"]}, {"StateFilters": ["Empty"]}, {"StateFilters": ["Ongoing", "Nonsense"]}, {"StateFilters": ["Nonsense"]},
                       {"StateFilters": ["ongoing"]}, {"ProducerIdFilters": [transaction.producer]}, {"ProducerIdFilters": [transaction.producer + 1]},
                       {"DurationFilter": 0}, {"DurationFilter": 3_600_000}, {"TransactionalIdPattern": transaction.id[:-1]},
                       {"TransactionalIdPattern": transaction.id[:-1] + "."}, {"TransactionalIdPattern": "(?i)" + transaction.id.upper()},
                       {"TransactionalIdPattern": "["}):
            transaction.asked("ListTransactions", nothing | own | change)
        for version in (0, 1):
            transaction.asked("ListTransactions", nothing | {"ProducerIdFilters": [transaction.producer]}, version)

    yield Scene("list", listed)

    def producers(transaction):
        ongoing(transaction)
        for name, parts in ((NOBODY, (0,)), (TOPIC, (9,)), (INTERNAL, (99,)), ("", (0,))):
            transaction.asked("DescribeProducers", {"Topics": [{"Name": name, "PartitionIndexes": list(parts)}]})
        transaction.asked("DescribeProducers", {"Topics": []})

    yield Scene("describe-producers", producers)

    def coordinator(transaction):
        transaction.begun()
        for version in range(1, 7):
            for key in (transaction.id, "diff-unseen", ""):
                transaction.asked("FindCoordinator", {"Key": key, "KeyType": 1, "CoordinatorKeys": [key]}, version)

    yield Scene("find-coordinator", coordinator)


# ---- several transactions in a broker's request


def batched():
    def together(transaction):
        ongoing(transaction)
        for version in (4, 5):
            for verify in (True, False):
                own = transaction.add(((TOPIC, (0, 1)),), verify)["Transactions"][0]
                others = [{**own, "TransactionalId": "diff-unseen"}, {**own, "TransactionalId": transaction.id + "x", "VerifyOnly": not verify}]
                transaction.asked("AddPartitionsToTxn", {"Transactions": [own, *others]}, version)
                transaction.asked("AddPartitionsToTxn", {"Transactions": [{**own, "Topics": [{"Name": TOPIC, "Partitions": [0, 9]}, {"Name": NOBODY, "Partitions": [0]}]}]}, version)
        transaction.shows()

    yield Scene("batched", together)

    def every_version(transaction):
        for version in range(6):
            transaction.begun()
            transaction.asked("AddPartitionsToTxn", transaction.add(((TOPIC, (0, 1)),)), version)
            transaction.asked("AddPartitionsToTxn", transaction.add(((TOPIC, (1, 0)),), ProducerEpoch=99), version)
            transaction.asked("EndTxn", transaction.end(ABORT, ProducerEpoch=99), version)
            transaction.asked("EndTxn", transaction.end(ABORT), version)
            transaction.await_state("CompleteAbort")

    yield Scene("every-version", every_version)
