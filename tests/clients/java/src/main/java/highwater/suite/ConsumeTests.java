package highwater.suite;

import static highwater.suite.Records.bytes;
import static highwater.suite.Records.noise;
import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;
import static highwater.suite.Tests.refused;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Consumers with assigned partitions: positions, limits, waiting, isolation. */
final class ConsumeTests {
    private final Cluster cluster;

    ConsumeTests(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Tests tests) {
        tests.add("consume-seek-beginning-end-and-offset", this::seek);
        tests.add("consume-past-the-end-waits", this::pastTheEnd);
        tests.add("consume-out-of-range-resets", this::outOfRange);
        tests.add("consume-many-partitions", this::manyPartitions);
        tests.add("consume-pause-and-resume", this::pause);
        tests.add("consume-small-fetches", this::smallFetches);
        tests.add("consume-read-committed", this::readCommitted);
        tests.add("consume-while-producing", this::whileProducing);
        tests.add("consume-two-consumers-read-the-same", this::twoConsumers);
        tests.add("consume-changing-assignment", this::changingAssignment);
    }

    private String filled(String about, int count) throws Exception {
        String topic = cluster.topic(about);
        fill(topic, 0, count);
        return topic;
    }

    private void fill(String topic, int first, int count) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = first; i < first + count; i++) records.add(new ProducerRecord<>(topic, 0, null, bytes("n" + i)));
        try (var producer = cluster.producer("linger.ms", 5, "batch.size", 300)) {
            cluster.send(producer, records);
        }
    }

    private void seek() throws Exception {
        String topic = filled("seek", 200);
        TopicPartition at = new TopicPartition(topic, 0);
        try (var consumer = cluster.consumer()) {
            consumer.assign(List.of(at));
            consumer.seekToBeginning(List.of(at));
            equal(consumer.position(at), 0L, "position at the beginning");
            equal(Cluster.poll(consumer, 1).get(0).offset(), 0L, "first offset from the beginning");
            for (long offset : new long[] {150, 1, 199, 37, 0}) {
                consumer.seek(at, offset);
                var record = Cluster.poll(consumer, 1).get(0);
                equal(record.offset(), offset, "first offset after seek");
                equal(new String(record.value()), "n" + offset, "value after seek");
            }
            consumer.seekToEnd(List.of(at));
            equal(consumer.position(at), 200L, "position at the end");
            check(consumer.poll(Duration.ofMillis(100)).isEmpty(), "records beyond the end");
            fill(topic, 200, 1);
            equal(Cluster.poll(consumer, 1).get(0).offset(), 200L, "first record after the end");
            Cluster.checkAtEnd(consumer);
        }
    }

    private void pastTheEnd() throws Exception {
        String topic = filled("end", 10);
        TopicPartition at = new TopicPartition(topic, 0);
        try (var consumer = cluster.consumer("fetch.max.wait.ms", 20_000)) {
            consumer.assign(List.of(at));
            consumer.seek(at, 10);
            // The first poll leaves a fetch waiting at the broker, which the next append must complete.
            check(consumer.poll(Duration.ofMillis(300)).isEmpty(), "records beyond the end");
            fill(topic, 10, 1);
            equal(new String(Cluster.poll(consumer, 1).get(0).value()), "n10", "the record waited for");
        }
    }

    private void outOfRange() throws Exception {
        String topic = filled("range", 10);
        TopicPartition at = new TopicPartition(topic, 0);
        try (var consumer = cluster.consumer()) {
            consumer.assign(List.of(at));
            consumer.seek(at, 1_000);
            var error = refused(OffsetOutOfRangeException.class, () -> Cluster.poll(consumer, 1));
            equal(error.offsetOutOfRangePartitions(), Map.of(at, 1_000L), "partitions out of range");
        }
        try (var consumer = cluster.consumer("auto.offset.reset", "earliest")) {
            consumer.assign(List.of(at));
            consumer.seek(at, 1_000);
            equal(Cluster.poll(consumer, 10).get(0).offset(), 0L, "first offset after reset to earliest");
        }
        try (var consumer = cluster.consumer("auto.offset.reset", "latest")) {
            consumer.assign(List.of(at));
            consumer.seek(at, 1_000);
            while (consumer.position(at) != 10) check(consumer.poll(Duration.ofMillis(50)).isEmpty(), "records beyond the end");
        }
        try (var consumer = cluster.consumer()) {
            consumer.assign(List.of(at));
            refused(NoOffsetForPartitionException.class, () -> consumer.poll(Duration.ofSeconds(10)));
        }
        // Without a group there is no committed offset, so the policy decides where to begin.
        try (var consumer = cluster.consumer("auto.offset.reset", "earliest")) {
            consumer.assign(List.of(at));
            equal(Cluster.poll(consumer, 10).size(), 10, "records from the earliest");
        }
    }

    private void manyPartitions() throws Exception {
        int partitions = 12;
        String topic = cluster.topic("wide", partitions, Map.of());
        Map<Integer, Integer> sent = new HashMap<>();
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 1_000; i++) {
            int partition = i * i % partitions;
            records.add(new ProducerRecord<>(topic, partition, null, bytes("" + sent.merge(partition, 1, Integer::sum))));
        }
        try (var producer = cluster.producer("linger.ms", 5); var consumer = cluster.consumer()) {
            cluster.send(producer, records);
            List<TopicPartition> all = new ArrayList<>();
            for (int i = 0; i < partitions; i++) all.add(new TopicPartition(topic, i));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<Integer, Integer> read = new HashMap<>();
            for (var record : Cluster.poll(consumer, 1_000)) {
                int nth = read.merge(record.partition(), 1, Integer::sum);
                equal(new String(record.value()), "" + nth, "value in partition " + record.partition());
                equal(record.offset(), nth - 1L, "offset in partition " + record.partition());
            }
            equal(read, sent, "records of each partition");
            Cluster.checkAtEnd(consumer);
        }
    }

    private void pause() throws Exception {
        String topic = cluster.topic("pause", 2, Map.of());
        TopicPartition first = new TopicPartition(topic, 0);
        TopicPartition second = new TopicPartition(topic, 1);
        try (var producer = cluster.producer(); var consumer = cluster.consumer()) {
            consumer.assign(List.of(first, second));
            consumer.seekToBeginning(List.of(first, second));
            consumer.pause(List.of(first));
            cluster.send(producer, List.of(new ProducerRecord<>(topic, 0, null, bytes("paused")),
                    new ProducerRecord<>(topic, 1, null, bytes("running"))));
            equal(new String(Cluster.poll(consumer, 1).get(0).value()), "running", "the only record");
            consumer.resume(List.of(first));
            equal(new String(Cluster.poll(consumer, 1).get(0).value()), "paused", "the record resumed");
        }
    }

    /** Limits below one batch still make progress, batch by batch, and lose or repeat nothing. */
    private void smallFetches() throws Exception {
        String topic = cluster.topic("small", 3, Map.of());
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 90; i++) records.add(new ProducerRecord<>(topic, i % 3, null, noise(i, 3_000)));
        try (var producer = cluster.producer("linger.ms", 5, "batch.size", 10_000)) {
            cluster.send(producer, records);
        }
        try (var consumer = cluster.consumer("fetch.max.bytes", 5_000, "max.partition.fetch.bytes", 100, "max.poll.records", 7)) {
            List<TopicPartition> all = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1), new TopicPartition(topic, 2));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<Integer, Integer> next = new HashMap<>();
            for (var record : Cluster.poll(consumer, 90)) {
                int nth = next.merge(record.partition(), 1, Integer::sum) - 1;
                Records.checkSame(record, records.get(nth * 3 + record.partition()), "record " + nth);
            }
            Cluster.checkAtEnd(consumer);
        }
    }

    private void readCommitted() throws Exception {
        String topic = filled("committed", 100);
        var read = cluster.read(topic, 0, 0, 100, "isolation.level", "read_committed");
        for (int i = 0; i < 100; i++) equal(new String(read.get(i).value()), "n" + i, "value");
        TopicPartition at = new TopicPartition(topic, 0);
        try (var consumer = cluster.consumer("isolation.level", "read_committed")) {
            equal(consumer.endOffsets(List.of(at)).get(at), 100L, "end as read_committed sees it");
        }
    }

    private void whileProducing() throws Exception {
        String topic = cluster.topic("live");
        TopicPartition at = new TopicPartition(topic, 0);
        int count = 3_000;
        Thread writing = new Thread(() -> {
            try {
                fill(topic, 0, count);
            } catch (Exception unseen) {
                throw new IllegalStateException(unseen);
            }
        });
        try (var consumer = cluster.consumer()) {
            consumer.assign(List.of(at));
            consumer.seek(at, 0);
            writing.start();
            var read = Cluster.poll(consumer, count);
            for (int i = 0; i < count; i++) equal(new String(read.get(i).value()), "n" + i, "value");
        } finally {
            writing.join();
        }
    }

    private void twoConsumers() throws Exception {
        String topic = filled("two", 50);
        TopicPartition at = new TopicPartition(topic, 0);
        try (var one = cluster.consumer(); var other = cluster.consumer()) {
            for (var consumer : List.of(one, other)) {
                consumer.assign(List.of(at));
                consumer.seek(at, 0);
            }
            var first = Cluster.poll(one, 50);
            var second = Cluster.poll(other, 50);
            for (int i = 0; i < 50; i++) check(java.util.Arrays.equals(first.get(i).value(), second.get(i).value()), "record " + i + " differs");
        }
    }

    /** Partitions join and leave the assignment, so they join and leave the fetch session the client keeps with the broker. */
    private void changingAssignment() throws Exception {
        List<String> topics = List.of(filled("session-a", 20), filled("session-b", 20), filled("session-c", 20));
        try (var consumer = cluster.consumer("fetch.max.wait.ms", 100)) {
            for (int turn = 0; turn < 12; turn++) {
                TopicPartition at = new TopicPartition(topics.get(turn % 3), 0);
                TopicPartition next = new TopicPartition(topics.get((turn + 1) % 3), 0);
                List<TopicPartition> assigned = turn % 2 == 0 ? List.of(at) : List.of(at, next);
                consumer.assign(assigned);
                consumer.seekToBeginning(assigned);
                equal(Cluster.poll(consumer, 20 * assigned.size()).size(), 20 * assigned.size(), "records in turn " + turn);
            }
        }
    }
}
