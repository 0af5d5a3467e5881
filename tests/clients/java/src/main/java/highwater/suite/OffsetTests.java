package highwater.suite;

import static highwater.suite.Records.bytes;
import static highwater.suite.Tests.equal;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Offsets by position and by time, as consumers and administrators ask for them. */
final class OffsetTests {
    /** Record i of a topic made by {@link #timed} has the time START_MS + 1000 * i. */
    private static final long START_MS = 1_700_000_000_000L;

    private final Cluster cluster;

    OffsetTests(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Tests tests) {
        tests.add("offsets-beginning-and-end", this::beginningAndEnd);
        for (String codec : List.of("none", "lz4")) tests.add("offsets-by-time-" + codec, () -> byTime(codec));
        tests.add("offsets-by-time-over-several-segments", this::bySegments);
        tests.add("offsets-admin-list", this::adminList);
        tests.add("offsets-admin-max-timestamp", this::maxTimestamp);
        tests.add("offsets-admin-unknown-partition", this::unknownPartition);
    }

    private String timed(String about, int count, Object... settings) throws Exception {
        String topic = cluster.topic(about);
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < count; i++) records.add(new ProducerRecord<>(topic, 0, START_MS + 1000L * i, null, bytes("n" + i)));
        try (var producer = cluster.producer(settings)) {
            cluster.send(producer, records);
        }
        return topic;
    }

    private void beginningAndEnd() throws Exception {
        TopicPartition full = new TopicPartition(timed("ends", 42), 0);
        TopicPartition empty = new TopicPartition(cluster.topic("empty"), 0);
        try (var consumer = cluster.consumer()) {
            equal(consumer.beginningOffsets(List.of(full, empty)), Map.of(full, 0L, empty, 0L), "beginnings");
            equal(consumer.endOffsets(List.of(full, empty)), Map.of(full, 42L, empty, 0L), "ends");
        }
    }

    private void byTime(String codec) throws Exception {
        TopicPartition at = new TopicPartition(timed("by-time", 100, "linger.ms", 20, "batch.size", 500, "compression.type", codec), 0);
        try (var consumer = cluster.consumer()) {
            for (int i = 0; i < 100; i++) {
                expect(consumer.offsetsForTimes(Map.of(at, START_MS + 1000L * i)).get(at), i, "at the time of record " + i);
                expect(consumer.offsetsForTimes(Map.of(at, START_MS + 1000L * i - 1)).get(at), i, "just before record " + i);
            }
            expect(consumer.offsetsForTimes(Map.of(at, 0L)).get(at), 0, "long before");
            equal(consumer.offsetsForTimes(Map.of(at, START_MS + 99_001)).get(at), null, "after the last");
        }
    }

    private static void expect(OffsetAndTimestamp found, long index, String what) {
        equal(found == null ? null : found.offset(), index, "offset " + what);
        equal(found.timestamp(), START_MS + 1000L * index, "time " + what);
    }

    private void bySegments() throws Exception {
        String topic = cluster.topic("segments", 1, Map.of("segment.bytes", "1048576"));
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 400; i++) records.add(new ProducerRecord<>(topic, 0, START_MS + 1000L * i, null, Records.noise(i, 10_000)));
        try (var producer = cluster.producer("linger.ms", 5, "batch.size", 30_000)) {
            cluster.send(producer, records);
        }
        TopicPartition at = new TopicPartition(topic, 0);
        try (var consumer = cluster.consumer()) {
            for (int i = 0; i < 400; i += 7) expect(consumer.offsetsForTimes(Map.of(at, START_MS + 1000L * i)).get(at), i, "of record " + i);
            consumer.assign(List.of(at));
            for (long offset : new long[] {399, 0, 105, 104, 210, 315, 106}) {
                consumer.seek(at, offset);
                var record = Cluster.poll(consumer, 1).get(0);
                equal(record.offset(), offset, "first offset after seek");
                Records.checkSame(record, records.get((int) offset), "record " + offset);
            }
        }
    }

    private ListOffsetsResultInfo list(TopicPartition at, OffsetSpec spec) throws Exception {
        return cluster.admin.listOffsets(Map.of(at, spec)).partitionResult(at).get();
    }

    private void adminList() throws Exception {
        TopicPartition at = new TopicPartition(timed("admin", 30), 0);
        equal(list(at, OffsetSpec.earliest()).offset(), 0L, "earliest");
        equal(list(at, OffsetSpec.latest()).offset(), 30L, "latest");
        equal(list(at, OffsetSpec.latest()).timestamp(), -1L, "time of latest");
        var byTime = list(at, OffsetSpec.forTimestamp(START_MS + 5_500));
        equal(byTime.offset(), 6L, "by time");
        equal(byTime.timestamp(), START_MS + 6_000, "time found");
        equal(list(at, OffsetSpec.forTimestamp(START_MS + 40_000)).offset(), -1L, "by a time after the last");
        equal(list(at, OffsetSpec.earliestLocal()).offset(), 0L, "earliest local");
        equal(list(at, OffsetSpec.latestTiered()).offset(), -1L, "latest tiered");
        var committed = new ListOffsetsOptions(IsolationLevel.READ_COMMITTED);
        var result = cluster.admin.listOffsets(Map.of(at, OffsetSpec.latest()), committed);
        equal(result.partitionResult(at).get().offset(), 30L, "latest, read_committed");
    }

    private void maxTimestamp() throws Exception {
        String topic = cluster.topic("max-time");
        TopicPartition at = new TopicPartition(topic, 0);
        equal(list(at, OffsetSpec.maxTimestamp()).offset(), -1L, "in an empty partition");
        long[] times = {5_000, 9_000, 7_000, 9_000, 1_000};
        for (String codec : List.of("none", "gzip")) {
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (long time : times) records.add(new ProducerRecord<>(topic, 0, START_MS + time, null, bytes("x")));
            try (var producer = cluster.producer("linger.ms", 50, "compression.type", codec)) {
                cluster.send(producer, records);
            }
        }
        var found = list(at, OffsetSpec.maxTimestamp());
        equal(found.offset(), 1L, "offset of the first record with the largest time");
        equal(found.timestamp(), START_MS + 9_000, "the largest time");
    }

    private void unknownPartition() throws Exception {
        TopicPartition beyond = new TopicPartition(cluster.topic("one"), 7);
        var soon = new ListOffsetsOptions().timeoutMs(1_000);
        Map<TopicPartition, OffsetSpec> asked = new HashMap<>(Map.of(beyond, OffsetSpec.latest()));
        try {
            cluster.admin.listOffsets(asked, soon).all().get();
            throw new AssertionError("an offset of a partition that is not there");
        } catch (java.util.concurrent.ExecutionException refused) {
            // The client asks again until its own limit, as a partition may be about to appear.
            Throwable cause = refused.getCause();
            boolean expected = cause instanceof UnknownTopicOrPartitionException || cause instanceof org.apache.kafka.common.errors.TimeoutException;
            Tests.check(expected, "refused with " + cause);
        }
    }
}
