package highwater.suite;

import static highwater.suite.Records.bytes;
import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;
import static highwater.suite.Tests.refused;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.errors.InvalidTimestampException;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.Utils;

/** Acknowledgements, idempotence, compression, partitioning and time. */
final class ProduceTests {
    private final Cluster cluster;

    ProduceTests(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Tests tests) {
        for (String acks : List.of("0", "1", "all")) tests.add("produce-acks-" + acks, () -> acks(acks));
        tests.add("produce-idempotent-by-default", this::idempotent);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            tests.add("produce-compression-" + codec, () -> compression(codec));
            tests.add("produce-topic-compression-" + codec, () -> topicCompression(codec));
        }
        tests.add("produce-one-request-at-a-time", this::oneAtATime);
        tests.add("produce-keys-choose-partitions", this::partitioner);
        tests.add("produce-from-many-threads", this::manyThreads);
        tests.add("produce-own-timestamps", this::ownTimestamps);
        tests.add("produce-log-append-time", this::logAppendTime);
        tests.add("produce-time-too-far-ahead", this::tooFarAhead);
    }

    private void acks(String acks) throws Exception {
        String topic = cluster.topic("acks");
        var records = Records.mixed(topic, 300);
        List<RecordMetadata> told;
        try (var producer = cluster.producer("acks", acks, "enable.idempotence", false, "linger.ms", 5)) {
            told = cluster.send(producer, records);
        }
        for (var each : told) equal(each.hasOffset(), !acks.equals("0"), "an offset is known");
        Records.checkSame(cluster.read(topic, 0, 0, 300), records, told);
    }

    private void idempotent() throws Exception {
        String topic = cluster.topic("idempotent");
        var records = Records.mixed(topic, 500);
        try (var producer = cluster.producer("batch.size", 600)) {
            Records.checkSame(cluster.read(topic, 0, 0, 0), List.of(), List.of());
            var told = cluster.send(producer, records);
            Records.checkSame(cluster.read(topic, 0, 0, 500), records, told);
            equal(told.get(499).offset(), 499L, "last offset");
        }
    }

    private void compression(String codec) throws Exception {
        String topic = cluster.topic("codec-" + codec);
        var records = Records.mixed(topic, 1000);
        try (var producer = cluster.producer("compression.type", codec, "linger.ms", 20, "batch.size", 60_000)) {
            var told = cluster.send(producer, records);
            Records.checkSame(cluster.read(topic, 0, 0, 1000), records, told);
            // From the middle of a batch: records before the offset asked for are not handed out.
            Records.checkSame(cluster.read(topic, 0, 777, 223), records.subList(777, 1000), told.subList(777, 1000));
        }
    }

    /** The topic's codec differs from the producer's, so the broker compresses again (or opens and stores plain). */
    private void topicCompression(String codec) throws Exception {
        String topic = cluster.topic("topic-codec-" + codec, 1, Map.of("compression.type", codec.equals("none") ? "uncompressed" : codec));
        var records = Records.mixed(topic, 300);
        try (var producer = cluster.producer("compression.type", codec.equals("gzip") ? "lz4" : "gzip", "linger.ms", 20)) {
            var told = cluster.send(producer, records);
            Records.checkSame(cluster.read(topic, 0, 0, 300), records, told);
        }
    }

    private void oneAtATime() throws Exception {
        String topic = cluster.topic("in-flight-one");
        try (var producer = cluster.producer("max.in.flight.requests.per.connection", 1)) {
            for (int i = 0; i < 50; i++) {
                equal(producer.send(new ProducerRecord<>(topic, bytes("n" + i))).get().offset(), (long) i, "offset");
            }
        }
    }

    private void partitioner() throws Exception {
        int partitions = 7;
        String topic = cluster.topic("keys", partitions, Map.of());
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 700; i++) records.add(new ProducerRecord<>(topic, bytes("key " + i % 90), bytes("value " + i)));
        Map<Integer, List<ProducerRecord<byte[], byte[]>>> expected = new HashMap<>();
        try (var producer = cluster.producer()) {
            var told = cluster.send(producer, records);
            for (int i = 0; i < records.size(); i++) {
                int chosen = Utils.toPositive(Utils.murmur2(records.get(i).key())) % partitions;
                equal(told.get(i).partition(), chosen, "partition of record " + i);
                expected.computeIfAbsent(chosen, none -> new ArrayList<>()).add(records.get(i));
            }
        }
        for (var entry : expected.entrySet()) {
            var read = cluster.read(topic, entry.getKey(), 0, entry.getValue().size());
            equal(read.size(), entry.getValue().size(), "records in partition " + entry.getKey());
            for (int i = 0; i < read.size(); i++) Records.checkSame(read.get(i), entry.getValue().get(i), "record " + i);
        }
    }

    private void manyThreads() throws Exception {
        String topic = cluster.topic("threads");
        int threads = 4;
        int each = 2_000;
        List<Thread> running = new ArrayList<>();
        List<Throwable> failures = java.util.Collections.synchronizedList(new ArrayList<>());
        for (int t = 0; t < threads; t++) {
            byte[] key = {(byte) t};
            Thread thread = new Thread(() -> {
                try (var producer = cluster.producer("linger.ms", 1)) {
                    List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
                    for (int i = 0; i < each; i++) records.add(new ProducerRecord<>(topic, key, bytes("" + i)));
                    cluster.send(producer, records);
                } catch (Throwable failure) {
                    failures.add(failure);
                }
            });
            thread.start();
            running.add(thread);
        }
        for (Thread thread : running) thread.join();
        check(failures.isEmpty(), "a producer failed: " + failures);
        int[] next = new int[threads];
        for (ConsumerRecord<byte[], byte[]> record : cluster.read(topic, 0, 0, threads * each)) {
            int from = record.key()[0];
            equal(new String(record.value()), "" + next[from]++, "order within producer " + from);
        }
    }

    private void ownTimestamps() throws Exception {
        String topic = cluster.topic("own-time");
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        // Backwards, and with the epoch itself: a batch's time deltas are negative then.
        for (long time : new long[] {1_700_000_000_000L, 1_600_000_000_000L, 0L, 1_650_000_000_000L}) {
            records.add(new ProducerRecord<>(topic, 0, time, null, bytes("at " + time)));
        }
        try (var producer = cluster.producer("linger.ms", 50)) {
            var told = cluster.send(producer, records);
            var read = cluster.read(topic, 0, 0, 4);
            Records.checkSame(read, records, told);
            for (var record : read) equal(record.timestampType(), TimestampType.CREATE_TIME, "timestamp type");
        }
    }

    private void logAppendTime() throws Exception {
        for (String codec : List.of("none", "zstd")) {
            String topic = cluster.topic("append-time", 1, Map.of("message.timestamp.type", "LogAppendTime"));
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int i = 0; i < 20; i++) records.add(new ProducerRecord<>(topic, 0, 1_000L + i, null, bytes("value " + i)));
            long before = System.currentTimeMillis();
            try (var producer = cluster.producer("linger.ms", 50, "compression.type", codec)) {
                var told = cluster.send(producer, records);
                long after = System.currentTimeMillis();
                var read = cluster.read(topic, 0, 0, 20);
                for (int i = 0; i < 20; i++) {
                    equal(read.get(i).timestampType(), TimestampType.LOG_APPEND_TIME, "timestamp type");
                    equal(read.get(i).timestamp(), told.get(i).timestamp(), "time told and time read");
                    check(read.get(i).timestamp() >= before && read.get(i).timestamp() <= after, "not the time of the append");
                }
            }
        }
    }

    private void tooFarAhead() throws Exception {
        String topic = cluster.topic("future");
        long now = System.currentTimeMillis();
        try (var producer = cluster.producer()) {
            refused(InvalidTimestampException.class,
                    () -> producer.send(new ProducerRecord<>(topic, 0, now + 7_200_000, null, bytes("in two hours"))).get());
            var told = producer.send(new ProducerRecord<>(topic, 0, now + 1_800_000, null, bytes("in half an hour"))).get();
            equal(told.offset(), 0L, "offset of the first record accepted");
        }
    }
}
