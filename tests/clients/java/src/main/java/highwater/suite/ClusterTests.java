package highwater.suite;

import static highwater.suite.Tests.check;
import static highwater.suite.Tests.equal;

import org.apache.kafka.common.Node;

/** The cluster as an administrator's client describes it. */
final class ClusterTests {
    private final Cluster cluster;

    ClusterTests(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Tests tests) {
        tests.add("describe-cluster", this::describe);
    }

    private void describe() throws Exception {
        var described = cluster.admin.describeCluster();
        var nodes = described.nodes().get();
        equal(nodes.size(), 1, "number of nodes");
        Node node = nodes.iterator().next();
        equal(node.host() + ":" + node.port(), cluster.bootstrap, "the address advertised");
        equal(described.controller().get().idString(), node.idString(), "the controller");
        check(!described.clusterId().get().isBlank(), "no cluster id");
        equal(described.authorizedOperations().get(), null, "operations nobody asked for");
    }
}
