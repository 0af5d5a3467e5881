package highwater.suite;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * A producer that somebody else plays a fault to. Arguments: bootstrap address, topic, {@code acks}, idempotence and retries as
 * {@code true} or {@code false}.
 *
 * <p>Standard input: each line is a value to send, a batch of its own. Standard output: {@code acknowledged VALUE} or
 * {@code failed VALUE WHY}, as it is told.
 */
public final class Rows {
    private Rows() {}

    public static void main(String[] arguments) throws Exception {
        String topic = arguments[1];
        try (var cluster = new Cluster(arguments[0]); var producer = producer(cluster, arguments)) {
            // Who leads is known before anything is sent.
            producer.partitionsFor(topic);
            System.out.println("ready");
            var lines = new BufferedReader(new InputStreamReader(System.in));
            for (String value = lines.readLine(); value != null; value = lines.readLine()) send(producer, topic, value);
        }
        System.exit(0);
    }

    private static KafkaProducer<byte[], byte[]> producer(Cluster cluster, String[] arguments) {
        boolean retries = Boolean.parseBoolean(arguments[4]);
        return cluster.producer("acks", arguments[2], "enable.idempotence", arguments[3], "retries", retries ? Integer.MAX_VALUE : 0,
                "batch.size", 0, "delivery.timeout.ms", 60_000, "retry.backoff.ms", 10, "reconnect.backoff.ms", 10,
                "reconnect.backoff.max.ms", 100);
    }

    private static void send(KafkaProducer<byte[], byte[]> producer, String topic, String value) {
        var record = new ProducerRecord<byte[], byte[]>(topic, 0, null, value.getBytes(StandardCharsets.UTF_8));
        producer.send(record, (told, error) -> {
            System.out.println(error == null ? "acknowledged " + value : "failed " + value + " " + error.getClass().getSimpleName());
            System.out.flush();
        });
    }
}
