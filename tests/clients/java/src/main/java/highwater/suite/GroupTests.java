package highwater.suite;

import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;
import static highwater.suite.Tests.eventually;
import static highwater.suite.Tests.refused;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;

/** Consumers in groups, of either protocol: assignments, rebalances, offsets committed in every way, administration. */
final class GroupTests {
    private static final int PARTITIONS = 4;

    private final Cluster cluster;
    private final String protocol;
    private int groups;

    /** {@code protocol} is "classic" or "consumer". */
    GroupTests(Cluster cluster, String protocol) {
        this.cluster = cluster;
        this.protocol = protocol;
    }

    /** What both protocols have, under names of its own for each. */
    void addTo(Tests tests) {
        if (isClassic()) addClassic(tests);
        String group = isClassic() ? "group-" : "consumer-group-";
        tests.add(group + "one-member-reads-all", this::oneMember);
        tests.add(group + "two-members-share", () -> shared(RangeAssignor.class));
        tests.add(group + "member-leaves-and-its-partitions-move", this::leaves);
        tests.add(group + "five-members-come-and-go", this::fiveMembers);
        tests.add(group + "paused-beyond-the-poll-interval", this::pausedTooLong);
        tests.add(group + "static-member-comes-back", this::staticMember);
        tests.add(group + "subscribed-by-pattern", this::pattern);
        tests.add(group + "other-topics", this::otherTopics);
        tests.add(group + "commit-sync", this::commitSync);
        tests.add(group + "commit-async-in-order", this::commitAsync);
        tests.add(group + "commit-automatic", this::commitAutomatic);
        tests.add(group + "commit-metadata", this::commitMetadata);
        tests.add(group + "no-offset-and-no-reset", this::noReset);
        tests.add(group + "seek-pause-resume", this::seekAndPause);
        tests.add(group + "at-most-once-and-at-least-once", this::onceOrMore);
        tests.add(group + "described-and-listed", this::described);
        tests.add(group + "offsets-altered-and-deleted", this::altered);
        tests.add(group + "deleted", this::deleted);
        if (!isClassic()) {
            tests.add("consumer-group-assignors", this::assignors);
            tests.add("consumer-group-pattern-of-the-broker", this::brokerPattern);
            tests.add("consumer-group-takes-over-and-is-taken-over", this::takenOver);
        }
    }

    private boolean isClassic() {
        return protocol.equals("classic");
    }

    /** What only the classic protocol has, or has so that it does not take its whole session. */
    private void addClassic(Tests tests) {
        tests.add("group-two-members-share-round-robin", () -> shared(RoundRobinAssignor.class));
        tests.add("group-cooperative-keeps-what-stays", this::cooperative);
        tests.add("group-killed-member-is-missed", this::killedMember);
        tests.add("group-static-member-twice-is-fenced", this::staticTwice);
        tests.add("group-commit-after-being-put-out", this::commitTooLate);
        tests.add("group-members-removed", this::membersRemoved);
    }

    // ---- members

    private KafkaConsumer<byte[], byte[]> member(String group, Object... settings) {
        return memberOf(protocol, group, settings);
    }

    private KafkaConsumer<byte[], byte[]> memberOf(String protocol, String group, Object... settings) {
        List<Object> all = new ArrayList<>(List.of("group.id", group, "auto.offset.reset", "earliest", "group.protocol", protocol));
        boolean isClassic = protocol.equals("classic");
        if (isClassic) {
            all.addAll(List.of("session.timeout.ms", 6_000, "heartbeat.interval.ms", 100, "partition.assignment.strategy",
                    RangeAssignor.class.getName()));
        }
        for (int at = 0; at < settings.length; at += 2) {
            // What the broker decides under the other protocol.
            boolean isOfClassic = settings[at].equals("session.timeout.ms") || settings[at].equals("partition.assignment.strategy");
            if (isClassic || !isOfClassic) all.addAll(List.of(settings[at], settings[at + 1]));
        }
        return cluster.consumer(all.toArray());
    }

    private synchronized String group(String about) {
        return "java-group-" + protocol + "-" + about + "-" + groups++;
    }

    /** A topic with {@code count} records, spread over its partitions in turn. */
    private String filled(String about, int count) throws Exception {
        String topic = cluster.topic(about, PARTITIONS, Map.of());
        fill(topic, 0, count);
        return topic;
    }

