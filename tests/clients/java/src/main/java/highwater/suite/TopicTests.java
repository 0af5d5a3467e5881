package highwater.suite;

import static highwater.suite.Records.bytes;
import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;
import static highwater.suite.Tests.eventually;
import static highwater.suite.Tests.refused;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Topics: created, listed, described, deleted, by name and by id. */
final class TopicTests {
    private final Cluster cluster;

    TopicTests(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Tests tests) {
        tests.add("topic-create-and-describe", this::createAndDescribe);
        tests.add("topic-create-with-settings", this::createWithSettings);
        tests.add("topic-create-with-assignment", this::createWithAssignment);
        tests.add("topic-create-refusals", this::createRefusals);
        tests.add("topic-create-validate-only", this::validateOnly);
        tests.add("topic-list", this::list);
        tests.add("topic-describe-unknown", this::describeUnknown);
        tests.add("topic-delete-by-name", this::deleteByName);
        tests.add("topic-delete-by-id", this::deleteById);
        tests.add("topic-recreated-is-another", this::recreated);
        tests.add("topic-auto-created-by-producer", this::autoCreated);
        tests.add("topic-partitions-for", this::partitionsFor);
        tests.add("topic-of-many-partitions", this::manyPartitions);
    }

    private void create(NewTopic topic) throws Exception {
        cluster.admin.createTopics(List.of(topic)).all().get();
    }

    private TopicDescription describe(String name) throws Exception {
        return cluster.admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
    }

    private void createAndDescribe() throws Exception {
        String name = cluster.freshName("create");
        var result = cluster.admin.createTopics(List.of(new NewTopic(name, 3, (short) 1)));
        equal(result.numPartitions(name).get(), 3, "partitions in the reply");
        equal(result.replicationFactor(name).get(), 1, "replication factor in the reply");
        check(result.config(name).get().get("segment.bytes") != null, "no segment.bytes among the settings in the reply");
        Uuid id = result.topicId(name).get();
        check(!id.equals(Uuid.ZERO_UUID), "the topic has no id");
        TopicDescription described = eventually(() -> describe(name));
        equal(described.topicId(), id, "topic id");
        equal(described.isInternal(), false, "internal");
        equal(described.partitions().size(), 3, "partitions");
        var node = cluster.admin.describeCluster().nodes().get().iterator().next();
        for (int i = 0; i < 3; i++) {
            var partition = described.partitions().get(i);
            equal(partition.partition(), i, "partition number");
            equal(partition.leader(), node, "leader");
            equal(partition.replicas(), List.of(node), "replicas");
            equal(partition.isr(), List.of(node), "in-sync replicas");
        }
        var byId = cluster.admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get();
        equal(byId.get(id).name(), name, "name found by id");
    }

    private void createWithSettings() throws Exception {
        Map<String, String> settings = Map.of("segment.bytes", "1048576", "message.timestamp.type", "LogAppendTime", "index.interval.bytes", "100");
        String name = cluster.topic("settings", 1, settings);
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
        var config = cluster.admin.describeConfigs(List.of(resource)).all().get().get(resource);
        settings.forEach((key, value) -> {
            equal(config.get(key).value(), value, key);
            equal(config.get(key).isDefault(), false, key + " counts as default");
        });
        equal(config.get("max.message.bytes").value(), "1048588", "max.message.bytes");
        equal(config.get("max.message.bytes").isDefault(), true, "max.message.bytes counts as default");
    }

    private void createWithAssignment() throws Exception {
        int node = cluster.admin.describeCluster().nodes().get().iterator().next().id();
        String name = cluster.freshName("assignment");
        create(new NewTopic(name, Map.of(0, List.of(node), 1, List.of(node))));
        equal(eventually(() -> describe(name)).partitions().size(), 2, "partitions");
    }

    private void createRefusals() throws Exception {
        String name = cluster.topic("refusals");
        refused(TopicExistsException.class, () -> create(new NewTopic(name, 1, (short) 1)));
        String fresh = cluster.freshName("refused");
        refused(InvalidPartitionsException.class, () -> create(new NewTopic(fresh, 0, (short) 1)));
        refused(InvalidReplicationFactorException.class, () -> create(new NewTopic(fresh, 1, (short) 2)));
        refused(InvalidReplicationFactorException.class, () -> create(new NewTopic(fresh, 1, (short) 0)));
        refused(InvalidConfigurationException.class,
                () -> create(new NewTopic(fresh, 1, (short) 1).configs(Map.of("no.such.setting", "1"))));
        refused(InvalidConfigurationException.class,
                () -> create(new NewTopic(fresh, 1, (short) 1).configs(Map.of("segment.bytes", "large"))));
        for (String invalid : List.of("two words", ".", "..", "a/b", "x".repeat(250))) {
            refused(InvalidTopicException.class, () -> create(new NewTopic(invalid, 1, (short) 1)));
        }
        // '.' and '_' become the same letter in metric names, so names that differ only there collide.
        create(new NewTopic(fresh + ".a_b", 1, (short) 1));
        refused(InvalidTopicException.class, () -> create(new NewTopic(fresh + "_a.b", 1, (short) 1)));
    }

