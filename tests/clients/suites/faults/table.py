"""The table of guarantees, as far as a producer of one batch after the other meets it, and who compares a run with it."""

import tomllib
from collections import Counter

from harness.prepare import REPOSITORY
from harness.report import equal

ROWS = {row["id"]: row for row in tomllib.loads((REPOSITORY / "broker" / "guarantees.toml").read_text())["row"]}
SENT, ACKNOWLEDGED, UNKNOWN = "sent", "acknowledged", "unknown"


def cell(row, acks, idempotence, retries):
    """What the row says to who produces so, in Kafka's durability."""
    way = {"acks": str(acks).replace("-1", "all"), "idempotence": idempotence, "retries": retries, "mode": "none"}
    found = [each for each in ROWS[row]["cell"] if all(value in each.get(name, [value]) for name, value in way.items())]
    assert len(found) == 1, f"{len(found)} cells of row {row} for {way}"
    return found[0]


def told(acks, is_delivered):
    """What a producer knows of a record whose delivery is over."""
    return UNKNOWN if not is_delivered else SENT if acks == 0 else ACKNOWLEDGED


def named(way):
    acks, idempotence, retries = way
    return f"acks-{acks if acks >= 0 else 'all'}{'-idempotent' if idempotence else ''}{'' if retries else '-without-retries'}"


def judge(found, sent, met, told, stored):
    """`sent`: values in order; `met`: the one the fault met; `told`: what became of each; `stored`: the log."""
    equal(told[met], found["told"][0], "what the producer was told")
    copies = Counter(stored)
    delivered = [value for value in sent if told[value] in (SENT, ACKNOWLEDGED)]
    lost = {value for value in delivered if not copies[value]}
    named = {"nothing": set(), "the batch": {met}, "what was not replicated": {met}}[found["lost"]]
    equal(lost, named, "what was delivered and is gone")
    twice = {value: count for value, count in copies.items() if count > 1}
    equal(twice, {"nothing": {}, "once per lost answer": {met: 2}}[found["duplicated"]], "what is there too often")
    if "unacknowledged" in found:
        equal(copies[met] > 0, found["unacknowledged"] == "stored", "whether what failed is stored")
    firsts = list(dict.fromkeys(stored))
    in_order = firsts == [value for value in sent if value in copies]
    equal("kept" if in_order else "changed", found.get("order", "kept"), "the order")
