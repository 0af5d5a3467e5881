package highwater.suite;

import static highwater.suite.Tests.equal;
import static highwater.suite.Tests.eventually;
import static highwater.suite.TransactionalCluster.COMMITTED;
import static highwater.suite.TransactionalCluster.UNCOMMITTED;
import static highwater.suite.TransactionalCluster.committed;
import static highwater.suite.TransactionalCluster.send;

import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.producer.KafkaProducer;

/** A second instance with the same id, and transactions that take too long: who is told what, and what readers see. */
final class FencingTests {
    private static final int SHORT_MS = 300;

    private final TransactionalCluster side;
    private final String prefix;
    /** Whether the coordinator speaks the second part of KIP-890, as this client does. */
    private final boolean isNew;
    /** Who commits what the coordinator has aborted is told by 4.3.1 that the state is another; later ones say it is fenced (KAFKA-20785). */
    private final boolean isKafka;

    FencingTests(Cluster cluster, String prefix, boolean isNew, boolean isKafka) {
        this.isNew = isNew;
        this.isKafka = isKafka;
        this.side = new TransactionalCluster(cluster);
        this.prefix = prefix;
    }

    void addTo(Tests tests) {
        tests.add(prefix + "fenced-while-idle", () -> whileIdle(isNew ? REFUSED : FENCED));
        tests.add(prefix + "fenced-in-the-middle-commits", () -> inTheMiddle(COMMITS, FENCED));
        tests.add(prefix + "fenced-in-the-middle-aborts", () -> inTheMiddle(ABORTS, FENCED));
        tests.add(prefix + "fenced-in-the-middle-sends", () -> inTheMiddle(SENDS, REFUSED));
        tests.add(prefix + "fenced-in-the-middle-sends-elsewhere", () -> inTheMiddle(SENDS_ELSEWHERE, isNew ? REFUSED : FENCED));
        // With KIP-890 one that was too slow may go on, unless it would commit.
        tests.add(prefix + "timed-out-commits", () -> tooSlow(COMMITS, isNew && isKafka ? DECIDED : FENCED));
        tests.add(prefix + "timed-out-aborts", () -> tooSlow(ABORTS, isNew ? GOES_ON : FENCED));
        tests.add(prefix + "timed-out-sends", () -> tooSlow(SENDS, isNew ? GOES_ON_AFTER_ABORT : REFUSED));
        tests.add(prefix + "timed-out-sends-elsewhere", () -> tooSlow(SENDS_ELSEWHERE, isNew ? GOES_ON_AFTER_ABORT : FENCED));
    }

    // What each step of a story is told; the stories have up to four.
    private static final List<String> FENCED = Collections.nCopies(4, "ProducerFencedException");
    private static final List<String> REFUSED = List.of("InvalidProducerEpochException", "InvalidProducerEpochException", "ProducerFencedException",
            "ProducerFencedException");
    private static final List<String> DECIDED = List.of("InvalidTxnStateException", "KafkaException < InvalidTxnStateException");
    private static final List<String> GOES_ON = List.of("nothing", "nothing");
    private static final List<String> GOES_ON_AFTER_ABORT = List.of("InvalidProducerEpochException", "InvalidProducerEpochException", "nothing", "nothing");

    /** The class of what a call throws, through an ExecutionException; its causes by name. */
    private static String thrown(Tests.Body call) {
        try {
            call.run();
            return "nothing";
        } catch (ExecutionException wrapped) {
            return name(wrapped.getCause());
        } catch (Exception error) {
            return name(error);
        }
    }

    private static String name(Throwable error) {
        String own = error.getClass().getSimpleName();
        return error.getCause() == null ? own : own + " < " + name(error.getCause());
    }

    private void ends(String topic, String... values) throws Exception {
        eventually(() -> {
            equal(side.end(topic, COMMITTED), side.end(topic, UNCOMMITTED), "the end of what is committed");
            return null;
        });
        equal(side.read(topic, COMMITTED).get(0), List.of(values), "committed");
    }

    private static void checkTold(List<String> found, List<String> expected) {
        equal(found, expected.subList(0, found.size()), "what it is told");
    }

    /** What the first does once it is too late; gives what it was told. */
    private interface Story {
        List<String> tell(KafkaProducer<byte[], byte[]> first, String topic) throws Exception;
    }

    private static final Story COMMITS = (first, topic) -> List.of(thrown(first::commitTransaction), thrown(first::beginTransaction));
    private static final Story ABORTS = (first, topic) -> List.of(thrown(first::abortTransaction), thrown(() -> committed(first, topic, 0, "goes on")));
    private static final Story SENDS = (first, topic) -> sends(first, topic, 0);
    private static final Story SENDS_ELSEWHERE = (first, topic) -> sends(first, topic, 1);

    private static List<String> sends(KafkaProducer<byte[], byte[]> first, String topic, int partition) {
        return List.of(thrown(() -> send(first, topic, partition, "never seen").get()), thrown(first::commitTransaction), thrown(first::abortTransaction),
                thrown(() -> committed(first, topic, 0, "goes on")));
    }

    /** The first has nothing open when the second comes. */
    private void whileIdle(List<String> expected) throws Exception {
        String topic = side.topic("txn-fenced", 1);
        String id = side.cluster.freshName("id");
        try (var first = side.producerOf(id); var second = side.producerOf(id)) {
            first.initTransactions();
            committed(first, topic, 0, "before");
            second.initTransactions();
            first.beginTransaction();
            checkTold(SENDS.tell(first, topic), expected);
            committed(second, topic, 0, "after");
            first.close(Duration.ZERO);
        }
        ends(topic, "before", "after");
    }

    /** The first has a transaction open when the second comes. */
    private void inTheMiddle(Story story, List<String> expected) throws Exception {
        String topic = side.topic("txn-fenced", 2);
        String id = side.cluster.freshName("id");
        try (var first = side.producerOf(id); var second = side.producerOf(id)) {
            first.initTransactions();
            first.beginTransaction();
            send(first, topic, 0, "of the first").get();
            second.initTransactions();
            // That it may write at all says that the first one's is aborted.
            equal(side.end(topic, COMMITTED), 2L, "the end of what is committed, once the second is ready");
            checkTold(story.tell(first, topic), expected);
            committed(second, topic, 0, "of the second");
            eventually(() -> {
                equal(side.read(topic, COMMITTED), Map.of(0, List.of("of the second"), 1, List.of()), "committed");
                return null;
            });
            first.close(Duration.ZERO);
        }
    }

    private void tooSlow(Story story, List<String> expected) throws Exception {
        String topic = side.topic("txn-slow", 2);
        String id = side.cluster.freshName("id");
        try (var producer = side.producerOf(id, "transaction.timeout.ms", SHORT_MS)) {
            producer.initTransactions();
            producer.beginTransaction();
            send(producer, topic, 0, "never seen").get();
            eventually(() -> {
                var found = side.cluster.admin.describeTransactions(List.of(id)).description(id).get();
                equal(found.state(), TransactionState.COMPLETE_ABORT, "the state");
                return null;
            });
            equal(side.end(topic, COMMITTED), 2L, "the end of what is committed");
            checkTold(story.tell(producer, topic), expected);
            producer.close(Duration.ZERO);
        }
        try (var next = side.producerOf(id)) {
            next.initTransactions();
            committed(next, topic, 0, "of the next");
        }
        ends(topic, expected.get(expected.size() - 1).equals("nothing") ? new String[] {"goes on", "of the next"} : new String[] {"of the next"});
    }
}
