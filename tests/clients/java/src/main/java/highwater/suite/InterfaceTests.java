package highwater.suite;

import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;
import static highwater.suite.Tests.eventually;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeConsumerGroupsOptions;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** What interfaces for people (kafka-ui, AKHQ) ask of a cluster to draw their pages: everything there is, at once. */
final class InterfaceTests {
    private static final int PARTITIONS = 3;
    private static final int RECORDS = 30;
    private static final long START_MS = 1_700_000_000_000L;

    private final Cluster cluster;

    InterfaceTests(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Tests tests) {
        tests.add("interface-cluster-and-brokers", this::brokers);
        tests.add("interface-all-topics", this::topics);
        tests.add("interface-all-groups", this::groups);
        tests.add("interface-messages", this::messages);
    }

    private String filled(String about) throws Exception {
        String topic = cluster.topic(about, PARTITIONS, Map.of());
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int n = 0; n < RECORDS; n++) {
            records.add(new ProducerRecord<>(topic, n % PARTITIONS, START_MS + n, Records.bytes("key-" + n), Records.bytes("{\"n\": " + n + "}")));
        }
        try (var producer = cluster.producer()) {
            cluster.send(producer, records);
        }
        return topic;
    }

    private void brokers() throws Exception {
        var described = cluster.admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
        check(described.authorizedOperations().get() != null, "no operations");
        List<Integer> nodes = described.nodes().get().stream().map(node -> node.id()).toList();
        var resources = nodes.stream().map(node -> new ConfigResource(ConfigResource.Type.BROKER, node.toString())).toList();
        for (var entry : cluster.admin.describeConfigs(resources).all().get().entrySet()) {
            check(entry.getValue().entries().size() > 50, entry.getValue().entries().size() + " settings of " + entry.getKey());
        }
        equal(cluster.admin.describeLogDirs(nodes).allDescriptions().get().keySet(), Set.copyOf(nodes), "brokers that tell of their folders");
    }

    private void topics() throws Exception {
        String topic = filled("shown");
        Set<String> names = cluster.admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get();
        check(names.contains(topic), "the topic is not listed");
        var described = cluster.admin.describeTopics(names).allTopicNames().get();
        equal(described.keySet(), names, "topics described");
        var resources = names.stream().map(name -> new ConfigResource(ConfigResource.Type.TOPIC, name)).toList();
        var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        var configs = cluster.admin.describeConfigs(resources, options).all().get();
        for (ConfigResource resource : resources) {
            check(configs.get(resource).entries().stream().allMatch(entry -> entry.documentation() != null), "settings without a word of what they are for");
        }
        Map<TopicPartition, OffsetSpec> all = new HashMap<>();
        described.values().forEach(each -> each.partitions().forEach(part -> all.put(new TopicPartition(each.name(), part.partition()), OffsetSpec.latest())));
        var latest = cluster.admin.listOffsets(all).all().get();
        equal(latest.keySet(), all.keySet(), "partitions whose ends are told");
        long records = latest.entrySet().stream().filter(each -> each.getKey().topic().equals(topic)).mapToLong(each -> each.getValue().offset()).sum();
        equal(records, (long) RECORDS, "records of the topic");
        all.replaceAll((at, spec) -> OffsetSpec.earliest());
        check(cluster.admin.listOffsets(all).all().get().values().stream().allMatch(each -> each.offset() >= 0), "a partition without a beginning");
    }

    private void groups() throws Exception {
        String topic = filled("followed");
        Map<String, Integer> members = new TreeMap<>(Map.of(topic + "-classic", 1, topic + "-consumer", 1, topic + "-empty", 0));
        List<KafkaConsumer<byte[], byte[]>> consumers = new ArrayList<>();
        try {
            for (String protocol : List.of("classic", "consumer")) {
                var consumer = cluster.consumer("group.id", topic + "-" + protocol, "group.protocol", protocol, "auto.offset.reset", "earliest");
                consumers.add(consumer);
                consumer.subscribe(List.of(topic));
                Cluster.poll(consumer, RECORDS);
                consumer.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(4)));
            }
            cluster.admin.alterConsumerGroupOffsets(topic + "-empty", Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(4))).all().get();
            var listed = cluster.admin.listConsumerGroups().all().get().stream().map(each -> each.groupId()).collect(Collectors.toSet());
            check(listed.containsAll(members.keySet()), "groups listed: " + listed);
            var options = new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true);
            var described = cluster.admin.describeConsumerGroups(members.keySet(), options).all().get();
            members.forEach((group, count) -> {
                equal(described.get(group).members().size(), count, "members of " + group);
                equal(described.get(group).groupState(), count == 0 ? GroupState.EMPTY : GroupState.STABLE, "state of " + group);
                long assigned = described.get(group).members().stream().mapToLong(member -> member.assignment().topicPartitions().size()).sum();
                equal(assigned, (long) count * PARTITIONS, "partitions of the members of " + group);
            });
            // Of many groups in one request, all partitions.
            var asked = members.keySet().stream().collect(Collectors.toMap(group -> group, group -> new ListConsumerGroupOffsetsSpec()));
            var places = cluster.admin.listConsumerGroupOffsets(asked).all().get();
            for (String group : members.keySet()) {
                equal(places.get(group).get(new TopicPartition(topic, 0)).offset(), 4L, "place of " + group);
            }
        } finally {
            consumers.forEach(KafkaConsumer::close);
        }
        cluster.admin.deleteConsumerGroupOffsets(topic + "-empty", Set.of(new TopicPartition(topic, 0))).all().get();
        eventually(() -> cluster.admin.deleteConsumerGroups(members.keySet()).all().get());
    }

    /** The newest first, those from a time on, and those of one partition. */
    private void messages() throws Exception {
        String topic = filled("read");
        List<TopicPartition> all = new ArrayList<>();
        for (int partition = 0; partition < PARTITIONS; partition++) all.add(new TopicPartition(topic, partition));
        try (var consumer = cluster.consumer("max.poll.records", 5)) {
            consumer.assign(all);
            consumer.endOffsets(all).forEach((at, end) -> consumer.seek(at, Math.max(0, end - 2)));
            equal(numbers(consumer, 6), List.of(24L, 25L, 26L, 27L, 28L, 29L), "the two newest of each partition");
            consumer.offsetsForTimes(all.stream().collect(Collectors.toMap(at -> at, at -> START_MS + 21))).forEach((at, place) -> consumer.seek(at, place.offset()));
            equal(numbers(consumer, 9), List.of(21L, 22L, 23L, 24L, 25L, 26L, 27L, 28L, 29L), "those from a time on");
            consumer.assign(all.subList(1, 2));
            consumer.seekToBeginning(all.subList(1, 2));
            equal(numbers(consumer, 10).get(0), 1L, "the first of a partition");
            equal(consumer.poll(Duration.ofMillis(100)).count(), 0, "records behind the last");
        }
    }

    private static List<Long> numbers(KafkaConsumer<byte[], byte[]> consumer, int count) {
        return Cluster.poll(consumer, count).stream().map(ConsumerRecord::timestamp).map(time -> time - START_MS).sorted().toList();
    }
}
