"""The broker's own files under DumpLogSegments: while it runs, after a clean stop, and after a kill."""

import re

from harness.report import equal

TOPIC = "tools-dump"
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
RECORDS_EACH, RECORD_BYTES = 4_000, 400
INDEX_INTERVAL_BYTES = 4_096

BATCH = re.compile(
    r"baseOffset: (?P<base>\d+) lastOffset: (?P<last>\d+) count: (?P<count>\d+) baseSequence: (?P<base_sequence>\d+) "
    r"lastSequence: (?P<last_sequence>\d+) producerId: (?P<producer>\d+) producerEpoch: (?P<epoch>\d+) "
    r"partitionLeaderEpoch: (?P<leader_epoch>\d+) isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty "
    r"position: (?P<position>\d+) CreateTime: (?P<time>\d+) size: (?P<size>\d+) magic: 2 compresscodec: (?P<codec>\w+) "
    r"crc: \d+ isvalid: true")
RECORD = re.compile(r"\| offset: (\d+) CreateTime: (\d+) keySize: -1 valueSize: (\d+) sequence: (\d+) headerKeys: \[\] payload: ([A-Z]+)")
PRODUCER = re.compile(
    r"producerId: (?P<producer>\d+) producerEpoch: (?P<epoch>\d+) coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong.empty "
    r"lastTimestamp: (?P<time>\d+) firstSequence: (?P<base_sequence>\d+) lastSequence: (?P<last_sequence>\d+) "
    r"lastOffset: (?P<last>\d+) offsetDelta: (?P<delta>\d+) timestamp: (?P=time)")
INDEX_ENTRY = re.compile(r"offset: (\d+) position: (\d+)")
TIME_ENTRY = re.compile(r"timestamp: (\d+) offset: (\d+)")



def tests(suite, tools):
    suite.test("files-fill", lambda: fill(tools))
    suite.test("files-dump-logs-while-running", lambda: check_logs(tools))
    suite.test("files-dump-indexes-while-running", lambda: check_indexes(tools, stopped=False))
    suite.test("files-dump-producers-while-running", lambda: check_producers(tools, stopped=False))
    suite.test("files-stop-cleanly", tools.broker.stop)
    suite.test("files-after-stop", lambda: check_names(tools))
    suite.test("files-dump-logs-after-stop", lambda: check_logs(tools))
    suite.test("files-dump-indexes-after-stop", lambda: check_indexes(tools, stopped=True))
    suite.test("files-index-sanity-after-stop", lambda: check_sanity(tools))
    suite.test("files-dump-producers-after-stop", lambda: check_producers(tools, stopped=True))
    suite.test("files-read-after-restart", lambda: check_restart(tools))
    suite.test("files-kill", tools.broker.kill)
    suite.test("files-dump-logs-after-kill", lambda: check_logs(tools))
    suite.test("files-dump-producers-after-kill", lambda: check_producers(tools, stopped=True))
    suite.test("files-read-after-kill", lambda: check_restart(tools))


def fill(tools):
    """Several segments, with index entries in each, and batches of every codec side by side."""
    tools.create(TOPIC, segment_bytes=1_048_576)
    for codec in CODECS:
        tools.on_broker("ProducerPerformance", "--topic", TOPIC, "--num-records", RECORDS_EACH, "--record-size", RECORD_BYTES,
                        "--throughput", -1, "--command-property", f"compression.type={codec}", "linger.ms=5")
    equal(tools.offsets(TOPIC), {0: RECORDS_EACH * len(CODECS)}, "end of the log")


def paths(tools, suffix):
    return sorted(tools.broker.partition_folder(TOPIC).glob(f"*{suffix}"))


