package highwater.suite;

import static highwater.suite.Tests.check;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/** Transactional producers on the broker under test, and what readers of either isolation see. */
final class TransactionalCluster {
    static final String COMMITTED = "read_committed";
    static final String UNCOMMITTED = "read_uncommitted";
    private static final long READ_LIMIT_NS = Duration.ofSeconds(30).toNanos();

    final Cluster cluster;

    TransactionalCluster(Cluster cluster) {
        this.cluster = cluster;
    }

    String topic(String about, int partitions) throws Exception {
        return cluster.topic(about, partitions, Map.of());
    }

    /** With an id nobody else has; not yet known to the coordinator. */
    KafkaProducer<byte[], byte[]> producer(Object... settings) {
        return producerOf(cluster.freshName("id"), settings);
    }

    KafkaProducer<byte[], byte[]> producerOf(String id, Object... settings) {
        Object[] all = new Object[settings.length + 4];
        all[0] = "transactional.id";
        all[1] = id;
        all[2] = "transaction.timeout.ms";
        all[3] = 30_000;
        System.arraycopy(settings, 0, all, 4, settings.length);
        return cluster.producer(all);
    }

    KafkaProducer<byte[], byte[]> ready(Object... settings) {
        var producer = producer(settings);
        producer.initTransactions();
        return producer;
    }

    static Future<RecordMetadata> send(KafkaProducer<byte[], byte[]> producer, String topic, int partition, String value) {
        return producer.send(new ProducerRecord<>(topic, partition, null, Records.bytes(value)));
    }

    /** In a transaction of its own. */
    static void committed(KafkaProducer<byte[], byte[]> producer, String topic, int partition, String... values) {
        producer.beginTransaction();
        for (String value : values) send(producer, topic, partition, value);
        producer.commitTransaction();
    }

    static void aborted(KafkaProducer<byte[], byte[]> producer, String topic, int partition, String... values) {
        producer.beginTransaction();
        for (String value : values) send(producer, topic, partition, value);
        // What nobody waits for may never be sent.
        producer.flush();
        producer.abortTransaction();
    }

    /** The values each partition shows from its beginning to its end, as a reader of that isolation sees it. */
    Map<Integer, List<String>> read(String topic, String isolation, Object... settings) {
        try (var consumer = reader(isolation, settings)) {
            List<TopicPartition> all = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(each -> all.add(new TopicPartition(topic, each.partition())));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            return toTheEnd(consumer, all);
        }
    }

    KafkaConsumer<byte[], byte[]> reader(String isolation, Object... settings) {
        Object[] more = new Object[settings.length + 2];
        more[0] = "isolation.level";
        more[1] = isolation;
        System.arraycopy(settings, 0, more, 2, settings.length);
        return cluster.consumer(more);
    }

    static Map<Integer, List<String>> toTheEnd(KafkaConsumer<byte[], byte[]> consumer, List<TopicPartition> all) {
        Map<Integer, List<String>> found = new TreeMap<>();
        all.forEach(at -> found.put(at.partition(), new ArrayList<>()));
        var ends = consumer.endOffsets(all);
        long deadline = System.nanoTime() + READ_LIMIT_NS;
        while (all.stream().anyMatch(at -> consumer.position(at) < ends.get(at))) {
            check(System.nanoTime() < deadline, "read " + found + ", the ends are " + ends);
            consumer.poll(Duration.ofMillis(200)).forEach(record -> found.get(record.partition()).add(new String(record.value())));
        }
        return found;
    }

    long end(String topic, String isolation) {
        try (var consumer = reader(isolation)) {
            TopicPartition at = new TopicPartition(topic, 0);
            return consumer.endOffsets(List.of(at)).get(at);
        }
    }
}
