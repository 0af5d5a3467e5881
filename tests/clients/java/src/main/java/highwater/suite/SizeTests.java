package highwater.suite;

import static highwater.suite.Records.noise;
import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;
import static highwater.suite.Tests.refused;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;

/** Sizes from one byte to the largest batch a broker takes, and one byte more. */
final class SizeTests {
    /** The default of {@code message.max.bytes}: the bound on a whole batch, compressed, with its header. */
    private static final int MAX_BATCH_BYTES = 1_048_588;
    /**
     * What a batch of one record with null key and no headers adds to its value at this size: 61 bytes of batch header,
     * the record's length and its value's length (3 bytes each), and attributes, time delta, offset delta, key length
     * and header count (1 byte each).
     */
    private static final int OVERHEAD_BYTES = 61 + 3 + 3 + 5;
    private static final int LARGEST_VALUE_BYTES = MAX_BATCH_BYTES - OVERHEAD_BYTES;

    private final Cluster cluster;

    SizeTests(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Tests tests) {
        tests.add("size-one-byte-to-one-million", this::sizes);
        tests.add("size-largest-that-fits-and-one-byte-more", this::largest);
        tests.add("size-large-once-opened", this::compressible);
        tests.add("size-of-topic-settings", this::topicLimit);
        tests.add("size-batch-too-large-is-split", this::split);
    }

    private void sizes() throws Exception {
        String topic = cluster.topic("sizes");
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        // Around every place where a length takes one more byte, or a buffer is likely to end.
        int[] around = {1, 63, 64, 127, 128, 1_000, 4_096, 8_191, 8_192, 16_384, 32_768, 65_535, 65_536, 131_072, 500_000, 1_000_000};
        for (int size : around) {
            for (int by = -1; by <= 1; by++) records.add(new ProducerRecord<>(topic, 0, noise(size, 9), noise(by, size + by)));
        }
        try (var producer = cluster.producer("max.request.size", 2_000_000, "linger.ms", 10)) {
            var told = cluster.send(producer, records);
            Records.checkSame(cluster.read(topic, 0, 0, records.size()), records, told);
        }
    }

    private void largest() throws Exception {
        String topic = cluster.topic("largest");
        var fits = new ProducerRecord<byte[], byte[]>(topic, 0, null, noise(1, LARGEST_VALUE_BYTES));
        var over = new ProducerRecord<byte[], byte[]>(topic, 0, null, noise(2, LARGEST_VALUE_BYTES + 1));
        for (String acks : List.of("all", "1")) {
            try (var producer = cluster.producer("max.request.size", 4_000_000, "acks", acks, "enable.idempotence", acks.equals("all"))) {
                refused(RecordTooLargeException.class, () -> producer.send(over).get());
                var told = cluster.send(producer, List.of(fits));
                Records.checkSame(cluster.read(topic, 0, told.get(0).offset(), 1), List.of(fits), told);
            }
        }
        equal(cluster.read(topic, 0, 0, 2).size(), 2, "records in the log");
    }

    /** The limit is on the compressed batch, so a value far larger than it passes if it shrinks enough. */
    private void compressible() throws Exception {
        String topic = cluster.topic("compressible");
        for (String codec : List.of("gzip", "snappy", "lz4", "zstd")) {
            var record = new ProducerRecord<byte[], byte[]>(topic, 0, null, new byte[4_000_000]);
            try (var producer = cluster.producer("max.request.size", 5_000_000, "compression.type", codec)) {
                var told = cluster.send(producer, List.of(record));
                Records.checkSame(cluster.read(topic, 0, told.get(0).offset(), 1), List.of(record), told);
            }
        }
    }

    private void topicLimit() throws Exception {
        String topic = cluster.topic("small-limit", 1, Map.of("max.message.bytes", "1000"));
        try (var producer = cluster.producer()) {
            refused(RecordTooLargeException.class, () -> producer.send(new ProducerRecord<>(topic, noise(1, 1_000))).get());
            equal(producer.send(new ProducerRecord<>(topic, noise(1, 900))).get().offset(), 0L, "offset");
        }
        String large = cluster.topic("large-limit", 1, Map.of("max.message.bytes", "3000000"));
        var record = new ProducerRecord<byte[], byte[]>(large, 0, null, noise(3, 2_900_000));
        try (var producer = cluster.producer("max.request.size", 4_000_000)) {
            var told = cluster.send(producer, List.of(record));
            // Larger than a consumer asks for: the first batch is handed out whole all the same.
            var read = cluster.read(large, 0, 0, 1, "max.partition.fetch.bytes", 1_000, "fetch.max.bytes", 1_000);
            Records.checkSame(read, List.of(record), told);
        }
    }

    /**
     * A refused batch of several records is split by the client and sent again over the same sequence numbers. To make it
     * build one too large: let it learn that records compress well, then hand it noise.
     */
    private void split() throws Exception {
        String topic = cluster.topic("split", 1, Map.of("max.message.bytes", "100000"));
        try (var producer = cluster.producer("batch.size", 90_000, "linger.ms", 50, "compression.type", "gzip")) {
            List<ProducerRecord<byte[], byte[]>> zeros = new ArrayList<>();
            for (int i = 0; i < 1_000; i++) zeros.add(new ProducerRecord<>(topic, 0, null, new byte[10_000]));
            cluster.send(producer, zeros);
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int i = 0; i < 60; i++) records.add(new ProducerRecord<>(topic, 0, 1_700_000_000_000L + i, null, noise(i, 10_000)));
            var told = cluster.send(producer, records);
            Records.checkSame(cluster.read(topic, 0, 1_000, 60), records, told);
            double splits = producer.metrics().entrySet().stream().filter(e -> e.getKey().name().equals("batch-split-total"))
                    .mapToDouble(e -> (Double) e.getValue().metricValue()).sum();
            check(splits > 0, "the client had no batch to split, so this showed nothing");
        }
        try (var consumer = cluster.consumer()) {
            TopicPartition at = new TopicPartition(topic, 0);
            equal(consumer.endOffsets(List.of(at)).get(at), 1_060L, "end of the log");
        }
    }
}
