package highwater.suite;

import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;
import static highwater.suite.Tests.eventually;
import static highwater.suite.Tests.refused;
import static highwater.suite.TransactionalCluster.COMMITTED;
import static highwater.suite.TransactionalCluster.UNCOMMITTED;
import static highwater.suite.TransactionalCluster.committed;
import static highwater.suite.TransactionalCluster.send;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TransactionalIdNotFoundException;

/** What an administrator asks of transactions, and does about them. */
final class TransactionAdminTests {
    private final TransactionalCluster side;
    private final String prefix;

    TransactionAdminTests(Cluster cluster, String prefix) {
        this.side = new TransactionalCluster(cluster);
        this.prefix = prefix;
    }

    void addTo(Tests tests) {
        tests.add(prefix + "admin-describes", this::describes);
        tests.add(prefix + "admin-lists", this::lists);
        tests.add(prefix + "admin-describes-producers", this::producers);
        tests.add(prefix + "admin-aborts", this::aborts);
        tests.add(prefix + "admin-fences", this::fences);
    }

    private TransactionDescription described(String id) throws Exception {
        return side.cluster.admin.describeTransactions(List.of(id)).description(id).get();
    }

    private TransactionDescription inState(String id, TransactionState state) throws Exception {
        return eventually(() -> {
            var found = described(id);
            equal(found.state(), state, "state of " + id);
            return found;
        });
    }

    private void describes() throws Exception {
        String topic = side.topic("txn-described", 2);
        String id = side.cluster.freshName("id");
        refused(TransactionalIdNotFoundException.class, () -> described(id));
        try (var producer = side.producerOf(id)) {
            producer.initTransactions();
            var empty = described(id);
            equal(empty.state(), TransactionState.EMPTY, "state");
            equal(empty.transactionTimeoutMs(), 30_000L, "its time limit");
            check(empty.transactionStartTimeMs().isEmpty(), "nothing has begun: " + empty);
            equal(empty.topicPartitions(), Set.of(), "partitions");
            producer.beginTransaction();
            long before = System.currentTimeMillis();
            send(producer, topic, 1, "x").get();
            var ongoing = described(id);
            equal(ongoing.state(), TransactionState.ONGOING, "state");
            equal(ongoing.topicPartitions(), Set.of(new TopicPartition(topic, 1)), "partitions");
            long began = ongoing.transactionStartTimeMs().orElse(-1);
            check(before - 1_000 < began && began <= System.currentTimeMillis() + 1_000, "it began at " + began + ", written after " + before);
            equal(ongoing.producerId(), empty.producerId(), "producer id");
            producer.commitTransaction();
            var complete = inState(id, TransactionState.COMPLETE_COMMIT);
            equal(complete.topicPartitions(), Set.of(), "partitions");
        }
    }

    private Set<String> listed(ListTransactionsOptions options) throws Exception {
        return side.cluster.admin.listTransactions(options).all().get().stream().map(TransactionListing::transactionalId).collect(Collectors.toSet());
    }

    private void lists() throws Exception {
        String topic = side.topic("txn-listed", 1);
        String about = side.cluster.freshName("listed");
        try (var empty = side.producerOf(about + "-empty"); var ongoing = side.producerOf(about + "-ongoing"); var complete = side.producerOf(about + "-complete")) {
            for (var each : List.of(empty, ongoing, complete)) each.initTransactions();
            ongoing.beginTransaction();
            send(ongoing, topic, 0, "x").get();
            committed(complete, topic, 0, "y");
            inState(about + "-complete", TransactionState.COMPLETE_COMMIT);
            var all = Set.of(about + "-empty", about + "-ongoing", about + "-complete");
            check(listed(new ListTransactionsOptions()).containsAll(all), "of these some are not listed");
            var pattern = new ListTransactionsOptions().filterOnTransactionalIdPattern(about + "-.*");
            equal(listed(pattern), all, "by pattern");
            equal(listed(new ListTransactionsOptions().filterOnTransactionalIdPattern("x" + about)), Set.of(), "by another pattern");
            for (var each : Map.of("-empty", TransactionState.EMPTY, "-ongoing", TransactionState.ONGOING, "-complete", TransactionState.COMPLETE_COMMIT).entrySet()) {
                var options = new ListTransactionsOptions().filterOnTransactionalIdPattern(about + ".*").filterStates(Set.of(each.getValue()));
                equal(listed(options), Set.of(about + each.getKey()), "in state " + each.getValue());
            }
            long producer = described(about + "-empty").producerId();
            equal(listed(new ListTransactionsOptions().filterProducerIds(Set.of(producer))), Set.of(about + "-empty"), "by producer id");
            // What never began counts as having begun long ago.
            equal(listed(new ListTransactionsOptions().filterOnTransactionalIdPattern(about + ".*").filterOnDuration(3_600_000)), Set.of(about + "-empty"), "running for an hour");
            eventually(() -> {
                equal(listed(new ListTransactionsOptions().filterOnTransactionalIdPattern(about + ".*").filterOnDuration(5)), all, "running for 5 ms");
                return null;
            });
            ongoing.abortTransaction();
        }
    }

