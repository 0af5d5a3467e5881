package highwater.suite;

import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;

/** Making records, and comparing those sent with those read, byte for byte. */
final class Records {
    private Records() {}

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static byte[] noise(long seed, int size) {
        byte[] value = new byte[size];
        new Random(seed).nextBytes(value);
        return value;
    }

    /** Half of them compress well, half not at all; timestamps climb by a millisecond from the time of the call. */
    static List<ProducerRecord<byte[], byte[]>> mixed(String topic, int count) {
        long start = System.currentTimeMillis();
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            byte[] value = i % 2 == 0 ? bytes("the same words again and again ".repeat(1 + i % 20)) : noise(i, 1 + i % 700);
            records.add(new ProducerRecord<>(topic, 0, start + i, bytes("key-" + i), value));
        }
        return records;
    }

    /** Records read are those sent, in order, at the offsets and times the producer was told. */
    static void checkSame(List<ConsumerRecord<byte[], byte[]>> read, List<ProducerRecord<byte[], byte[]>> sent,
            List<RecordMetadata> told) {
        equal(read.size(), sent.size(), "number of records");
        for (int i = 0; i < read.size(); i++) {
            checkSame(read.get(i), sent.get(i), "record " + i);
            if (told.get(i).hasOffset()) equal(read.get(i).offset(), told.get(i).offset(), "offset of record " + i);
            equal(read.get(i).offset(), read.get(0).offset() + i, "offset of record " + i + " after the first");
            equal(read.get(i).timestamp(), told.get(i).timestamp(), "timestamp of record " + i);
            equal(read.get(i).partition(), told.get(i).partition(), "partition of record " + i);
        }
    }

    static void checkSame(ConsumerRecord<byte[], byte[]> read, ProducerRecord<byte[], byte[]> sent, String what) {
        check(Arrays.equals(read.key(), sent.key()), what + ": key differs: " + show(read.key()) + " for " + show(sent.key()));
        check(Arrays.equals(read.value(), sent.value()),
                what + ": value differs: " + show(read.value()) + " for " + show(sent.value()));
        if (sent.timestamp() != null) equal(read.timestamp(), sent.timestamp(), what + ": timestamp");
        Header[] found = read.headers().toArray();
        Header[] expected = sent.headers().toArray();
        equal(found.length, expected.length, what + ": number of headers");
        for (int i = 0; i < found.length; i++) {
            equal(found[i].key(), expected[i].key(), what + ": key of header " + i);
            check(Arrays.equals(found[i].value(), expected[i].value()), what + ": value of header " + i + " differs");
        }
    }

    private static String show(byte[] value) {
        if (value == null) return "null";
        return value.length + " bytes " + Arrays.toString(Arrays.copyOf(value, Math.min(value.length, 12)));
    }
}
