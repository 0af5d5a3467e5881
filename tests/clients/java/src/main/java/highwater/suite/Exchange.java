package highwater.suite;

import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Writes, or reads and compares, a topic of records any language can compute: another client does the other half.
 * Arguments: bootstrap address, {@code write} or {@code read}, topic. Record n is described in suites/librdkafka/exchange.py.
 */
public final class Exchange {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final int RECORDS_EACH = 200;
    private static final long START_MS = 1_700_000_000_000L;

    private Exchange() {}

    public static void main(String[] arguments) throws Exception {
        try (Cluster cluster = new Cluster(arguments[0])) {
            switch (arguments[1]) {
                case "write" -> write(cluster, arguments[2]);
                case "read" -> read(cluster, arguments[2]);
                default -> throw new IllegalArgumentException("neither write nor read: " + arguments[1]);
            }
        }
        System.exit(0);
    }

    private static void write(Cluster cluster, String topic) throws Exception {
        for (int codec = 0; codec < CODECS.size(); codec++) {
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int n = 0; n < RECORDS_EACH; n++) records.add(record(topic, codec * RECORDS_EACH + n));
            try (var producer = cluster.producer("compression.type", CODECS.get(codec), "linger.ms", 20)) {
                cluster.send(producer, records);
            }
        }
    }

    private static void read(Cluster cluster, String topic) {
        int count = CODECS.size() * RECORDS_EACH;
        var records = cluster.read(topic, 0, 0, count);
        Tests.equal(records.size(), count, "number of records");
        for (int n = 0; n < count; n++) Records.checkSame(records.get(n), record(topic, n), "record " + n);
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, int n) {
        var record = new ProducerRecord<>(topic, 0, START_MS + n, n % 5 == 0 ? null : bytes(n, n % 40), n % 7 == 0 ? null : bytes(n + 1, n % 500));
        for (int header = 0; header < n % 4; header++) record.headers().add("h" + header % 2, n % 3 == 0 ? null : bytes(n + header, header));
        return record;
    }

    private static byte[] bytes(int seed, int size) {
        byte[] content = new byte[size];
        for (int at = 0; at < size; at++) content[at] = (byte) (seed * 31 + at * 7);
        return content;
    }
}
