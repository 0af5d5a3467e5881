package highwater.suite;

import static highwater.suite.Records.bytes;
import static highwater.suite.Records.noise;
import static highwater.suite.Tests.equal;

import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Every shape a record may have comes back as it was sent. */
final class RecordTests {
    private final Cluster cluster;

    RecordTests(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Tests tests) {
        tests.add("record-null-and-empty-keys-and-values", this::nullAndEmpty);
        tests.add("record-headers", this::headers);
        tests.add("record-many-headers", this::manyHeaders);
    }

    private void roundTrip(String topic, List<ProducerRecord<byte[], byte[]>> records) throws Exception {
        for (String codec : List.of("none", "snappy")) {
            try (var producer = cluster.producer("compression.type", codec, "linger.ms", 50)) {
                var told = cluster.send(producer, records);
                Records.checkSame(cluster.read(topic, 0, told.get(0).offset(), records.size()), records, told);
            }
        }
    }

    private void nullAndEmpty() throws Exception {
        String topic = cluster.topic("null");
        byte[][] shapes = {null, new byte[0], bytes("x"), {0}, noise(1, 300)};
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (byte[] key : shapes) {
            for (byte[] value : shapes) records.add(new ProducerRecord<>(topic, 0, key, value));
        }
        roundTrip(topic, records);
        equal(cluster.read(topic, 0, 0, 1).get(0).value(), null, "the first value");
    }

    private void headers() throws Exception {
        String topic = cluster.topic("headers");
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        var plain = new ProducerRecord<>(topic, 0, bytes("key"), bytes("value"));
        plain.headers().add("a", bytes("1")).add("b", bytes("2"));
        var duplicates = new ProducerRecord<>(topic, 0, bytes("key"), bytes("value"));
        duplicates.headers().add("a", bytes("2")).add("a", bytes("1")).add("b", bytes("0")).add("a", bytes("1"));
        var empties = new ProducerRecord<byte[], byte[]>(topic, 0, null, null);
        empties.headers().add("null", null).add("empty", new byte[0]).add("", bytes("no name")).add("", null);
        var others = new ProducerRecord<>(topic, 0, bytes("key"), bytes("value"));
        others.headers().add("ключ-鍵-🔑", noise(4, 5_000)).add("k".repeat(3_000), bytes("long name"));
        records.add(plain);
        records.add(duplicates);
        records.add(new ProducerRecord<>(topic, 0, bytes("none"), bytes("at all")));
        records.add(empties);
        records.add(others);
        roundTrip(topic, records);
    }

    private void manyHeaders() throws Exception {
        String topic = cluster.topic("many-headers");
        var record = new ProducerRecord<>(topic, 0, bytes("key"), bytes("value"));
        for (int i = 0; i < 2_000; i++) record.headers().add("h" + i, noise(i, i % 40));
        roundTrip(topic, List.of(record));
    }
}
