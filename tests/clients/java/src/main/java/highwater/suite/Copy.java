package highwater.suite;

import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/**
 * Two members of a group copy a topic in transactions, offsets and all, one in ten of which they abort, while somebody else kills the
 * broker and starts it again. The copy must be the original. Arguments: bootstrap address, seed.
 *
 * <p>Standard input: {@code after N} is answered with {@code now} when N more records have been copied; {@code end} stops the source,
 * waits until everything is copied, and is answered with {@code read} and what was found, or {@code FAILED} and why.
 */
public final class Copy {
    private static final int PARTITIONS = 3;
    private static final int COPIERS = 2;
    private static final int UNACKNOWLEDGED = 200;
    /** Longer than all restarts together. */
    private static final int PATIENCE_MS = 600_000;
    private static final Duration END_LIMIT = Duration.ofSeconds(90);
    private static final Object[] QUICK = {"reconnect.backoff.ms", 5, "reconnect.backoff.max.ms", 50, "retry.backoff.ms", 5, "retry.backoff.max.ms", 50,
            "metadata.recovery.strategy", "none"};

    private final TransactionalCluster side;
    private final String from;
    private final String to;
    private final AtomicReference<Exception> failure = new AtomicReference<>();
    private final List<Thread> threads = new ArrayList<>();
    private final long[] sent = new long[PARTITIONS];
    private final AtomicLong begunAnew = new AtomicLong();
    private volatile boolean ending;
    private volatile boolean copied;
    private long committed;
    private long due = Long.MAX_VALUE;

    private Copy(Cluster cluster, long seed) throws Exception {
        side = new TransactionalCluster(cluster);
        from = side.topic("copied", PARTITIONS);
        to = side.topic("copy", PARTITIONS);
        thread(this::write);
        for (int number = 0; number < COPIERS; number++) {
            Copier copier = new Copier("copier-" + number, new Random(seed + number));
            thread(copier::run);
        }
    }

    public static void main(String[] arguments) throws Exception {
        try (Cluster cluster = new Cluster(arguments[0])) {
            System.out.println(new Copy(cluster, Long.parseLong(arguments[1])).run());
        }
        System.exit(0);
    }

    private void thread(Tests.Body body) {
        Thread thread = new Thread(() -> {
            try {
                body.run();
            } catch (Exception error) {
                failure.compareAndSet(null, error);
            }
        });
        threads.add(thread);
        thread.start();
    }

    private String run() throws Exception {
        var commands = new BufferedReader(new InputStreamReader(System.in));
        while (true) {
            String[] words = commands.readLine().split(" ");
            if (words[0].equals("end")) break;
            tellAfter(Long.parseLong(words[1]));
        }
        ending = true;
        try {
            threads.get(0).join();
            awaitCopy();
            copied = true;
            for (Thread each : threads) each.join();
            if (failure.get() != null) throw failure.get();
            return "read " + judge();
        } catch (Exception | AssertionError wrong) {
            return "FAILED " + wrong.toString().replace('\n', ' ');
        }
    }

    private synchronized void tellAfter(long count) {
        due = committed + count;
    }

    private synchronized void committed(int count) {
        committed += count;
        if (committed >= due) {
            due = Long.MAX_VALUE;
            System.out.println("now");
            System.out.flush();
        }
    }

    /** Record n of each partition is n. */
    private void write() throws Exception {
        var room = new Semaphore(UNACKNOWLEDGED);
        Object[] settings = with(QUICK, "delivery.timeout.ms", PATIENCE_MS, "max.block.ms", PATIENCE_MS, "linger.ms", 1);
        try (var producer = side.cluster.producer(settings)) {
            for (long at = 0; !ending && failure.get() == null; at++) {
                room.acquire();
                int partition = (int) (at % PARTITIONS);
                producer.send(new ProducerRecord<>(from, partition, null, Records.bytes(String.valueOf(sent[partition]++))), (told, error) -> {
                    room.release();
                    if (error != null) failure.compareAndSet(null, error);
                });
                if (at % 50 == 0) Thread.sleep(10);
            }
        }
    }

    private static Object[] with(Object[] settings, Object... more) {
        List<Object> all = new ArrayList<>(List.of(settings));
        all.addAll(List.of(more));
        return all.toArray();
    }

