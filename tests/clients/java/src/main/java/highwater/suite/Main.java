package highwater.suite;

/** Arguments: bootstrap address, and a part of a test's name (empty: all tests). */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws Exception {
        Tests tests = new Tests(arguments.length > 1 ? arguments[1] : "");
        try (Cluster cluster = new Cluster(arguments[0])) {
            new ClusterTests(cluster).addTo(tests);
            new TopicTests(cluster).addTo(tests);
            new ProduceTests(cluster).addTo(tests);
            new RecordTests(cluster).addTo(tests);
            new SizeTests(cluster).addTo(tests);
            new ConsumeTests(cluster).addTo(tests);
            new OffsetTests(cluster).addTo(tests);
            new GroupTests(cluster, "classic").addTo(tests);
            new GroupTests(cluster, "consumer").addTo(tests);
            new AdminTests(cluster).addTo(tests);
            new MigrationTests(cluster).addTo(tests);
            new InterfaceTests(cluster).addTo(tests);
            new VolumeTests(cluster).addTo(tests);
            tests.run();
        }
        // A test that hung holds a thread; its verdict is printed already.
        System.exit(0);
    }
}
