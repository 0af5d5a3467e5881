package highwater.suite;

/**
 * The tests of transactions. Arguments: what their names begin with, broker and level of {@code transaction.version} ({@code kafka-2}),
 * bootstrap address, and a part of a test's name (empty: all tests).
 */
public final class Transactions {
    private Transactions() {}

    public static void main(String[] arguments) throws Exception {
        Tests tests = new Tests(arguments[3]);
        try (Cluster cluster = new Cluster(arguments[2])) {
            new TransactionTests(cluster, arguments[0]).addTo(tests);
            new FencingTests(cluster, arguments[0], arguments[1].endsWith("2"), arguments[1].startsWith("kafka")).addTo(tests);
            new TransactionAdminTests(cluster, arguments[0]).addTo(tests);
            tests.run();
        }
        // A test that hung holds a thread; its verdict is printed already.
        System.exit(0);
    }
}
