package highwater.suite;

import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;
import static highwater.suite.Tests.eventually;
import static highwater.suite.Tests.refused;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreatePartitionsOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.SecurityDisabledException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.quota.ClientQuotaFilter;

/** Changing topics and brokers while they run, and the administration that one node without an authorizer answers simply. */
final class AdminTests {
    private final Cluster cluster;

    AdminTests(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Tests tests) {
        tests.add("admin-create-partitions", this::createPartitions);
        tests.add("admin-create-partitions-refused", this::createPartitionsRefused);
        tests.add("admin-create-partitions-seen-by-a-consumer", this::newPartitionsAreRead);
        tests.add("admin-alter-topic-configs", this::alterTopic);
        tests.add("admin-alter-topic-configs-by-list", this::alterList);
        tests.add("admin-alter-configs-refused", this::alterRefused);
        tests.add("admin-alter-configs-takes-effect", this::alterTakesEffect);
        tests.add("admin-alter-broker-configs", this::alterBroker);
        tests.add("admin-describe-configs-of-a-broker", this::describeBroker);
        tests.add("admin-list-config-resources", this::listConfigResources);
        tests.add("admin-describe-log-dirs", this::logDirs);
        tests.add("admin-elect-leaders", this::electLeaders);
        tests.add("admin-features", this::features);
        tests.add("admin-acls-without-an-authorizer", this::acls);
        tests.add("admin-client-quotas", this::quotas);
    }

    // ---- partitions