    private void validateOnly() throws Exception {
        String name = cluster.freshName("validate");
        var asked = new CreateTopicsOptions().validateOnly(true);
        cluster.admin.createTopics(List.of(new NewTopic(name, 2, (short) 1)), asked).all().get();
        check(!cluster.admin.listTopics().names().get().contains(name), "validate-only created the topic");
    }

    private void list() throws Exception {
        String first = cluster.topic("list");
        String second = cluster.topic("list");
        Set<String> names = cluster.admin.listTopics().names().get();
        check(names.containsAll(List.of(first, second)), "a created topic is not listed");
        var listing = cluster.admin.listTopics(new ListTopicsOptions().listInternal(true)).namesToListings().get().get(first);
        equal(listing.topicId(), describe(first).topicId(), "topic id in the list");
        equal(listing.isInternal(), false, "internal");
    }

    private void describeUnknown() {
        refused(UnknownTopicOrPartitionException.class, () -> describe("java-nobody-made-this"));
        Uuid unknown = Uuid.randomUuid();
        refused(UnknownTopicIdException.class,
                () -> cluster.admin.describeTopics(TopicCollection.ofTopicIds(List.of(unknown))).allTopicIds().get());
    }

    private void deleteByName() throws Exception {
        String name = cluster.topic("delete");
        cluster.admin.deleteTopics(List.of(name)).all().get();
        eventually(() -> refused(UnknownTopicOrPartitionException.class, () -> describe(name)));
        check(!cluster.admin.listTopics().names().get().contains(name), "the deleted topic is still listed");
        refused(UnknownTopicOrPartitionException.class, () -> cluster.admin.deleteTopics(List.of(name)).all().get());
    }

    private void deleteById() throws Exception {
        String name = cluster.topic("delete-id");
        TopicCollection ids = TopicCollection.ofTopicIds(List.of(describe(name).topicId()));
        cluster.admin.deleteTopics(ids).all().get();
        eventually(() -> refused(UnknownTopicOrPartitionException.class, () -> describe(name)));
        refused(UnknownTopicIdException.class, () -> cluster.admin.deleteTopics(ids).all().get());
    }

    private void recreated() throws Exception {
        String name = cluster.topic("recreate");
        Uuid before = describe(name).topicId();
        try (var producer = cluster.producer()) {
            equal(producer.send(new ProducerRecord<>(name, bytes("first life"))).get().offset(), 0L, "first offset");
        }
        cluster.admin.deleteTopics(List.of(name)).all().get();
        eventually(() -> refused(UnknownTopicOrPartitionException.class, () -> describe(name)));
        create(new NewTopic(name, 1, (short) 1));
        Uuid after = eventually(() -> describe(name)).topicId();
        check(!after.equals(before), "the new topic has the old one's id");
        try (var producer = cluster.producer()) {
            equal(producer.send(new ProducerRecord<>(name, bytes("second life"))).get().offset(), 0L, "first offset");
        }
        var read = cluster.read(name, 0, 0, 1);
        equal(new String(read.get(0).value()), "second life", "first record");
    }

    private void autoCreated() throws Exception {
        String name = cluster.freshName("auto");
        try (var producer = cluster.producer()) {
            equal(producer.send(new ProducerRecord<>(name, bytes("value"))).get().offset(), 0L, "offset");
            refused(InvalidTopicException.class, () -> producer.send(new ProducerRecord<>("two words", bytes("value"))).get());
        }
        equal(describe(name).partitions().size(), 1, "partitions");
        equal(cluster.read(name, 0, 0, 1).size(), 1, "records");
    }

    private void partitionsFor() throws Exception {
        String name = cluster.topic("partitions", 4, Map.of());
        try (var producer = cluster.producer(); var consumer = cluster.consumer()) {
            equal(producer.partitionsFor(name).size(), 4, "partitions a producer sees");
            equal(consumer.partitionsFor(name).size(), 4, "partitions a consumer sees");
            equal(consumer.listTopics().get(name).size(), 4, "partitions in a consumer's list");
        }
    }

    private void manyPartitions() throws Exception {
        String name = cluster.freshName("many");
        create(new NewTopic(name, Optional.of(100), Optional.empty()));
        equal(eventually(() -> describe(name)).partitions().size(), 100, "partitions");
        try (var producer = cluster.producer()) {
            List<ProducerRecord<byte[], byte[]>> records = new java.util.ArrayList<>();
            for (int i = 0; i < 100; i++) records.add(new ProducerRecord<>(name, i, null, bytes("to " + i)));
            for (var told : cluster.send(producer, records)) equal(told.offset(), 0L, "offset in partition " + told.partition());
        }
        equal(new String(cluster.read(name, 99, 0, 1).get(0).value()), "to 99", "value");
    }
}
