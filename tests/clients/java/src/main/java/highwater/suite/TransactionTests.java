package highwater.suite;

import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;
import static highwater.suite.Tests.eventually;
import static highwater.suite.Tests.refused;
import static highwater.suite.TransactionalCluster.COMMITTED;
import static highwater.suite.TransactionalCluster.UNCOMMITTED;
import static highwater.suite.TransactionalCluster.aborted;
import static highwater.suite.TransactionalCluster.committed;
import static highwater.suite.TransactionalCluster.send;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TimeoutException;

/** What is written in a transaction is seen whole or not at all by readers of what is committed. */
final class TransactionTests {
    private static final int TRANSACTIONS = 40;

    private final TransactionalCluster side;
    private final String prefix;

    TransactionTests(Cluster cluster, String prefix) {
        this.side = new TransactionalCluster(cluster);
        this.prefix = prefix;
    }

    void addTo(Tests tests) {
        tests.add(prefix + "two-topics", this::twoTopics);
        tests.add(prefix + "abort", this::abort);
        tests.add(prefix + "nothing-written", this::nothingWritten);
        tests.add(prefix + "an-open-one-holds-readers-back", this::holdsBack);
        tests.add(prefix + "read-from-anywhere", this::fromAnywhere);
        tests.add(prefix + "many-producers-at-once", this::manyProducers);
        tests.add(prefix + "offsets-committed", this::offsetsCommitted);
        tests.add(prefix + "offsets-aborted", this::offsetsAborted);
        tests.add(prefix + "offsets-of-an-old-member", this::offsetsOfOldMember);
        tests.add(prefix + "a-record-too-large", this::recordTooLarge);
        tests.add(prefix + "timeout-too-long", this::timeoutTooLong);
    }

    private void twoTopics() throws Exception {
        String a = side.topic("txn-a", 2);
        String b = side.topic("txn-b", 2);
        var all = Map.of(0, List.of("0", "1", "2"), 1, List.of("0", "1", "2"));
        var none = Map.of(0, List.of(), 1, List.of());
        try (var producer = side.ready()) {
            producer.beginTransaction();
            for (String topic : List.of(a, b)) {
                for (int n = 0; n < 6; n++) send(producer, topic, n % 2, String.valueOf(n / 2));
            }
            producer.flush();
            for (String topic : List.of(a, b)) {
                equal(side.read(topic, COMMITTED), none, "committed before the end");
                equal(side.end(topic, COMMITTED), 0L, "the end of what is committed");
                equal(side.read(topic, UNCOMMITTED), all, "all that was written");
            }
            producer.commitTransaction();
        }
        for (String topic : List.of(a, b)) {
            // Once commitTransaction has returned the outcome stands; a reader of a partition whose marker comes later waits.
            eventually(() -> {
                equal(side.read(topic, COMMITTED), all, "committed");
                return null;
            });
            equal(side.read(topic, UNCOMMITTED), all, "all that was written, after the commit");
            equal(side.end(topic, COMMITTED), 4L, "three records and a marker");
        }
    }

    private void abort() throws Exception {
        String topic = side.topic("txn-abort", 1);
        try (var producer = side.ready(); var plain = side.cluster.producer()) {
            aborted(producer, topic, 0, "a", "b");
            committed(producer, topic, 0, "c");
            send(plain, topic, 0, "plain").get();
            aborted(producer, topic, 0, "d");
            aborted(producer, topic, 0, "e");
            committed(producer, topic, 0, "f", "g");
        }
        ended(topic);
        equal(side.read(topic, COMMITTED), Map.of(0, List.of("c", "plain", "f", "g")), "committed");
        equal(side.read(topic, UNCOMMITTED), Map.of(0, List.of("a", "b", "c", "plain", "d", "e", "f", "g")), "all");
    }

    /** Until no transaction is open in it. */
    private void ended(String topic) throws Exception {
        eventually(() -> {
            equal(side.end(topic, COMMITTED), side.end(topic, UNCOMMITTED), "the end of what is committed");
            return null;
        });
    }

    private void nothingWritten() throws Exception {
        String topic = side.topic("txn-nothing", 1);
        try (var producer = side.ready()) {
            for (int n = 0; n < 3; n++) {
                producer.beginTransaction();
                if (n == 1) producer.abortTransaction();
                else producer.commitTransaction();
            }
            committed(producer, topic, 0, "something");
        }
        ended(topic);
        equal(side.read(topic, COMMITTED), Map.of(0, List.of("something")), "committed");
    }

    private void holdsBack() throws Exception {
        String topic = side.topic("txn-open", 1);
        try (var first = side.ready(); var second = side.ready(); var plain = side.cluster.producer()) {
            send(plain, topic, 0, "before").get();
            first.beginTransaction();
            send(first, topic, 0, "first").get();
            committed(second, topic, 0, "second");
            send(plain, topic, 0, "plain").get();
            equal(side.end(topic, COMMITTED), 1L, "the end of what is committed, while the first is open");
            equal(side.read(topic, COMMITTED), Map.of(0, List.of("before")), "committed, while the first is open");
            first.abortTransaction();
            ended(topic);
            equal(side.read(topic, COMMITTED), Map.of(0, List.of("before", "second", "plain")), "committed");
            equal(side.read(topic, UNCOMMITTED), Map.of(0, List.of("before", "first", "second", "plain")), "all");
        }
    }

