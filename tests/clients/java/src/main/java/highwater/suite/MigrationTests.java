package highwater.suite;

import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;
import static highwater.suite.Tests.eventually;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/** A group of three that changes its protocol one member after the other, and back, while records are written. */
final class MigrationTests {
    private static final int PARTITIONS = 6, MEMBERS = 3;

    private final Cluster cluster;
    private int groups;

    MigrationTests(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Tests tests) {
        tests.add("migration-rolls-over-and-back", () -> rolls(RangeAssignor.class, false, false));
        tests.add("migration-rolls-over-and-back-cooperatively", () -> rolls(CooperativeStickyAssignor.class, false, false));
        tests.add("migration-rolls-over-and-back-as-static-members", () -> rolls(RangeAssignor.class, true, false));
        tests.add("migration-rolls-over-members-that-fall-silent", () -> rolls(CooperativeStickyAssignor.class, false, true));
    }

    /** Polls, remembers, commits, until it is told to stop. */
    private final class Reader extends Thread {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final Set<String> read;
        private final AtomicBoolean stops = new AtomicBoolean();
        private final boolean vanishes;
        final AtomicReference<Throwable> failure = new AtomicReference<>();
        volatile int has;

        Reader(String protocol, String group, String topic, Class<?> assignor, String instance, Set<String> read, boolean vanishes) {
            this.read = read;
            this.vanishes = vanishes;
            List<Object> settings = new ArrayList<>(List.of("group.id", group, "auto.offset.reset", "earliest", "group.protocol", protocol));
            if (protocol.equals("classic")) {
                settings.addAll(List.of("session.timeout.ms", 6_000, "heartbeat.interval.ms", 100, "partition.assignment.strategy", assignor.getName()));
            }
            if (instance != null) settings.addAll(List.of("group.instance.id", instance));
            consumer = cluster.consumer(settings.toArray());
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    commit();
                }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}
            });
            setDaemon(true);
            start();
        }

        @Override
        public void run() {
            try {
                while (!stops.get()) {
                    for (var record : consumer.poll(Duration.ofMillis(50))) read.add(new String(record.value()));
                    has = consumer.assignment().size();
                    commit();
                }
                // One that vanishes says nothing, neither that it goes nor what it has read last.
                consumer.close(org.apache.kafka.clients.consumer.CloseOptions.timeout(Duration.ofSeconds(vanishes ? 0 : 10)));
            } catch (Throwable thrown) {
                failure.set(thrown);
            }
        }

        private void commit() {
            try {
                consumer.commitSync(Duration.ofSeconds(5));
            } catch (KafkaException tooLate) {
                // Somebody else has the partition now, and reads from the last commit on.
            }
        }

        void end() throws InterruptedException {
            stops.set(true);
            join(20_000);
            check(!isAlive(), "a member did not end");
            check(failure.get() == null, "a member failed: " + failure.get());
        }
    }

    private void rolls(Class<?> assignor, boolean isStatic, boolean vanish) throws Exception {
        String topic = cluster.topic("migration", PARTITIONS, Map.of()), group = "java-migration-" + groups++;
        Set<String> read = ConcurrentHashMap.newKeySet();
        AtomicInteger written = new AtomicInteger();
        AtomicBoolean writes = new AtomicBoolean(true);
        Thread writer = new Thread(() -> write(topic, written, writes));
        writer.start();
        Reader[] members = new Reader[MEMBERS];
        try {
            for (int i = 0; i < MEMBERS; i++) members[i] = reader("classic", group, topic, assignor, isStatic, i, read, vanish);
            awaitShared(members, group, "classic");
            for (String protocol : List.of("consumer", "classic")) {
                for (int i = 0; i < MEMBERS; i++) {
                    members[i].end();
                    members[i] = reader(protocol, group, topic, assignor, isStatic, i, read, vanish);
                    // While members of both are in it, it is one of the consumer protocol.
                    boolean isWhole = protocol.equals("classic") && i == MEMBERS - 1;
                    awaitShared(members, group, isWhole ? "classic" : "consumer");
                }
            }
            writes.set(false);
            writer.join();
            Set<String> all = new HashSet<>();
            for (int i = 0; i < written.get(); i++) all.add("n" + i);
            eventually(() -> {
                Set<String> missed = new HashSet<>(all);
                missed.removeAll(read);
                equal(missed, Set.of(), "missed of " + all.size());
                return null;
            });
        } finally {
            writes.set(false);
            for (Reader member : members) if (member != null) member.stops.set(true);
        }
        for (Reader member : members) member.end();
    }

    private Reader reader(String protocol, String group, String topic, Class<?> assignor, boolean isStatic, int number, Set<String> read,
            boolean vanish) {
        return new Reader(protocol, group, topic, assignor, isStatic ? "seat-" + number : null, read, vanish && number == 1);
    }

    /** Until everyone has its part, all of it is somebody's, and the group is of this kind. */
    private void awaitShared(Reader[] members, String group, String type) throws Exception {
        eventually(() -> {
            for (Reader member : members) check(member.failure.get() == null, "a member failed: " + member.failure.get());
            List<Integer> has = new ArrayList<>();
            for (Reader member : members) has.add(member.has);
            equal(has, List.of(2, 2, 2), "partitions of each");
            var described = cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            equal(described.type().toString().toLowerCase(Locale.ROOT), type, "type");
            equal(described.members().size(), MEMBERS, "members");
            return null;
        });
    }

    private void write(String topic, AtomicInteger written, AtomicBoolean writes) {
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer("linger.ms", 5)) {
            while (writes.get()) {
                for (int i = 0; i < 10; i++) {
                    int number = written.get();
                    producer.send(new ProducerRecord<>(topic, number % PARTITIONS, null, Records.bytes("n" + number)));
                    written.incrementAndGet();
                }
                producer.flush();
                Thread.sleep(5);
            }
        } catch (InterruptedException ended) {
            Thread.currentThread().interrupt();
        }
    }
}
