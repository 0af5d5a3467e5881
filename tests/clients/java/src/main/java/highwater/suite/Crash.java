package highwater.suite;

import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/**
 * Produces while somebody else kills the broker and starts it again: idempotent producers with nothing but their own retries.
 * Then reads everything and holds it against what was acknowledged. Arguments: bootstrap address, seed.
 *
 * <p>Standard input: {@code after N} is answered with {@code now} when N more records have been acknowledged; {@code end} stops the
 * producers, waits for every acknowledgement, and is answered with {@code read} and what was found, or {@code FAILED} and why.
 */
public final class Crash {
    private static final int PARTITIONS = 3;
    private static final int UNACKNOWLEDGED = 2_000;
    private static final int LONGEST_VALUE = 1_500;
    /** Longer than all restarts together. */
    private static final int DELIVERY_LIMIT_MS = 600_000;

    private final Cluster cluster;
    private final String topic;
    private final List<Source> sources = new ArrayList<>();
    private final AtomicReference<Exception> failure = new AtomicReference<>();
    private volatile boolean ending;
    private long acknowledged;
    private long due = Long.MAX_VALUE;

    private Crash(Cluster cluster, long seed) throws Exception {
        this.cluster = cluster;
        // Kafka takes no smaller segments; their indexes fill sooner.
        var small = Map.of("segment.index.bytes", "240", "index.interval.bytes", "1000");
        this.topic = cluster.topic("crash", PARTITIONS, small);
        String[] codecs = {"none", "lz4", "zstd"};
        for (int number = 0; number < codecs.length; number++) sources.add(new Source(number, codecs[number], new Random(seed + number)));
    }

    public static void main(String[] arguments) throws Exception {
        try (Cluster cluster = new Cluster(arguments[0])) {
            System.out.println(new Crash(cluster, Long.parseLong(arguments[1])).run());
        }
        System.exit(0);
    }

    private String run() throws Exception {
        for (Source each : sources) each.thread.start();
        var commands = new BufferedReader(new InputStreamReader(System.in));
        while (true) {
            String[] words = commands.readLine().split(" ");
            if (words[0].equals("end")) break;
            tellAfter(Long.parseLong(words[1]));
        }
        ending = true;
        for (Source each : sources) each.thread.join();
        try {
            if (failure.get() != null) throw failure.get();
            return "read " + judge();
        } catch (Exception | AssertionError wrong) {
            return "FAILED " + wrong.toString().replace('\n', ' ');
        }
    }

    private synchronized void tellAfter(long count) {
        due = acknowledged + count;
    }

    private synchronized void acknowledged() {
        acknowledged++;
        if (acknowledged == due) {
            System.out.println("now");
            System.out.flush();
        }
    }

    /** One producer: what it sent to each partition in its order, and where it was told each record lies. */
    private final class Source {
        final int number;
        final Random random;
        final Thread thread;
        final KafkaProducer<byte[], byte[]> producer;
        final Semaphore room = new Semaphore(UNACKNOWLEDGED);
        final List<Map<Integer, Long>> offsets = new ArrayList<>();
        final int[] sent = new int[PARTITIONS];

        Source(int number, String codec, Random random) {
            this.number = number;
            this.random = random;
            this.thread = new Thread(this::send, "source-" + number);
            this.producer = cluster.producer("compression.type", codec, "delivery.timeout.ms", DELIVERY_LIMIT_MS, "max.block.ms", DELIVERY_LIMIT_MS,
                    "linger.ms", number, "batch.size", 4_000, "reconnect.backoff.ms", 5, "reconnect.backoff.max.ms", 50,
                    "retry.backoff.ms", 5, "retry.backoff.max.ms", 50, "metadata.recovery.strategy", "none");
            for (int partition = 0; partition < PARTITIONS; partition++) offsets.add(new HashMap<>());
        }

        void send() {
            try (producer) {
                while (!ending && failure.get() == null) {
                    room.acquire();
                    int partition = random.nextInt(PARTITIONS);
                    int place = sent[partition]++;
                    byte[] value = ByteBuffer.allocate(8 + random.nextInt(LONGEST_VALUE)).putInt(number).putInt(place).array();
                    producer.send(new ProducerRecord<>(topic, partition, null, value), (told, error) -> told(partition, place, told, error));
                }
            } catch (Exception error) {
                failure.compareAndSet(null, error);
            }
        }

        void told(int partition, int place, RecordMetadata told, Exception error) {
            room.release();
            if (error != null) {
                failure.compareAndSet(null, error);
                return;
            }
            synchronized (offsets) {
                offsets.get(partition).put(place, told.offset());
            }
            acknowledged();
        }
    }

    /** Every record once, at the offset it was acknowledged with, each producer's in its order. */
    private String judge() throws Exception {
        long total = 0;
        for (int partition = 0; partition < PARTITIONS; partition++) {
            int count = 0;
            for (Source each : sources) count += each.sent[partition];
            var at = new TopicPartition(topic, partition);
            equal(cluster.admin.listOffsets(Map.of(at, OffsetSpec.latest())).partitionResult(at).get().offset(), (long) count, "end of " + at);
            int[] next = new int[sources.size()];
            var records = cluster.read(topic, partition, 0, count);
            equal(records.size(), count, "records in partition " + partition);
            for (var record : records) {
                var value = ByteBuffer.wrap(record.value());
                int number = value.getInt();
                int place = value.getInt();
                String which = "record " + place + " of producer " + number + " in partition " + partition;
                equal(place, next[number]++, which + ", in order");
                equal(record.offset(), sources.get(number).offsets.get(partition).get(place), which + ", its offset");
            }
            total += count;
        }
        equal(total, acknowledged, "records acknowledged");
        check(total > 0, "nothing was sent");
        return total + " records";
    }
}