    /** Two producers take turns, one commits and the other aborts; a reader may begin at each offset. */
    private void fromAnywhere() throws Exception {
        String topic = side.cluster.topic("txn-anywhere", 1, Map.of("segment.index.bytes", "240", "index.interval.bytes", "200"));
        List<Long> offsets = new ArrayList<>();
        List<String> values = new ArrayList<>();
        try (var one = side.ready(); var other = side.ready()) {
            for (int n = 0; n < TRANSACTIONS; n++) {
                one.beginTransaction();
                other.beginTransaction();
                Future<?> last = null;
                List<Future<org.apache.kafka.clients.producer.RecordMetadata>> kept = new ArrayList<>();
                for (int record = 0; record < 3; record++) {
                    kept.add(send(one, topic, 0, n + "-" + record));
                    last = send(other, topic, 0, "no " + n + "-" + record);
                    last.get();
                }
                for (int record = 0; record < 3; record++) {
                    offsets.add(kept.get(record).get().offset());
                    values.add(n + "-" + record);
                }
                if (n % 2 == 0) one.commitTransaction();
                other.abortTransaction();
                if (n % 2 == 1) one.commitTransaction();
            }
        }
        ended(topic);
        TopicPartition at = new TopicPartition(topic, 0);
        // Small answers, so that a transaction is spread over several.
        try (var consumer = side.reader(COMMITTED, "max.partition.fetch.bytes", 700)) {
            consumer.assign(List.of(at));
            long end = side.end(topic, UNCOMMITTED);
            for (long from = 0; from < end; from += from < 20 ? 1 : 37) {
                consumer.seek(at, from);
                long start = from;
                int skipped = (int) offsets.stream().filter(offset -> offset < start).count();
                equal(TransactionalCluster.toTheEnd(consumer, List.of(at)).get(0), values.subList(skipped, values.size()), "committed from " + from + " on");
            }
        }
    }

    private void manyProducers() throws Exception {
        String topic = side.topic("txn-many", 3);
        int producers = 6;
        try (var pool = new Pool(producers)) {
            for (int number = 0; number < producers; number++) {
                int own = number;
                pool.run(() -> {
                    try (var producer = side.ready()) {
                        for (int n = 0; n < 10; n++) {
                            producer.beginTransaction();
                            for (int partition = 0; partition < 3; partition++) send(producer, topic, partition, own + "/" + n);
                            producer.flush();
                            if (n % 3 == 1) producer.abortTransaction();
                            else producer.commitTransaction();
                        }
                    }
                });
            }
        }
        eventually(() -> {
            equal(side.read(topic, COMMITTED).values().stream().mapToInt(List::size).sum(), producers * 7 * 3, "records committed");
            return null;
        });
        for (List<String> partition : side.read(topic, COMMITTED).values()) {
            for (int number = 0; number < producers; number++) {
                int own = number;
                List<String> expected = new ArrayList<>();
                for (int n = 0; n < 10; n++) if (n % 3 != 1) expected.add(own + "/" + n);
                equal(partition.stream().filter(value -> value.startsWith(own + "/")).toList(), expected, "of producer " + own);
            }
        }
    }

    /** Threads whose first failure comes out when it is closed. */
    private static final class Pool implements AutoCloseable {
        private final java.util.concurrent.ExecutorService threads;
        private final List<Future<?>> running = new ArrayList<>();

        Pool(int size) {
            threads = Executors.newFixedThreadPool(size);
        }

        void run(Tests.Body body) {
            running.add(threads.submit(() -> {
                body.run();
                return null;
            }));
        }

        @Override
        public void close() throws ExecutionException, InterruptedException {
            try {
                for (var each : running) each.get();
            } finally {
                threads.shutdownNow();
            }
        }
    }

    // ---- offsets

