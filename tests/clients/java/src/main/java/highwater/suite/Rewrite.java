package highwater.suite;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;

/**
 * Reads messages with Kafka's own classes and writes them again: the bytes must be the same. A message a line, as in
 * "HeartbeatRequest 4 0x…". The first difference of each message at each version is printed; any makes it fail.
 */
final class Rewrite {
    private static final List<String> PLACES = List.of(
        "org.apache.kafka.common.message.%sData",
        "org.apache.kafka.common.message.%s",
        "org.apache.kafka.coordinator.group.generated.%s",
        "org.apache.kafka.coordinator.transaction.generated.%s");
    private static final int SHOWN_CHARACTERS = 400;

    private Rewrite() {}

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        Set<String> names = new TreeSet<>();
        Set<String> different = new TreeSet<>();
        int count = 0;
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] parts = line.split(" ");
            String name = parts[0];
            byte[] bytes = HexFormat.of().parseHex(parts[2].substring(2));
            String difference = difference(empty(name), Short.parseShort(parts[1]), bytes);
            if (difference != null && different.add(name + " " + parts[1])) {
                System.out.println(shortened(line) + "\n  " + shortened(difference));
            }
            names.add(name);
            count++;
        }
        System.out.printf("%d messages of %d kinds, %d versions of them differ%n", count, names.size(), different.size());
        System.exit(count > 0 && different.isEmpty() ? 0 : 1);
    }

    /** What is different when Kafka writes what it read, or null if nothing is. */
    private static String difference(Message message, short version, byte[] bytes) {
        try {
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            message.read(new ByteBufferAccessor(buffer), version);
            if (buffer.hasRemaining()) {
                return buffer.remaining() + " bytes are left over of " + message;
            }
            ByteBuffer written = MessageUtil.toByteBufferAccessor(message, version).buffer();
            return written.equals(ByteBuffer.wrap(bytes)) ? null : "written differently: " + message;
        } catch (RuntimeException refused) {
            return refused.toString();
        }
    }

    private static Message empty(String name) throws ReflectiveOperationException, IOException {
        for (String place : PLACES) {
            try {
                return (Message) Class.forName(place.formatted(name)).getDeclaredConstructor().newInstance();
            } catch (ClassNotFoundException elsewhere) {
                continue;
            }
        }
        throw new IOException("Kafka has no message " + name);
    }

    private static String shortened(String text) {
        return text.length() <= SHOWN_CHARACTERS ? text : text.substring(0, SHOWN_CHARACTERS) + "…";
    }
}