    private final class Copier {
        private final String id;
        private final Random random;
        private KafkaProducer<byte[], byte[]> producer;

        Copier(String id, Random random) {
            this.id = from + "-" + id;
            this.random = random;
        }

        void run() {
            Object[] settings = with(QUICK, "group.id", from, "auto.offset.reset", "earliest", "max.poll.records", 40, "fetch.max.wait.ms", 50,
                    "session.timeout.ms", 6_000, "heartbeat.interval.ms", 500, "default.api.timeout.ms", PATIENCE_MS);
            begin();
            try (var consumer = side.reader(TransactionalCluster.COMMITTED, settings)) {
                consumer.subscribe(List.of(from));
                while (!copied && failure.get() == null) {
                    var records = consumer.poll(Duration.ofMillis(50));
                    if (!records.isEmpty() && !copy(consumer, records)) rewind(consumer);
                }
            }
            producer.close(Duration.ZERO);
        }

        private void begin() {
            producer = side.producerOf(id, with(QUICK, "transaction.timeout.ms", 10_000, "delivery.timeout.ms", PATIENCE_MS, "max.block.ms", PATIENCE_MS));
            producer.initTransactions();
        }

        /** Whether it was committed. */
        private boolean copy(KafkaConsumer<byte[], byte[]> consumer, ConsumerRecords<byte[], byte[]> records) {
            try {
                producer.beginTransaction();
                for (var record : records) producer.send(new ProducerRecord<>(to, record.partition(), null, record.value()));
                producer.sendOffsetsToTransaction(records.nextOffsets(), consumer.groupMetadata());
                if (random.nextInt(10) == 0) {
                    producer.abortTransaction();
                    return false;
                }
                producer.commitTransaction();
                committed(records.count());
                return true;
            } catch (KafkaException refused) {
                abort();
                return false;
            }
        }

        /** What cannot be aborted is left to whoever begins next with the same id. */
        private void abort() {
            try {
                producer.abortTransaction();
            } catch (KafkaException fatal) {
                begunAnew.incrementAndGet();
                producer.close(Duration.ZERO);
                begin();
            }
        }

        /** Back to where the group is. */
        private void rewind(KafkaConsumer<byte[], byte[]> consumer) {
            var places = consumer.committed(consumer.assignment());
            for (TopicPartition at : consumer.assignment()) {
                OffsetAndMetadata place = places.get(at);
                if (place == null) consumer.seekToBeginning(List.of(at));
                else consumer.seek(at, place);
            }
        }
    }

    // ---- what came of it

    private void awaitCopy() throws Exception {
        Map<TopicPartition, Long> ends = new HashMap<>();
        for (int partition = 0; partition < PARTITIONS; partition++) ends.put(new TopicPartition(from, partition), sent[partition]);
        long deadline = System.nanoTime() + END_LIMIT.toNanos();
        Map<TopicPartition, Long> places = new HashMap<>();
        while (!places.equals(ends)) {
            if (failure.get() != null) throw failure.get();
            check(System.nanoTime() < deadline, "copied up to " + places + ", the ends are " + ends);
            Thread.sleep(50);
            places.clear();
            side.cluster.admin.listConsumerGroupOffsets(from).partitionsToOffsetAndMetadata().get().forEach((at, place) -> places.put(at, place.offset()));
        }
    }

    private String judge() {
        long total = 0;
        for (var partition : side.read(to, TransactionalCluster.COMMITTED).entrySet()) {
            List<String> expected = new ArrayList<>();
            for (long n = 0; n < sent[partition.getKey()]; n++) expected.add(String.valueOf(n));
            List<String> found = partition.getValue();
            int same = 0;
            while (same < Math.min(found.size(), expected.size()) && found.get(same).equals(expected.get(same))) same++;
            int until = Math.min(same + 5, found.size());
            check(found.equals(expected), "partition " + partition.getKey() + ": " + found.size() + " records of " + expected.size() + ", from " + same + " on "
                    + found.subList(same, until));
            total += found.size();
        }
        equal(total > 0, true, "something was copied");
        return total + " records, " + begunAnew + " producers begun anew";
    }
}