    private void createPartitions() throws Exception {
        String topic = cluster.topic("grows");
        cluster.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(9)), new CreatePartitionsOptions().validateOnly(true)).all().get();
        equal(partitions(topic), 1, "partitions after a trial");
        cluster.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
        eventually(() -> {
            equal(partitions(topic), 3, "partitions");
            return null;
        });
        try (var producer = cluster.producer()) {
            equal(producer.send(new ProducerRecord<>(topic, 2, null, Records.bytes("in the last"))).get().offset(), 0L, "offset in a new partition");
        }
        equal(Records.bytes("in the last").length, cluster.read(topic, 2, 0, 1).get(0).value().length, "length of what is read there");
        int node = node();
        cluster.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4, List.of(List.of(node))))).all().get();
        eventually(() -> {
            equal(partitions(topic), 4, "partitions, one of them assigned by hand");
            return null;
        });
    }

    private int partitions(String topic) throws Exception {
        return cluster.admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
    }

    private int node() throws Exception {
        return cluster.admin.describeCluster().nodes().get().iterator().next().id();
    }

    private void createPartitionsRefused() throws Exception {
        String topic = cluster.topic("does-not-grow", 3, Map.of());
        int node = node();
        refused(InvalidPartitionsException.class, () -> grow(topic, NewPartitions.increaseTo(3)));
        refused(InvalidPartitionsException.class, () -> grow(topic, NewPartitions.increaseTo(2)));
        refused(UnknownTopicOrPartitionException.class, () -> grow("java-nobody", NewPartitions.increaseTo(2)));
        refused(org.apache.kafka.common.errors.InvalidReplicaAssignmentException.class,
                () -> grow(topic, NewPartitions.increaseTo(4, List.of(List.of(node + 100)))));
        equal(partitions(topic), 3, "partitions after all that");
    }

    private void grow(String topic, NewPartitions to) throws Exception {
        cluster.admin.createPartitions(Map.of(topic, to)).all().get();
    }

    /** A group in good order is given new partitions by itself, with either protocol. */
    private void newPartitionsAreRead() throws Exception {
        for (String protocol : List.of("classic", "consumer")) {
            String topic = cluster.topic("grows-" + protocol);
            try (var consumer = cluster.consumer("group.id", topic, "group.protocol", protocol, "auto.offset.reset", "earliest", "metadata.max.age.ms", 200);
                    var producer = cluster.producer()) {
                consumer.subscribe(List.of(topic));
                producer.send(new ProducerRecord<>(topic, 0, null, Records.bytes("before"))).get();
                Cluster.poll(consumer, 1);
                // What the rebalance makes it give up and get back it goes on with, and does not read anew.
                consumer.commitSync();
                grow(topic, NewPartitions.increaseTo(2));
                eventually(() -> {
                    equal(partitions(topic), 2, "partitions");
                    return null;
                });
                producer.partitionsFor(topic);
                eventually(() -> producer.send(new ProducerRecord<>(topic, 1, null, Records.bytes("after"))).get());
                var records = Cluster.poll(consumer, 1);
                equal(records.get(0).partition(), 1, protocol + ": partition of what is read");
                equal(consumer.assignment(), Set.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1)), protocol + ": assignment");
            }
        }
    }

    // ---- settings

    private static ConfigResource topic(String name) {
        return new ConfigResource(ConfigResource.Type.TOPIC, name);
    }

    private static AlterConfigOp op(String name, String value, AlterConfigOp.OpType type) {
        return new AlterConfigOp(new ConfigEntry(name, value), type);
    }

    private static AlterConfigOp set(String name, String value) {
        return op(name, value, AlterConfigOp.OpType.SET);
    }

    private void alter(ConfigResource resource, AlterConfigOp... ops) throws Exception {
        cluster.admin.incrementalAlterConfigs(Map.of(resource, List.of(ops))).all().get();
    }

    private ConfigEntry entry(ConfigResource resource, String name) throws Exception {
        return cluster.admin.describeConfigs(List.of(resource), new DescribeConfigsOptions().includeSynonyms(true)).all().get().get(resource).get(name);
    }

    private void awaitEntry(ConfigResource resource, String name, String value, ConfigEntry.ConfigSource source) throws Exception {
        eventually(() -> {
            ConfigEntry found = entry(resource, name);
            equal(List.of(found.value(), found.source()), List.of(value, source), name + " of " + resource.name() + " and its source");
            return null;
        });
    }

    private void alterTopic() throws Exception {
        ConfigResource resource = topic(cluster.topic("altered", 1, Map.of("segment.bytes", "2097152")));
        cluster.admin.incrementalAlterConfigs(Map.of(resource, List.of(set("retention.ms", "7000000000"))), new AlterConfigsOptions().validateOnly(true))
                .all().get();
        awaitEntry(resource, "retention.ms", entry(resource, "retention.ms").value(), entry(resource, "retention.ms").source());
        check(!entry(resource, "retention.ms").value().equals("7000000000"), "a trial was carried out");
        alter(resource, set("retention.ms", "7000000000"), set("max.message.bytes", "2000000"));
        awaitEntry(resource, "retention.ms", "7000000000", ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        awaitEntry(resource, "max.message.bytes", "2000000", ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        // What was not named stays.
        awaitEntry(resource, "segment.bytes", "2097152", ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        alter(resource, op("max.message.bytes", null, AlterConfigOp.OpType.DELETE));
        awaitEntry(resource, "max.message.bytes", "1048588", ConfigEntry.ConfigSource.DEFAULT_CONFIG);
        var synonyms = entry(resource, "segment.bytes").synonyms().stream().map(each -> each.name() + "=" + each.value()).collect(Collectors.toList());
        equal(synonyms, List.of("segment.bytes=2097152", "log.segment.bytes=1073741824"), "synonyms of segment.bytes");
    }

    /** Settings that are lists take values one by one. */
    private void alterList() throws Exception {
        String name = cluster.topic("altered-list");
        ConfigResource resource = topic(name);
        String throttled = "leader.replication.throttled.replicas";
        alter(resource, op(throttled, "0:0", AlterConfigOp.OpType.APPEND));
        alter(resource, op(throttled, "1:0,2:0", AlterConfigOp.OpType.APPEND));
        awaitEntry(resource, throttled, "0:0,1:0,2:0", ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        alter(resource, op(throttled, "1:0", AlterConfigOp.OpType.SUBTRACT));
        awaitEntry(resource, throttled, "0:0,2:0", ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        refused(InvalidConfigurationException.class, () -> alter(resource, op("retention.ms", "5", AlterConfigOp.OpType.APPEND)));
    }

    private void alterRefused() throws Exception {
        ConfigResource resource = topic(cluster.topic("unaltered"));
        refused(InvalidConfigurationException.class, () -> alter(resource, set("no.such.setting", "1")));
        refused(InvalidConfigurationException.class, () -> alter(resource, set("retention.ms", "soon")));
        refused(InvalidConfigurationException.class, () -> alter(resource, set("max.message.bytes", "-1")));
        refused(UnknownTopicOrPartitionException.class, () -> alter(topic("java-nobody"), set("retention.ms", "1000")));
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(node()));
        refused(InvalidRequestException.class, () -> alter(broker, set("offsets.topic.num.partitions", "9")));
        // One of two cannot be: neither is.
        refused(InvalidConfigurationException.class, () -> alter(resource, set("retention.ms", "1000"), set("no.such.setting", "1")));
        equal(entry(resource, "retention.ms").isDefault() || entry(resource, "retention.ms").source() != ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, true,
                "retention.ms is what it was");
    }

    private void alterTakesEffect() throws Exception {
        String name = cluster.topic("limited");
        try (var producer = cluster.producer("max.request.size", 10_000_000)) {
            producer.send(new ProducerRecord<>(name, 0, null, Records.noise(1, 5_000))).get();
            alter(topic(name), set("max.message.bytes", "1000"));
            awaitEntry(topic(name), "max.message.bytes", "1000", ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
            eventually(() -> {
                refused(RecordTooLargeException.class, () -> producer.send(new ProducerRecord<>(name, 0, null, Records.noise(2, 5_000))).get());
                return null;
            });
            alter(topic(name), op("max.message.bytes", null, AlterConfigOp.OpType.DELETE));
            eventually(() -> producer.send(new ProducerRecord<>(name, 0, null, Records.noise(3, 5_000))).get());
        }
    }

    private void alterBroker() throws Exception {
        ConfigResource all = new ConfigResource(ConfigResource.Type.BROKER, "");
        ConfigResource one = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(node()));
        ConfigResource ofTopic = topic(cluster.topic("by-the-broker"));
        String setting = "log.flush.interval.messages";
        alter(all, set(setting, "50000"));
        awaitEntry(one, setting, "50000", ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG);
        awaitEntry(ofTopic, "flush.messages", "50000", ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG);
        alter(one, set(setting, "60000"));
        awaitEntry(one, setting, "60000", ConfigEntry.ConfigSource.DYNAMIC_BROKER_CONFIG);
        awaitEntry(ofTopic, "flush.messages", "60000", ConfigEntry.ConfigSource.DYNAMIC_BROKER_CONFIG);
        alter(one, op(setting, null, AlterConfigOp.OpType.DELETE));
        alter(all, op(setting, null, AlterConfigOp.OpType.DELETE));
        awaitEntry(one, setting, "9223372036854775807", ConfigEntry.ConfigSource.DEFAULT_CONFIG);
    }

    private void describeBroker() throws Exception {
        ConfigResource one = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(node()));
        var options = new DescribeConfigsOptions().includeDocumentation(true).includeSynonyms(true);
        var found = cluster.admin.describeConfigs(List.of(one), options).all().get().get(one);
        Map<String, ConfigEntry> byName = new HashMap<>();
        for (ConfigEntry entry : found.entries()) byName.put(entry.name(), entry);
        // Those that people and their tools look at.
        for (String name : List.of("log.retention.ms", "log.segment.bytes", "num.partitions", "offsets.topic.num.partitions", "message.max.bytes",
                "auto.create.topics.enable", "group.consumer.session.timeout.ms")) {
            check(byName.containsKey(name), name + " is not among " + byName.size() + " settings");
        }
        equal(byName.get("log.segment.bytes").type(), ConfigEntry.ConfigType.INT, "type of log.segment.bytes");
        equal(byName.get("offsets.topic.num.partitions").isReadOnly(), true, "offsets.topic.num.partitions is fixed");
        equal(byName.get("log.retention.ms").isReadOnly(), false, "log.retention.ms is fixed");
    }

    private void listConfigResources() throws Exception {
        String name = cluster.topic("listed");
        var all = cluster.admin.listConfigResources().all().get();
        check(all.contains(topic(name)), "the topic is not among " + all);
        check(all.contains(new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(node()))), "the node is not among " + all);
        var topics = cluster.admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all().get();
        equal(topics.stream().map(ConfigResource::type).collect(Collectors.toSet()), Set.of(ConfigResource.Type.TOPIC), "types when topics are asked for");
    }

    // ---- what one node answers simply

    private void logDirs() throws Exception {
        String name = cluster.topic("on-disk", 2, Map.of());
        try (var producer = cluster.producer()) {
            cluster.send(producer, Records.mixed(name, 100));
        }
        int node = node();
        var folders = cluster.admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node);
        equal(folders.size(), 1, "folders");
        var folder = folders.values().iterator().next();
        equal(folder.error(), null, "error");
        var full = folder.replicaInfos().get(new TopicPartition(name, 0));
        check(full != null && full.size() > 10_000, "size of a partition with a hundred records: " + full);
        equal(List.of(full.offsetLag(), full.isFuture()), List.of(0L, false), "lag, whether it is to come");
        // A broker may not know its volume.
        equal(folder.totalBytes().isPresent(), folder.usableBytes().isPresent(), "whether both sizes of the volume are told");
        check(folder.usableBytes().orElse(0) <= folder.totalBytes().orElse(0), "more is free than there is");
    }

    private void electLeaders() throws Exception {
        String name = cluster.topic("led");
        var at = new TopicPartition(name, 0);
        var nobody = new TopicPartition("java-nobody", 0);
        var told = cluster.admin.electLeaders(ElectionType.PREFERRED, Set.of(at, nobody)).partitions().get();
        equal(told.get(at).map(Throwable::getClass), Optional.of(ElectionNotNeededException.class), "told of a partition that is led");
        equal(told.get(nobody).map(Throwable::getClass), Optional.of(UnknownTopicOrPartitionException.class), "told of one that is not there");
        equal(cluster.admin.electLeaders(ElectionType.UNCLEAN, null).partitions().get(), Map.of(), "told of all");
    }

    private void features() throws Exception {
        var found = cluster.admin.describeFeatures().featureMetadata().get();
        equal(found.finalizedFeatures().get("group.version").maxVersionLevel(), (short) 1, "group.version");
        check(found.finalizedFeatures().containsKey("metadata.version"), "no metadata.version among " + found.finalizedFeatures().keySet());
        check(found.supportedFeatures().keySet().containsAll(found.finalizedFeatures().keySet()), "something is in force that is not supported");
        var same = Map.of("group.version", new FeatureUpdate((short) 1, FeatureUpdate.UpgradeType.UPGRADE));
        cluster.admin.updateFeatures(same, new UpdateFeaturesOptions()).all().get();
        var high = Map.of("group.version", new FeatureUpdate((short) 99, FeatureUpdate.UpgradeType.UPGRADE));
        refused(org.apache.kafka.common.errors.InvalidUpdateVersionException.class, () -> cluster.admin.updateFeatures(high, new UpdateFeaturesOptions()).all().get());
    }

    private void acls() {
        refused(SecurityDisabledException.class, () -> cluster.admin.describeAcls(AclBindingFilter.ANY).values().get());
        refused(SecurityDisabledException.class, () -> cluster.admin.deleteAcls(List.of(AclBindingFilter.ANY)).all().get());
    }

    private void quotas() throws Exception {
        equal(cluster.admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get(), Map.of(), "quotas");
    }
}