def dump(tools, files, *flags):
    """The tool's lines for each file. It says what is wrong on standard error, which `run` takes for a failure."""
    # It expects every file to begin at offset 0, and says so of each that rightly begins later.
    notices = {f"Non-consecutive offsets in {path}" for path in files} | {f"  -1 is followed by {int(path.stem)}" for path in files}
    lines = tools.run("DumpLogSegments", "--files", ",".join(map(str, files)), *flags, notices=notices)
    parts, expected = {}, [f"Dumping {path}" for path in files]
    for line in lines:
        if line.startswith("Dumping "):
            parts[line] = []
        else:
            parts[next(reversed(parts))].append(line)
    equal(list(parts), expected, "files dumped")
    return dict(zip(files, parts.values(), strict=True))


def segments(tools):
    """The batches of each segment, as the tool prints their heads."""
    found = {}
    for path, lines in dump(tools, paths(tools, ".log")).items():
        equal(lines[0], f"Log starting offset: {int(path.stem)}", "first line")
        found[int(path.stem)] = [batch_of(line) for line in lines[1:]]
    return found


def batch_of(line):
    match = BATCH.fullmatch(line)
    assert match, f"not the head of a right batch: {line}"
    return {key: value if key == "codec" else int(value) for key, value in match.groupdict().items()}


def check_logs(tools):
    next_offset, codecs, count = 0, set(), 0
    logs = paths(tools, ".log")
    assert len(logs) >= 4, f"{len(logs)} segments, too few to show anything"
    for path, lines in dump(tools, logs, "--deep-iteration", "--print-data-log").items():
        equal(lines[0], f"Log starting offset: {next_offset}", f"first line of {path.name}")
        equal(int(path.stem), next_offset, f"offset in the name {path.name}")
        position, left = 0, 0
        for line in lines[1:]:
            if left == 0:
                batch = batch_of(line)
                equal(batch["position"], position, f"position of the batch at {batch['base']}")
                equal(batch["base"], next_offset, "base offset")
                equal(batch["count"], batch["last"] - batch["base"] + 1, f"count of the batch at {batch['base']}")
                equal(batch["last_sequence"] - batch["base_sequence"] + 1, batch["count"], "sequences")
                position, left = position + batch["size"], batch["count"]
                codecs.add(batch["codec"])
                continue
            match = RECORD.fullmatch(line)
            assert match, f"not a right record: {line}"
            offset, _, size, sequence = (int(match[at]) for at in range(1, 5))
            equal((offset, size, len(match[5])), (next_offset, RECORD_BYTES, RECORD_BYTES), "(offset, size, bytes printed)")
            equal(sequence, batch["base_sequence"] + offset - batch["base"], f"sequence at {offset}")
            next_offset, left, count = next_offset + 1, left - 1, count + 1
        equal(left, 0, f"records missing at the end of {path.name}")
        equal(path.stat().st_size, position, f"bytes of {path.name}")
    equal(count, RECORDS_EACH * len(CODECS), "records")
    equal(codecs, set(CODECS), "codecs")


def check_indexes(tools, stopped):
    """Entries are those Kafka writes for these very batches, no more, no fewer; and the tool finds them right."""
    batches_of = segments(tools)
    offsets, times = paths(tools, ".index"), paths(tools, ".timeindex")
    equal([int(path.stem) for path in offsets], sorted(batches_of), "segments with an offset index")
    equal([int(path.stem) for path in times], sorted(batches_of), "segments with a time index")
    for path, lines in dump(tools, [*offsets, *times], "--verify-index-only").items():
        equal([line for line in lines if not line.endswith(" is empty.")], [], f"output for {path.name}")
    last = max(batches_of)
    found_offsets, found_times = dump(tools, offsets), dump(tools, times)
    for path in offsets:
        base = int(path.stem)
        expected, _ = expected_entries(batches_of[base], closed=stopped or base != last)
        equal(entries(found_offsets[path], INDEX_ENTRY, path), expected, f"entries of {path.name}")
    for path in times:
        base = int(path.stem)
        _, expected = expected_entries(batches_of[base], closed=stopped or base != last)
        equal(entries(found_times[path], TIME_ENTRY, path), expected, f"entries of {path.name}")