    private Map<TopicPartition, OffsetAndMetadata> places(String topic, long offset) {
        return Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(offset, "of a transaction"));
    }

    private Map<TopicPartition, OffsetAndMetadata> committedOffsets(String group) throws Exception {
        return side.cluster.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
    }

    /** A consumer waits for what is not decided, and an administrator who asks for what is decided is told nothing. */
    private void checkPending(String group, String topic) throws Exception {
        TopicPartition at = new TopicPartition(topic, 0);
        try (var consumer = side.reader(COMMITTED, "group.id", group)) {
            refused(TimeoutException.class, () -> consumer.committed(Set.of(at), Duration.ofMillis(300)));
        }
        var stable = new ListConsumerGroupOffsetsOptions().requireStable(true);
        equal(side.cluster.admin.listConsumerGroupOffsets(group, stable).partitionsToOffsetAndMetadata().get(), Map.of(), "decided");
    }

    private void offsetsCommitted() throws Exception {
        String topic = side.topic("txn-offsets", 1);
        String out = side.topic("txn-offsets-out", 1);
        String group = side.cluster.freshName("group");
        try (var producer = side.ready()) {
            producer.beginTransaction();
            send(producer, out, 0, "made of it");
            producer.sendOffsetsToTransaction(places(topic, 7), new ConsumerGroupMetadata(group));
            producer.flush();
            equal(committedOffsets(group), Map.of(), "before the end");
            checkPending(group, topic);
            producer.commitTransaction();
            eventually(() -> {
                equal(committedOffsets(group), places(topic, 7), "committed");
                return null;
            });
            // Offsets alone.
            producer.beginTransaction();
            producer.sendOffsetsToTransaction(places(topic, 9), new ConsumerGroupMetadata(group));
            producer.commitTransaction();
        }
        try (var consumer = side.reader(COMMITTED, "group.id", group)) {
            equal(consumer.committed(Set.of(new TopicPartition(topic, 0))), places(topic, 9), "committed");
        }
        equal(side.read(out, COMMITTED), Map.of(0, List.of("made of it")), "the output");
    }

    private void offsetsAborted() throws Exception {
        String topic = side.topic("txn-offsets-no", 1);
        String group = side.cluster.freshName("group");
        try (var producer = side.ready()) {
            producer.beginTransaction();
            producer.sendOffsetsToTransaction(places(topic, 3), new ConsumerGroupMetadata(group));
            producer.commitTransaction();
            producer.beginTransaction();
            producer.sendOffsetsToTransaction(places(topic, 8), new ConsumerGroupMetadata(group));
            checkPending(group, topic);
            equal(committedOffsets(group), places(topic, 3), "before the abort");
            producer.abortTransaction();
        }
        var stable = new ListConsumerGroupOffsetsOptions().requireStable(true);
        equal(side.cluster.admin.listConsumerGroupOffsets(group, stable).partitionsToOffsetAndMetadata().get(), places(topic, 3), "after the abort");
    }

    /** A member that has been replaced must not commit; what it did in the transaction is aborted, and the producer goes on. */
    private void offsetsOfOldMember() throws Exception {
        String topic = side.topic("txn-member", 1);
        String group = side.cluster.freshName("group");
        try (var plain = side.cluster.producer()) {
            send(plain, topic, 0, "in").get();
        }
        for (String protocol : List.of("classic", "consumer")) {
            String own = group + "-" + protocol;
            ConsumerGroupMetadata old;
            try (var consumer = side.cluster.consumer("group.id", own, "group.protocol", protocol, "auto.offset.reset", "earliest"); var producer = side.ready()) {
                consumer.subscribe(List.of(topic));
                Cluster.poll(consumer, 1);
                old = consumer.groupMetadata();
                producer.beginTransaction();
                producer.sendOffsetsToTransaction(places(topic, 1), old);
                producer.commitTransaction();
            }
            try (var producer = side.ready()) {
                producer.beginTransaction();
                send(producer, topic, 0, "never seen");
                refused(CommitFailedException.class, () -> producer.sendOffsetsToTransaction(places(topic, 5), old));
                producer.abortTransaction();
                committed(producer, topic, 0, "seen");
            }
            eventually(() -> {
                equal(committedOffsets(own), places(topic, 1), "the place of the " + protocol + " group");
                return null;
            });
        }
        ended(topic);
        equal(side.read(topic, COMMITTED), Map.of(0, List.of("in", "seen", "seen")), "committed");
    }

    // ---- what is refused

    private void recordTooLarge() throws Exception {
        String topic = side.cluster.topic("txn-large", 1, Map.of("max.message.bytes", "1000"));
        try (var producer = side.ready()) {
            producer.beginTransaction();
            send(producer, topic, 0, "small").get();
            var large = producer.send(new ProducerRecord<>(topic, 0, null, new byte[3_000]));
            refused(RecordTooLargeException.class, large::get);
            try {
                producer.commitTransaction();
                throw new AssertionError("committed without the record that was refused");
            } catch (KafkaException refused) {
                check(refused instanceof RecordTooLargeException || refused.getCause() instanceof RecordTooLargeException, "refused for another reason: " + refused);
            }
            producer.abortTransaction();
            committed(producer, topic, 0, "after it");
        }
        ended(topic);
        equal(side.read(topic, COMMITTED), Map.of(0, List.of("after it")), "committed");
    }

    private void timeoutTooLong() {
        try (var producer = side.producer("transaction.timeout.ms", 900_001)) {
            String why = refused(KafkaException.class, producer::initTransactions).getMessage();
            check(why.contains("larger than the maximum value allowed"), "refused for another reason: " + why);
            producer.close(Duration.ZERO);
        }
    }
}
