package highwater.suite;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * One instance of two applications, or of one of them, which are the same but for what they promise: {@code exactly} once and {@code atleast}
 * once. They live in one process so that they die together. Arguments: bootstrap address, the instance's name, a folder of its own, which
 * applications.
 *
 * <p>Of the topic {@code streams-in}, whose records are a key and {@code NUMBER WORD WORD…}, each makes two:
 * <ul>
 * <li>{@code -sums}: for each record, by key, {@code NUMBER COUNT SUM} of all numbers so far, kept in a store;
 * <li>{@code -counts}: for each word how often it has been seen, which needs another partitioning, and a store.
 * </ul>
 * Stores are on disk, with their changelogs; nothing is cached, so that every step of a count is seen.
 */
public final class Streams {
    private static final String INPUT = "streams-in";
    private static final Map<String, String> GUARANTEES = Map.of("exactly", StreamsConfig.EXACTLY_ONCE_V2, "atleast", StreamsConfig.AT_LEAST_ONCE);

    private Streams() {}

    public static void main(String[] arguments) {
        for (String name : arguments[3].split(",")) {
            var application = new KafkaStreams(topology(name), settings(name, GUARANTEES.get(name), arguments[0], arguments[1], arguments[2]));
            application.setStateListener((now, before) -> System.out.println(name + " " + now));
            application.setUncaughtExceptionHandler(error -> {
                System.out.println(name + " failed " + text(error));
                return StreamThreadExceptionResponse.REPLACE_THREAD;
            });
            application.start();
        }
    }

    private static String text(Throwable error) {
        return (error + (error.getCause() == null ? "" : " < " + text(error.getCause()))).replace('\n', ' ');
    }

    private static Properties settings(String name, String guarantee, String bootstrap, String instance, String folder) {
        Map<String, Object> settings = new HashMap<>();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, name);
        settings.put(StreamsConfig.CLIENT_ID_CONFIG, name + "-" + instance);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        // Whoever comes back is known, and who does not is missed soon.
        settings.put("group.instance.id", instance);
        settings.put("session.timeout.ms", 4_000);
        settings.put("heartbeat.interval.ms", 500);
        settings.put("metadata.max.age.ms", 1_000);
        settings.put(StreamsConfig.producerPrefix("transaction.timeout.ms"), 5_000);
        Properties all = new Properties();
        all.putAll(settings);
        return all;
    }

    private static Topology topology(String name) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("sums"), Serdes.String(), Serdes.String()));
        KStream<String, String> input = builder.stream(INPUT);
        input.process(Sums::new, "sums").to(name + "-sums");
        var counts = Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts").withKeySerde(Serdes.String()).withValueSerde(Serdes.Long());
        input.flatMapValues(Streams::words).groupBy((key, word) -> word, Grouped.as("words")).count(counts)
                .toStream().mapValues(String::valueOf).to(name + "-counts");
        return builder.build();
    }

    private static List<String> words(String value) {
        String[] all = value.split(" ");
        return Arrays.asList(all).subList(1, all.length);
    }

    private static final class Sums extends ContextualProcessor<String, String, String, String> {
        private KeyValueStore<String, String> store;

        @Override
        public void init(ProcessorContext<String, String> context) {
            super.init(context);
            store = context.getStateStore("sums");
        }

        @Override
        public void process(Record<String, String> record) {
            long number = Long.parseLong(record.value().split(" ")[0]);
            String before = store.get(record.key());
            String[] soFar = before == null ? new String[] {"0", "0"} : before.split(" ");
            String now = (Long.parseLong(soFar[0]) + 1) + " " + (Long.parseLong(soFar[1]) + number);
            store.put(record.key(), now);
            context().forward(record.withValue(number + " " + now));
        }
    }
}
