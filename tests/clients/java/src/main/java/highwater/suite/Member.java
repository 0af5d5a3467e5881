package highwater.suite;

import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A member of a group that tells what it does: reads, then commits. It leaves when it is told to end. Arguments: bootstrap address,
 * group, topic, {@code range}, {@code cooperative} or {@code consumer}. What it prints is described in suites/mixed/members.py.
 */
public final class Member implements ConsumerRebalanceListener {
    private static final int SESSION_MS = 3_000;
    private static final int HEARTBEAT_MS = 200;
    private static final int RECORDS_AT_ONCE = 50;

    private final KafkaConsumer<byte[], String> consumer;
    /** Places that were read to and are not committed, of the partitions it has. */
    private final Map<TopicPartition, OffsetAndMetadata> pending = new HashMap<>();
    private volatile boolean leaving;

    private Member(String bootstrap, String group, String strategy) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "group.id", group, "enable.auto.commit", false,
                "auto.offset.reset", "earliest", "max.poll.records", RECORDS_AT_ONCE, "fetch.max.wait.ms", 100, "client.id", "java"));
        if (strategy.equals("consumer")) {
            settings.put("group.protocol", "consumer");
        } else {
            Class<?> assignor = strategy.equals("range") ? RangeAssignor.class : CooperativeStickyAssignor.class;
            settings.putAll(Map.of("group.protocol", "classic", "session.timeout.ms", SESSION_MS, "heartbeat.interval.ms", HEARTBEAT_MS,
                    "partition.assignment.strategy", assignor.getName()));
        }
        consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new StringDeserializer());
    }

    public static void main(String[] arguments) throws Exception {
        Member member = new Member(arguments[0], arguments[1], arguments[3]);
        Thread reading = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            member.leaving = true;
            try {
                reading.join();
            } catch (InterruptedException ended) {
                Thread.currentThread().interrupt();
            }
        }));
        try {
            member.read(arguments[2]);
        } catch (Exception wrong) {
            tell("failed", wrong.toString().replace('\n', ' '));
        }
    }

    private void read(String topic) {
        try (consumer) {
            consumer.subscribe(List.of(topic), this);
            while (!leaving) {
                for (var record : consumer.poll(Duration.ofMillis(50))) {
                    tell("read", record.partition() + " " + record.offset() + " " + record.value());
                    pending.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                if (!pending.isEmpty()) commit();
            }
        }
        tell("left", "");
    }

    private void commit() {
        pending.forEach((at, place) -> tell("committing", at.partition() + " " + place.offset()));
        try {
            consumer.commitSync(pending);
            pending.forEach((at, place) -> tell("committed", at.partition() + " " + place.offset()));
            pending.clear();
        } catch (CommitFailedException | RebalanceInProgressException refused) {
            tell("refused", refused.getClass().getSimpleName());
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        tell("assigned", numbers(partitions));
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        tell("revoked", numbers(partitions));
        pending.keySet().removeAll(partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        tell("lost", numbers(partitions));
        pending.keySet().removeAll(partitions);
    }

    private static String numbers(Collection<TopicPartition> partitions) {
        return partitions.stream().map(at -> String.valueOf(at.partition())).collect(Collectors.joining(" "));
    }

    private static void tell(String event, String what) {
        System.out.println(event + " " + ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now()) + " " + what);
        System.out.flush();
    }
}
