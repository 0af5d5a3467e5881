package highwater.suite;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads partition 0 of a topic from its beginning and for ever, with a rack. Whenever one of them changes, it prints how many records
 * it has read and from which replica it reads, -1 for the leader. Arguments: bootstrap address, topic, rack.
 */
public final class NearReader {
    public static void main(String[] arguments) {
        var partition = new TopicPartition(arguments[1], 0);
        Map<String, Object> settings = Map.of("bootstrap.servers", arguments[0], "client.rack", arguments[2], "client.id", "near");
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            String told = "";
            for (int read = 0; ; ) {
                read += consumer.poll(Duration.ofMillis(50)).count();
                String now = read + " " + replica(consumer, partition);
                if (!now.equals(told)) System.out.println(now);
                told = now;
            }
        }
    }

    private static int replica(KafkaConsumer<?, ?> consumer, TopicPartition partition) {
        return consumer.metrics().values().stream()
                .filter(each -> each.metricName().name().equals("preferred-read-replica"))
                .filter(each -> partition.topic().equals(each.metricName().tags().get("topic")))
                .map(each -> (Integer) each.metricValue()).findFirst().orElse(-1);
    }
}
