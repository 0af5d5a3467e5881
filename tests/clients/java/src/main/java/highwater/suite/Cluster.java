package highwater.suite;

import static highwater.suite.Tests.check;
import static highwater.suite.Tests.eventually;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The broker under test as the tests see it: clients on it, topics, and reading back what was written. */
final class Cluster implements AutoCloseable {
    private static final Duration READ_LIMIT = Duration.ofSeconds(30);

    final String bootstrap;
    final Admin admin;
    private int topics;

    Cluster(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    @Override
    public void close() {
        admin.close(Duration.ofSeconds(5));
    }

    /** A name no other test uses. */
    synchronized String freshName(String about) {
        return "java-" + about + "-" + topics++;
    }

    String topic(String about) throws Exception {
        return topic(about, 1, Map.of());
    }

    String topic(String about, int partitions, Map<String, String> settings) throws Exception {
        String name = freshName(about);
        admin.createTopics(List.of(new NewTopic(name, Optional.of(partitions), Optional.empty()).configs(settings))).all().get();
        eventually(() -> admin.describeTopics(List.of(name)).allTopicNames().get());
        return name;
    }

    KafkaProducer<byte[], byte[]> producer(Object... settings) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "delivery.timeout.ms", 40_000,
                "request.timeout.ms", 20_000, "linger.ms", 0));
        put(all, settings);
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    KafkaConsumer<byte[], byte[]> consumer(Object... settings) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", false,
                "auto.offset.reset", "none"));
        put(all, settings);
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static void put(Map<String, Object> all, Object... settings) {
        for (int at = 0; at < settings.length; at += 2) all.put((String) settings[at], settings[at + 1]);
    }

    /** Sends all, then waits for all: batches form as the producer likes. */
    List<RecordMetadata> send(KafkaProducer<byte[], byte[]> producer, Collection<ProducerRecord<byte[], byte[]>> records)
            throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (var record : records) sent.add(producer.send(record));
        producer.flush();
        List<RecordMetadata> metadata = new ArrayList<>();
        for (var each : sent) metadata.add(each.get());
        return metadata;
    }

    /** Reads exactly {@code count} records of one partition from {@code offset} on. */
    List<ConsumerRecord<byte[], byte[]>> read(String topic, int partition, long offset, int count, Object... settings) {
        try (var consumer = consumer(settings)) {
            TopicPartition at = new TopicPartition(topic, partition);
            consumer.assign(List.of(at));
            consumer.seek(at, offset);
            return poll(consumer, count);
        }
    }

    /** Polls until at least {@code count} records came. */
    static List<ConsumerRecord<byte[], byte[]>> poll(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.nanoTime() + READ_LIMIT.toNanos();
        while (records.size() < count) {
            check(System.nanoTime() < deadline, "read " + records.size() + " records of " + count + " within " + READ_LIMIT);
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
        }
        return records;
    }

    /** Nothing may be readable at the consumer's position: the log ends there. */
    static void checkAtEnd(KafkaConsumer<byte[], byte[]> consumer) {
        for (TopicPartition at : consumer.assignment()) {
            long end = consumer.endOffsets(List.of(at)).get(at);
            check(consumer.position(at) == end, at + " is read up to " + consumer.position(at) + ", its end is " + end);
        }
    }
}
