package highwater.suite;

import static highwater.suite.Tests.equal;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Many records through one partition: none lost, none twice, none out of order. */
final class VolumeTests {
    private static final int COUNT = 200_000;

    private final Cluster cluster;

    VolumeTests(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Tests tests) {
        tests.add("volume-200k-records-in-order", () -> inOrder("none"));
        tests.add("volume-200k-records-in-order-lz4", () -> inOrder("lz4"));
    }

    private void inOrder(String codec) throws Exception {
        String topic = cluster.topic("volume");
        AtomicReference<Exception> failure = new AtomicReference<>();
        try (var producer = cluster.producer("linger.ms", 2, "compression.type", codec)) {
            for (int i = 0; i < COUNT; i++) {
                byte[] value = ByteBuffer.allocate(40).putInt(i).array();
                long expected = i;
                producer.send(new ProducerRecord<>(topic, value), (told, error) -> {
                    if (error == null && told.offset() != expected) error = new IllegalStateException("offset " + told.offset() + " for " + expected);
                    if (error != null) failure.compareAndSet(null, error);
                });
            }
        }
        if (failure.get() != null) throw failure.get();
        try (var consumer = cluster.consumer()) {
            TopicPartition at = new TopicPartition(topic, 0);
            consumer.assign(List.of(at));
            consumer.seekToBeginning(List.of(at));
            int next = 0;
            for (var record : Cluster.poll(consumer, COUNT)) {
                equal(ByteBuffer.wrap(record.value()).getInt(), next, "value at offset " + record.offset());
                equal(record.offset(), (long) next++, "offset");
            }
            Cluster.checkAtEnd(consumer);
        }
    }
}
