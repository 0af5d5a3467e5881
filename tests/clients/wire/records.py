"""Record batches (format 2) built field by field, so that each field can be wrong."""

import gzip
import struct
import time
from dataclasses import dataclass, field

NO_PRODUCER = -1
TRANSACTIONAL, CONTROL, LOG_APPEND_TIME = 0x10, 0x20, 0x08
CODEC_GZIP = 1
HEADER_BYTES = 61
# The time of the run, once: a broker forgets producers whose newest record is over a day old.
NOW_MS = int(time.time() * 1000)


def crc_table():
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC_TABLE = crc_table()


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = CRC_TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def zigzag(value):
    value = (value << 1 ^ value >> 63) & 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def sized(content):
    return zigzag(-1) if content is None else zigzag(len(content)) + content


def record(offset_delta, value, key=None, headers=(), time_delta=0, attributes=0):
    body = bytes([attributes]) + zigzag(time_delta) + zigzag(offset_delta) + sized(key) + sized(value) + zigzag(len(headers))
    for name, content in headers:
        body += sized(name) + sized(content)
    return zigzag(len(body)) + body


@dataclass
class Batch:
    """One batch; the fields derived from the others (count, last offset, CRC, length) can be set to something false."""

    values: list = field(default_factory=lambda: [b"value"])
    producer_id: int = NO_PRODUCER
    epoch: int = -1
    sequence: int = -1
    base_offset: int = 0
    leader_epoch: int = -1
    magic: int = 2
    attributes: int = 0
    base_timestamp: int = NOW_MS
    max_timestamp: int = None
    last_offset_delta: int = None
    count: int = None
    records: bytes = None
    crc: int = None
    length: int = None
    key: bytes = None
    time_deltas: list = None

    def encode(self):
        times = self.time_deltas or [0] * len(self.values)
        records = self.records
        if records is None:
            records = b"".join(record(at, value, self.key, time_delta=times[at]) for at, value in enumerate(self.values))
            if self.attributes & 7 == CODEC_GZIP:
                records = gzip.compress(records)
        count = len(self.values) if self.count is None else self.count
        last = len(self.values) - 1 if self.last_offset_delta is None else self.last_offset_delta
        latest = self.base_timestamp + max(times, default=0) if self.max_timestamp is None else self.max_timestamp
        covered = struct.pack(">hiqqqhii", self.attributes, last, self.base_timestamp, latest, self.producer_id,
                              self.epoch, self.sequence, count) + records
        crc = crc32c(covered) if self.crc is None else self.crc
        length = len(covered) + 9 if self.length is None else self.length
        return struct.pack(">qiibI", self.base_offset, length, self.leader_epoch, self.magic, crc) + covered


def batches(data):
    """(base offset, record count, whole batch) of each whole batch in fetched bytes."""
    at, found = 0, []
    while at + HEADER_BYTES <= len(data):
        base, length = struct.unpack_from(">qi", data, at)
        if at + 12 + length > len(data):
            break
        count = struct.unpack_from(">i", data, at + 57)[0]
        found.append((base, count, data[at:at + 12 + length]))
        at += 12 + length
    return found