    private void producers() throws Exception {
        String topic = side.topic("txn-producers", 1);
        String id = side.cluster.freshName("id");
        TopicPartition at = new TopicPartition(topic, 0);
        try (var producer = side.producerOf(id); var plain = side.cluster.producer()) {
            producer.initTransactions();
            producer.beginTransaction();
            send(plain, topic, 0, "plain").get();
            send(producer, topic, 0, "a").get();
            send(producer, topic, 0, "b").get();
            long own = described(id).producerId();
            var active = side.cluster.admin.describeProducers(List.of(at)).partitionResult(at).get().activeProducers();
            equal(active.size(), 2, "producers");
            var state = active.stream().filter(each -> each.producerId() == own).findFirst().orElseThrow();
            equal(state.currentTransactionStartOffset().orElse(-1), 1L, "where its transaction begins");
            equal(state.lastSequence(), 1, "its last sequence");
            producer.abortTransaction();
            inState(id, TransactionState.COMPLETE_ABORT);
            active = side.cluster.admin.describeProducers(List.of(at)).partitionResult(at).get().activeProducers();
            check(active.stream().allMatch(each -> each.currentTransactionStartOffset().isEmpty()), "a transaction is still open: " + active);
        }
    }

    private void aborts() throws Exception {
        String topic = side.topic("txn-aborted", 1);
        TopicPartition at = new TopicPartition(topic, 0);
        try (var producer = side.ready(); var other = side.ready()) {
            producer.beginTransaction();
            send(producer, topic, 0, "hanging").get();
            committed(other, topic, 0, "held back");
            equal(side.end(topic, COMMITTED), 0L, "the end of what is committed");
            var state = side.cluster.admin.describeProducers(List.of(at)).partitionResult(at).get().activeProducers().stream()
                    .filter(each -> each.currentTransactionStartOffset().isPresent()).findFirst().orElseThrow();
            int coordinatorEpoch = Math.max(state.coordinatorEpoch().orElse(0), 0);
            side.cluster.admin.abortTransaction(new AbortTransactionSpec(at, state.producerId(), (short) state.producerEpoch(), coordinatorEpoch)).all().get();
            equal(side.read(topic, COMMITTED), Map.of(0, List.of("held back")), "committed");
            equal(side.end(topic, COMMITTED), side.end(topic, UNCOMMITTED), "the end of what is committed");
            producer.close(java.time.Duration.ZERO);
        }
    }

    private void fences() throws Exception {
        String topic = side.topic("txn-fences", 1);
        String id = side.cluster.freshName("id");
        try (var producer = side.producerOf(id)) {
            producer.initTransactions();
            committed(producer, topic, 0, "seen");
            producer.beginTransaction();
            send(producer, topic, 0, "never seen").get();
            var fenced = side.cluster.admin.fenceProducers(List.of(id));
            fenced.all().get();
            check(fenced.producerId(id).get() >= 0 && fenced.epochId(id).get() > 0, "what it says of the producer");
            refused(ProducerFencedException.class, producer::commitTransaction);
            producer.close(java.time.Duration.ZERO);
        }
        equal(side.read(topic, COMMITTED), Map.of(0, List.of("seen")), "committed");
    }
}