    private void fill(String topic, int first, int count) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = first; i < first + count; i++) records.add(new ProducerRecord<>(topic, i % PARTITIONS, null, Records.bytes("n" + i)));
        try (var producer = cluster.producer("linger.ms", 5)) {
            cluster.send(producer, records);
        }
    }

    private static Set<Integer> partitions(Collection<TopicPartition> assigned) {
        Set<Integer> found = new TreeSet<>();
        for (TopicPartition each : assigned) found.add(each.partition());
        return found;
    }

    /** Polls all members until each has this many partitions; gives the records that came meanwhile. */
    @SafeVarargs
    private static List<ConsumerRecord<byte[], byte[]>> settle(int[] counts, KafkaConsumer<byte[], byte[]>... members) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (true) {
            boolean settled = true;
            for (int at = 0; at < members.length; at++) {
                members[at].poll(Duration.ofMillis(20)).forEach(records::add);
                settled &= members[at].assignment().size() == counts[at];
            }
            Set<TopicPartition> all = new HashSet<>();
            int sum = 0;
            for (var member : members) {
                all.addAll(member.assignment());
                sum += member.assignment().size();
            }
            if (settled && all.size() == sum) return records;
            check(System.nanoTime() < deadline, "the group did not settle: " + all);
        }
    }

    private static void add(Set<String> values, Iterable<ConsumerRecord<byte[], byte[]>> records) {
        for (var each : records) check(values.add(new String(each.value())), new String(each.value()) + " was delivered twice");
    }

    private static Set<String> numbers(int count) {
        Set<String> all = new HashSet<>();
        for (int i = 0; i < count; i++) all.add("n" + i);
        return all;
    }

    /** What was committed, by partition. */
    private Map<Integer, Long> committed(String group) throws Exception {
        Map<Integer, Long> found = new HashMap<>();
        cluster.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()
                .forEach((at, offset) -> found.put(at.partition(), offset.offset()));
        return found;
    }

    private static void listen(KafkaConsumer<byte[], byte[]> consumer, String topic, List<TopicPartition> revoked, List<TopicPartition> lost) {
        consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                revoked.addAll(partitions);
            }

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}

            @Override
            public void onPartitionsLost(Collection<TopicPartition> partitions) {
                lost.addAll(partitions);
            }
        });
    }

    // ---- assignments

    private void oneMember() throws Exception {
        String topic = filled("one", 200), group = group("one");
        try (var member = member(group)) {
            member.subscribe(List.of(topic));
            Set<String> read = new HashSet<>();
            add(read, Cluster.poll(member, 200));
            equal(read, numbers(200), "records");
            equal(partitions(member.assignment()), Set.of(0, 1, 2, 3), "assignment");
            equal(member.groupMetadata().groupId(), group, "group");
            check(member.groupMetadata().generationId() >= 1, "generation " + member.groupMetadata().generationId());
        }
    }

    private void shared(Class<?> assignor) throws Exception {
        String topic = filled("shared", 100), group = group("shared");
        String name = assignor.getName();
        try (var first = member(group, "partition.assignment.strategy", name); var second = member(group, "partition.assignment.strategy", name)) {
            first.subscribe(List.of(topic));
            Set<String> read = new HashSet<>();
            add(read, Cluster.poll(first, 100));
            equal(read, numbers(100), "records of the first");
            first.commitSync();
            second.subscribe(List.of(topic));
            check(settle(new int[] {2, 2}, first, second).isEmpty(), "records that were committed came again");
            fill(topic, 100, 100);
            Set<Integer> readBySecond = new TreeSet<>();
            while (read.size() < 200) {
                add(read, first.poll(Duration.ofMillis(50)));
                for (var each : second.poll(Duration.ofMillis(50))) {
                    readBySecond.add(each.partition());
                    add(read, List.of(each));
                }
            }
            equal(read, numbers(200), "records of both");
            equal(readBySecond, partitions(second.assignment()), "partitions the second read");
        }
    }

    private void cooperative() throws Exception {
        String topic = filled("cooperative", 40), group = group("cooperative");
        String name = CooperativeStickyAssignor.class.getName();
        List<TopicPartition> revoked = new ArrayList<>(), lost = new ArrayList<>();
        try (var first = member(group, "partition.assignment.strategy", name); var second = member(group, "partition.assignment.strategy", name)) {
            listen(first, topic, revoked, lost);
            Cluster.poll(first, 40);
            first.commitSync();
            Set<TopicPartition> before = new HashSet<>(first.assignment());
            second.subscribe(List.of(topic));
            settle(new int[] {2, 2}, first, second);
            equal(revoked.size(), 2, "partitions revoked of " + before);
            equal(new HashSet<>(revoked), second.assignment(), "partitions that moved");
            check(lost.isEmpty(), "partitions lost: " + lost);
        }
    }

    private void leaves() throws Exception {
        String topic = filled("leaves", 100), group = group("leaves");
        try (var first = member(group)) {
            Set<String> read = new HashSet<>();
            first.subscribe(List.of(topic));
            try (var second = member(group)) {
                second.subscribe(List.of(topic));
                settle(new int[] {2, 2}, first, second);
                first.seekToBeginning(first.assignment());
                second.seekToBeginning(second.assignment());
                while (read.size() < 100) {
                    add(read, first.poll(Duration.ofMillis(50)));
                    add(read, second.poll(Duration.ofMillis(50)));
                }
                first.commitSync();
                second.commitSync();
            }
            // It said so, and nobody waits for its session to end.
            long began = System.nanoTime();
            check(settle(new int[] {4}, first).isEmpty(), "committed records came again");
            check(System.nanoTime() - began < TimeUnit.SECONDS.toNanos(isClassic() ? 5 : 30), "its session had to end first");
            fill(topic, 100, 20);
            add(read, Cluster.poll(first, 20));
            equal(read, numbers(120), "records");
        }
    }

    private void fiveMembers() throws Exception {
        String topic = cluster.topic("five", 10, Map.of()), group = group("five");
        List<KafkaConsumer<byte[], byte[]>> members = new ArrayList<>();
        try {
            for (int count = 1; count <= 5; count++) {
                var next = member(group, "partition.assignment.strategy", CooperativeStickyAssignor.class.getName());
                next.subscribe(List.of(topic));
                members.add(next);
                settleEvenly(members, 10);
            }
            while (members.size() > 1) {
                members.remove(0).close();
                settleEvenly(members, 10);
            }
        } finally {
            members.forEach(KafkaConsumer::close);
        }
    }

    private static void settleEvenly(List<KafkaConsumer<byte[], byte[]>> members, int partitions) {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(40);
        while (true) {
            Set<TopicPartition> all = new HashSet<>();
            boolean even = true;
            for (var each : members) {
                each.poll(Duration.ofMillis(10));
                all.addAll(each.assignment());
                int share = each.assignment().size();
                even &= share == partitions / members.size() || share == (partitions + members.size() - 1) / members.size();
            }
            if (even && all.size() == partitions) return;
            check(System.nanoTime() < deadline, members.size() + " members did not settle");
        }
    }

    private void killedMember() throws Exception {
        String topic = filled("killed", 60), group = group("killed");
        try (var first = member(group)) {
            var second = member(group, "max.poll.interval.ms", 300_000);
            first.subscribe(List.of(topic));
            second.subscribe(List.of(topic));
            settle(new int[] {2, 2}, first, second);
            Set<Integer> its = partitions(second.assignment());
            // It goes without a word: the coordinator has only its silence to go by.
            second.close(org.apache.kafka.clients.consumer.CloseOptions.groupMembershipOperation(
                    org.apache.kafka.clients.consumer.CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP));
            equal(partitions(first.assignment()).size(), 2, "its own");
            settle(new int[] {4}, first);
            check(partitions(first.assignment()).containsAll(its), "what the other had");
        }
    }

    private void pausedTooLong() throws Exception {
        String topic = filled("paused", 40), group = group("paused");
        List<TopicPartition> revoked = new ArrayList<>(), lost = new ArrayList<>();
        try (var first = member(group); var second = member(group, "max.poll.interval.ms", 1_000)) {
            first.subscribe(List.of(topic));
            listen(second, topic, revoked, lost);
            settle(new int[] {2, 2}, first, second);
            settle(new int[] {4}, first);
            // It finds out with its next poll, and comes back.
            settle(new int[] {2, 2}, first, second);
            check(lost.size() + revoked.size() >= 2, "it was not told: lost " + lost + ", revoked " + revoked);
        }
    }

    private void staticMember() throws Exception {
        String topic = filled("static", 40), group = group("static");
        List<TopicPartition> revoked = new ArrayList<>(), lost = new ArrayList<>();
        try (var first = member(group, "group.instance.id", "one", "session.timeout.ms", 30_000)) {
            listen(first, topic, revoked, lost);
            var second = member(group, "group.instance.id", "two", "session.timeout.ms", 30_000);
            second.subscribe(List.of(topic));
            settle(new int[] {2, 2}, first, second);
            Set<Integer> its = partitions(second.assignment());
            int generation = first.groupMetadata().generationId();
            revoked.clear();
            second.close();
            try (var again = member(group, "group.instance.id", "two", "session.timeout.ms", 30_000)) {
                again.subscribe(List.of(topic));
                settle(new int[] {2, 2}, first, again);
                equal(partitions(again.assignment()), its, "what it had");
                if (isClassic()) equal(again.groupMetadata().generationId(), generation, "generation: nobody had to join again");
            }
            check(revoked.isEmpty() && lost.isEmpty(), "the other one lost something");
        }
    }

    private void staticTwice() throws Exception {
        String topic = filled("twice", 40), group = group("twice");
        try (var first = member(group, "group.instance.id", "same"); var second = member(group, "group.instance.id", "same")) {
            first.subscribe(List.of(topic));
            settle(new int[] {4}, first);
            second.subscribe(List.of(topic));
            settle(new int[] {4}, second);
            refused(FencedInstanceIdException.class, () -> {
                while (true) first.poll(Duration.ofMillis(50));
            });
        }
    }

    private void pattern() throws Exception {
        String topic = filled(protocol + "-pattern-of-it", 20), group = group("pattern");
        try (var member = member(group, "metadata.max.age.ms", 500)) {
            member.subscribe(java.util.regex.Pattern.compile("java-" + protocol + "-pattern-of-(it|that)-.*"));
            settle(new int[] {PARTITIONS}, member);
            String later = filled(protocol + "-pattern-of-that", 20);
            settle(new int[] {2 * PARTITIONS}, member);
            Set<String> topics = new HashSet<>();
            member.assignment().forEach(each -> topics.add(each.topic()));
            equal(topics, Set.of(topic, later), "topics");
        }
    }

    private void otherTopics() throws Exception {
        String topic = filled("subscription", 20), other = filled("subscription", 20), group = group("subscription");
        try (var first = member(group); var second = member(group)) {
            first.subscribe(List.of(topic));
            second.subscribe(List.of(topic));
            settle(new int[] {2, 2}, first, second);
            second.subscribe(List.of(topic, other));
            // A range is made for each topic by itself.
            int[] shares = isClassic() ? new int[] {2, 6} : new int[] {4, 4};
            settle(shares, first, second);
            first.subscribe(List.of(other));
            eventually(() -> {
                settle(shares, first, second);
                for (TopicPartition at : first.assignment()) equal(at.topic(), other, "topic of the first");
                return null;
            });
            first.unsubscribe();
            settle(new int[] {8}, second);
        }
    }

    private void assignors() throws Exception {
        String topic = filled("assignors", 40), group = group("assignors");
        try (var first = member(group, "group.remote.assignor", "range"); var second = member(group, "group.remote.assignor", "range")) {
            first.subscribe(List.of(topic));
            second.subscribe(List.of(topic));
            settle(new int[] {2, 2}, first, second);
            check(partitions(first.assignment()).equals(Set.of(0, 1)) || partitions(first.assignment()).equals(Set.of(2, 3)),
                    "a range: " + first.assignment());
            equal(cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group).partitionAssignor(), "range", "assignor");
        }
        try (var member = member(group("assignors"), "group.remote.assignor", "no such one")) {
            member.subscribe(List.of(topic));
            refused(org.apache.kafka.common.errors.UnsupportedAssignorException.class, () -> {
                while (true) member.poll(Duration.ofMillis(50));
            });
        }
    }

    private void brokerPattern() throws Exception {
        String topic = filled("regex-of-it", 20), group = group("regex");
        try (var member = member(group, "metadata.max.age.ms", 500)) {
            member.subscribe(new org.apache.kafka.clients.consumer.SubscriptionPattern("java-regex-of-(it|that)-.*"));
            settle(new int[] {PARTITIONS}, member);
            equal(member.assignment().iterator().next().topic(), topic, "topic");
        }
        try (var member = member(group("regex"))) {
            member.subscribe(new org.apache.kafka.clients.consumer.SubscriptionPattern("(unfinished"));
            refused(org.apache.kafka.common.errors.InvalidRegularExpression.class, () -> {
                while (true) member.poll(Duration.ofMillis(50));
            });
        }
    }

    /** Members of one protocol, and when they have left, of the other. */
    private void takenOver() throws Exception {
        String topic = filled("taken-over", 40), group = group("taken-over");
        long expected = 10;
        for (String protocol : List.of("classic", "consumer", "classic")) {
            try (var member = memberOf(protocol, group)) {
                member.subscribe(List.of(topic));
                var records = Cluster.poll(member, 40);
                for (var each : records) check(each.offset() >= expected - 10, each.offset() + " was committed");
                equal(records.size(), 40, "records since the last commit");
                member.commitSync();
                equal(typeOf(group).toString().toLowerCase(java.util.Locale.ROOT), protocol, "type");
            }
            equal(committed(group), Map.of(0, expected, 1, expected, 2, expected, 3, expected), "committed");
            fill(topic, (int) expected * PARTITIONS, 40);
            expected += 10;
        }
    }

    private org.apache.kafka.common.GroupType typeOf(String group) throws Exception {
        return cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group).type();
    }

    // ---- offsets

    private void commitSync() throws Exception {
        String topic = filled("sync", 40), group = group("sync");
        TopicPartition zero = new TopicPartition(topic, 0), one = new TopicPartition(topic, 1);
        try (var member = member(group)) {
            member.subscribe(List.of(topic));
            Cluster.poll(member, 40);
            member.commitSync(Map.of(zero, new OffsetAndMetadata(4), one, new OffsetAndMetadata(7)));
            var found = member.committed(Set.of(zero, one, new TopicPartition(topic, 2)));
            equal(found.get(zero).offset(), 4L, "partition 0");
            equal(found.get(one).offset(), 7L, "partition 1");
            equal(found.get(new TopicPartition(topic, 2)), null, "partition 2");
            member.commitSync();
        }
        equal(committed(group), Map.of(0, 10L, 1, 10L, 2, 10L, 3, 10L), "after a commit of everything");
        try (var next = member(group)) {
            next.subscribe(List.of(topic));
            settle(new int[] {4}, next);
            fill(topic, 40, 4);
            var records = Cluster.poll(next, 4);
            for (var each : records) equal(each.offset(), 10L, "offset of the first record after what was committed");
        }
    }

    private void commitAsync() throws Exception {
        String topic = filled("async", 40), group = group("async");
        TopicPartition zero = new TopicPartition(topic, 0);
        try (var member = member(group)) {
            member.subscribe(List.of(topic));
            Cluster.poll(member, 40);
            List<Long> told = new ArrayList<>();
            for (long offset = 1; offset <= 9; offset++) {
                member.commitAsync(Map.of(zero, new OffsetAndMetadata(offset)), (offsets, error) -> {
                    if (error != null) throw new AssertionError(error);
                    told.add(offsets.get(zero).offset());
                });
            }
            // A synchronous one comes after all of them.
            member.commitSync(Map.of(new TopicPartition(topic, 1), new OffsetAndMetadata(3)));
            equal(told, List.of(1L, 2L, 3L, 4L, 5L, 6L, 7L, 8L, 9L), "answers in order");
            equal(committed(group), Map.of(0, 9L, 1, 3L), "committed");
        }
    }

    private void commitAutomatic() throws Exception {
        String topic = filled("auto", 40), group = group("auto");
        try (var member = member(group, "enable.auto.commit", true, "auto.commit.interval.ms", 50)) {
            member.subscribe(List.of(topic));
            Cluster.poll(member, 40);
            Map<Integer, Long> all = Map.of(0, 10L, 1, 10L, 2, 10L, 3, 10L);
            eventually(() -> {
                member.poll(Duration.ofMillis(10));
                equal(committed(group), all, "committed by polling");
                return null;
            });
            fill(topic, 40, 4);
            Cluster.poll(member, 4);
        }
        equal(committed(group), Map.of(0, 11L, 1, 11L, 2, 11L, 3, 11L), "committed by closing");
    }

    private void commitTooLate() throws Exception {
        String topic = filled("late", 40), group = group("late");
        try (var first = member(group); var second = member(group, "max.poll.interval.ms", 1_000, "session.timeout.ms", 6_000)) {
            second.subscribe(List.of(topic));
            settle(new int[] {4}, second);
            first.subscribe(List.of(topic));
            settle(new int[] {4}, first);
            refused(CommitFailedException.class,
                    () -> second.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(1))));
        }
    }

    private void commitMetadata() throws Exception {
        String topic = filled("metadata", 40), group = group("metadata");
        TopicPartition zero = new TopicPartition(topic, 0);
        try (var member = member(group)) {
            member.assign(List.of(zero));
            member.commitSync(Map.of(zero, new OffsetAndMetadata(3, Optional.of(0), "schön: 値")));
            OffsetAndMetadata found = member.committed(Set.of(zero)).get(zero);
            equal(found, new OffsetAndMetadata(3, Optional.of(0), "schön: 値"), "what was committed");
            refused(org.apache.kafka.common.errors.OffsetMetadataTooLarge.class,
                    () -> member.commitSync(Map.of(zero, new OffsetAndMetadata(4, "x".repeat(5_000)))));
            equal(member.committed(Set.of(zero)).get(zero).offset(), 3L, "after a refusal");
            equal(Cluster.poll(member, 1).get(0).offset(), 3L, "where it begins");
        }
    }

    private void noReset() throws Exception {
        String topic = filled("none", 40), group = group("none");
        try (var member = member(group, "auto.offset.reset", "none")) {
            member.subscribe(List.of(topic));
            refused(NoOffsetForPartitionException.class, () -> Cluster.poll(member, 1));
        }
        try (var member = member(group, "auto.offset.reset", "latest")) {
            member.subscribe(List.of(topic));
            settle(new int[] {4}, member);
            for (TopicPartition at : member.assignment()) equal(member.position(at), 10L, "position in " + at);
        }
    }

    private void seekAndPause() throws Exception {
        String topic = filled("seek", 80), group = group("seek");
        try (var member = member(group)) {
            member.subscribe(List.of(topic));
            settle(new int[] {4}, member);
            TopicPartition zero = new TopicPartition(topic, 0);
            List<TopicPartition> others = new ArrayList<>(member.assignment());
            others.remove(zero);
            member.pause(others);
            member.seek(zero, 5);
            for (var each : Cluster.poll(member, 15)) equal(each.partition(), 0, "partition while the others pause");
            member.commitSync();
            member.resume(others);
            member.seekToBeginning(others);
            Set<Integer> seen = new TreeSet<>();
            for (var each : Cluster.poll(member, 60)) seen.add(each.partition());
            equal(seen, Set.of(1, 2, 3), "partitions afterwards");
        }
        equal(committed(group).get(0), 20L, "committed of partition 0");
    }

    /** A consumer dies between reading and committing, or between committing and working. */
    private void onceOrMore() throws Exception {
        for (boolean commitsFirst : new boolean[] {true, false}) {
            String topic = filled("once", 200), group = group("once");
            Map<String, Integer> worked = new HashMap<>();
            for (int life = 0; life < 3; life++) {
                var member = member(group, "max.poll.records", 30, "session.timeout.ms", 6_000);
                member.subscribe(List.of(topic));
                int polled = 0;
                while (polled < (life < 2 ? 60 : 400)) {
                    var records = member.poll(Duration.ofMillis(500));
                    if (records.isEmpty() && !member.assignment().isEmpty() && life == 2) break;
                    polled += records.count();
                    boolean dies = life < 2 && polled >= 60;
                    if (commitsFirst) member.commitSync();
                    if (dies) break;
                    for (var each : records) worked.merge(new String(each.value()), 1, Integer::sum);
                    if (!commitsFirst) member.commitSync();
                }
                // Its offsets are those of its last commit; it leaves so that nobody has to wait for its session.
                member.close();
            }
            int most = worked.values().stream().max(Integer::compare).orElse(0);
            if (commitsFirst) {
                equal(most, 1, "at most once: the most often a record was worked on");
                check(worked.size() < 200, "nothing was lost although the consumer died in between");
            } else {
                equal(worked.keySet(), numbers(200), "at least once: records worked on");
            }
        }
    }

    // ---- administration

    private void described() throws Exception {
        String topic = filled("described", 40), group = group("described");
        try (var member = member(group, "client.id", "describer", "group.instance.id", "seat")) {
            member.subscribe(List.of(topic));
            settle(new int[] {4}, member);
            var found = cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            equal(found.groupState(), GroupState.STABLE, "state");
            equal(found.partitionAssignor(), isClassic() ? "range" : "uniform", "assignor");
            equal(found.isSimpleConsumerGroup(), false, "simple");
            var one = found.members().iterator().next();
            equal(found.members().size(), 1, "members");
            equal(List.of(one.clientId(), one.host(), one.groupInstanceId().get()), List.of("describer", "/127.0.0.1", "seat"), "member");
            equal(one.assignment().topicPartitions(), member.assignment(), "its assignment");
            equal(one.consumerId(), member.groupMetadata().memberId(), "its id");
            equal(listed(group), Optional.of(GroupState.STABLE), "listed");
        }
        refused(GroupIdNotFoundException.class, () -> cluster.admin.describeConsumerGroups(List.of("java-group-nobody")).all().get());
        refused(GroupIdNotFoundException.class, () -> cluster.admin.deleteConsumerGroups(List.of("java-group-nobody")).all().get());
        equal(committed("java-group-nobody"), Map.of(), "offsets of nobody");
    }

    private Optional<GroupState> listed(String group) throws Exception {
        for (var each : cluster.admin.listGroups().all().get()) {
            if (each.groupId().equals(group)) return each.groupState();
        }
        return Optional.empty();
    }

    private void altered() throws Exception {
        String topic = filled("altered", 40), group = group("altered");
        TopicPartition zero = new TopicPartition(topic, 0), one = new TopicPartition(topic, 1);
        cluster.admin.alterConsumerGroupOffsets(group, Map.of(zero, new OffsetAndMetadata(3), one, new OffsetAndMetadata(4))).all().get();
        equal(committed(group), Map.of(0, 3L, 1, 4L), "of a group that never had members");
        equal(listed(group), Optional.of(GroupState.EMPTY), "listed");
        try (var member = member(group)) {
            member.subscribe(List.of(topic));
            settle(new int[] {4}, member);
            refused(org.apache.kafka.common.errors.UnknownMemberIdException.class,
                    () -> cluster.admin.alterConsumerGroupOffsets(group, Map.of(zero, new OffsetAndMetadata(9))).all().get());
            refused(GroupSubscribedToTopicException.class,
                    () -> cluster.admin.deleteConsumerGroupOffsets(group, Set.of(zero)).all().get());
        }
        cluster.admin.deleteConsumerGroupOffsets(group, Set.of(zero)).all().get();
        equal(committed(group), Map.of(1, 4L), "after one was deleted");
        var specs = Map.of(group, new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(zero, one)));
        var both = cluster.admin.listConsumerGroupOffsets(specs).partitionsToOffsetAndMetadata(group).get();
        equal(both.get(zero), null, "the deleted one");
    }

    private void deleted() throws Exception {
        String topic = filled("deleted", 40), group = group("deleted");
        try (var member = member(group)) {
            member.subscribe(List.of(topic));
            Cluster.poll(member, 40);
            member.commitSync();
            refused(GroupNotEmptyException.class, () -> cluster.admin.deleteConsumerGroups(List.of(group)).all().get());
        }
        eventually(() -> {
            equal(listed(group), Optional.of(GroupState.EMPTY), "after its member left");
            return null;
        });
        cluster.admin.deleteConsumerGroups(List.of(group)).all().get();
        equal(listed(group), Optional.empty(), "after it was deleted");
        equal(committed(group), Map.of(), "its offsets");
        try (var member = member(group)) {
            member.subscribe(List.of(topic));
            equal(Cluster.poll(member, 40).size(), 40, "records for a group of the same name");
        }
    }

    private void membersRemoved() throws Exception {
        String topic = filled("removed", 40), group = group("removed");
        try (var first = member(group, "group.instance.id", "one"); var second = member(group)) {
            first.subscribe(List.of(topic));
            second.subscribe(List.of(topic));
            settle(new int[] {2, 2}, first, second);
            cluster.admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("one")))).all().get();
            settle(new int[] {4}, second);
            CompletableFuture.runAsync(() -> {
                try {
                    cluster.admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all().get();
                } catch (Exception failed) {
                    throw new RuntimeException(failed);
                }
            }).get(30, TimeUnit.SECONDS);
            equal(cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(), 0, "members left");
        }
    }
}
