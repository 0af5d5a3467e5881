"""Records for the clients written in Python: what they send, and how it must come back."""

import random

from harness.report import equal

START_MS = 1_700_000_000_000
CODECS = (None, "gzip", "snappy", "lz4", "zstd")


def mixed(count):
    """Half of them compress well, half not at all; null keys, null values and headers among them. (key, value, headers, time)"""
    return [(None if at % 5 == 0 and at % 7 else b"key-%d" % at, content(at), [("h", b"%d" % at)] * (at % 3), START_MS + at) for at in range(count)]


def content(at):
    if at % 7 == 0:
        return None
    return b"the same words again and again " * (1 + at % 20) if at % 2 == 0 else random.Random(at).randbytes(1 + at % 700)


def check_same(read, sent, first=0):
    """Both of these clients give records with the same names of fields."""
    equal(len(read), len(sent), "number of records")
    for at, (found, expected) in enumerate(zip(read, sent, strict=True)):
        same = (found.key, found.value, [(name, value) for name, value in found.headers], found.timestamp)
        equal(same, expected, f"record {at}")
        equal(found.offset, first + at, f"offset of record {at}")