def entries(lines, pattern, path):
    matches = [pattern.fullmatch(line) for line in lines if line != f"{path} is empty."]
    assert all(matches), f"entries of {path.name}: {lines}"
    return [(int(match[1]), int(match[2])) for match in matches]


def expected_entries(batches, closed):
    """By LogSegment.append: before a batch, once more than the interval has been written since the last entry."""
    offsets, times, since, newest = [], [], 0, (-1, -1)
    for batch in batches:
        if batch["time"] > newest[0]:
            newest = (batch["time"], batch["last"])
        if since > INDEX_INTERVAL_BYTES:
            offsets.append((batch["last"], batch["position"]))
            if not times or newest[0] > times[-1][0]:
                times.append(newest)
            since = 0
        since += batch["size"]
    if closed and (not times or newest[0] > times[-1][0]):
        times.append(newest)
    return offsets, times


def check_sanity(tools):
    for path, lines in dump(tools, [*paths(tools, ".index"), *paths(tools, ".timeindex")], "--index-sanity-check").items():
        assert lines in ([f"{path} passed sanity check."], [f"{path} is empty."]), f"{path.name}: {lines}"


def check_producers(tools, stopped):
    """Where a segment begins, and where the log ended cleanly, what is known of the producers is what the batches tell."""
    batches_of = segments(tools)
    snapshots = paths(tools, ".snapshot")
    end = [RECORDS_EACH * len(CODECS)] if stopped else []
    # Kafka keeps those of the last few segments.
    due = sorted(batches_of)[-2:] + end
    found = [int(path.stem) for path in snapshots]
    assert set(due) <= set(found) <= set(batches_of) | set(end), f"snapshots at {found}, segments at {sorted(batches_of)}"
    for path, lines in dump(tools, snapshots).items():
        known = {}
        for line in lines:
            match = PRODUCER.fullmatch(line)
            assert match, f"not a producer: {line}"
            entry = {key: int(value) for key, value in match.groupdict().items()}
            equal(entry["delta"], entry["last_sequence"] - entry["base_sequence"], "offset delta")
            # Several batches of a producer: the last one is what Kafka remembers.
            known[entry["producer"]] = entry
        expected = {}
        for batch in (batch for batches in batches_of.values() for batch in batches if batch["last"] < int(path.stem)):
            expected[batch["producer"]] = batch
        for producer, batch in expected.items():
            for field in ("epoch", "time", "base_sequence", "last_sequence", "last"):
                equal(known[producer][field], batch[field], f"{field} of producer {producer} in {path.name}")
        equal(set(known), set(expected), f"producers in {path.name}")


def check_names(tools):
    """A clean stop leaves, besides the segments, what Kafka needs to start from these files."""
    folder = tools.broker.partition_folder(TOPIC)
    metadata = (folder / "partition.metadata").read_text()
    assert re.fullmatch(r"version: 0\ntopic_id: [A-Za-z0-9_-]{22}\n?", metadata), f"partition.metadata: {metadata!r}"
    equal((folder / "leader-epoch-checkpoint").read_text().split(), ["0", "1", "0", "0"], "leader-epoch-checkpoint")
    known = re.compile(r"\d{20}\.(log|index|timeindex|snapshot)|partition\.metadata|leader-epoch-checkpoint")
    equal([path.name for path in folder.iterdir() if not known.fullmatch(path.name)], [], "other files")


def check_restart(tools):
    tools.broker.start()
    equal(tools.offsets(TOPIC), {0: RECORDS_EACH * len(CODECS)}, "end of the log")
    lines = tools.on_broker("consumer.ConsoleConsumer", "--topic", TOPIC, "--partition", 0, "--offset", "earliest",
                            "--max-messages", RECORDS_EACH * len(CODECS), "--timeout-ms", 30_000)
    equal({len(line) for line in lines}, {RECORD_BYTES}, "lengths of the lines read")
    equal(len(lines), RECORDS_EACH * len(CODECS), "lines read")
