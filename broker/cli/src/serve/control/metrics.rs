//! What the broker shows of itself as text for Prometheus.
//!
//! The values live in the broker and are looked at when they are asked for: a registry would keep them a second time.

use std::fmt::{Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use highwater::node::{NodeObservation, ObservedLog, ObservedPartition};
use highwater::{NodeId, NodeLife, Observation};

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything, in the text format 0.0.4.
pub(super) fn text(
    observed: &[Observation],
    lives: &[(NodeId, NodeLife)],
    unclean_elections: u64,
    started: SystemTime,
) -> String {
    let mut text = Exposition(String::new());
    process(&mut text, started);
    up(&mut text, lives);
    let help =
        "Leaders that were elected though they may lack what is committed (/nodes tells what is lost).";
    text.family("highwater_unclean_elections_total", Kind::Counter, help);
    text.sample("highwater_unclean_elections_total", &[], unclean_elections);
    connections(&mut text, observed);
    let nodes: Vec<_> = observed.iter().filter_map(|seen| Some((seen.id.0, seen.node.as_ref()?))).collect();
    appended(&mut text, &nodes);
    waiting(&mut text, &nodes);
    replicas(&mut text, &nodes);
    groups(&mut text, &nodes);
    partitions(&mut text, &nodes);
    text.0
}

type Nodes<'a> = [(i32, &'a NodeObservation)];

fn process(text: &mut Exposition, started: SystemTime) {
    let version = env!("CARGO_PKG_VERSION");
    text.family("highwater_build_info", Kind::Gauge, "Which version runs.");
    text.sample("highwater_build_info", &[("version", &version)], 1);
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    text.family("process_start_time_seconds", Kind::Gauge, "When the broker was started, since 1970.");
    text.sample("process_start_time_seconds", &[], started.as_secs_f64());
    if let Some(bytes) = resident_bytes() {
        text.family("process_resident_memory_bytes", Kind::Gauge, "Memory in use, mapped files included.");
        text.sample("process_resident_memory_bytes", &[], bytes);
    }
}

fn up(text: &mut Exposition, lives: &[(NodeId, NodeLife)]) {
    let help = "Whether the node works: 1, or 0 where it is dead, paused or has failed.";
    text.family("highwater_up", Kind::Gauge, help);
    for (id, life) in lives {
        text.sample("highwater_up", &[("node", id)], u8::from(*life == NodeLife::Alive));
    }
}

fn connections(text: &mut Exposition, observed: &[Observation]) {
    let mut family = |name, kind, help, value: fn(&Observation) -> u64| {
        text.family(name, kind, help);
        for seen in observed {
            text.sample(name, &[("node", &seen.id.0)], value(seen));
        }
    };
    family("highwater_connections", Kind::Gauge, "Connections that are open.", |seen| {
        seen.connections as u64
    });
    family("highwater_connections_total", Kind::Counter, "Connections there have been.", |seen| {
        seen.connections_total
    });
    family("highwater_received_bytes_total", Kind::Counter, "Bytes that came over sockets.", |seen| {
        seen.received_bytes
    });
    family("highwater_sent_bytes_total", Kind::Counter, "Bytes that went out over sockets.", |seen| {
        seen.sent_bytes
    });
    text.family("highwater_requests_total", Kind::Counter, "Requests that reached the node, by API.");
    for seen in observed {
        for (api, count) in &seen.requests {
            text.sample("highwater_requests_total", &[("node", &seen.id.0), ("api", api)], count);
        }
    }
}

fn appended(text: &mut Exposition, nodes: &Nodes<'_>) {
    let mut family = |name, help, value: fn(&NodeObservation) -> u64| {
        text.family(name, Kind::Counter, help);
        for (id, node) in nodes {
            text.sample(name, &[("node", id)], value(node));
        }
    };
    family("highwater_appended_batches_total", "Batches written to logs.", |node| node.tally.batches);
    family("highwater_appended_records_total", "Records written to logs.", |node| node.tally.records);
    family("highwater_appended_bytes_total", "Bytes of the batches written to logs, as stored.", |node| {
        node.tally.bytes
    });
    family(
        "highwater_duplicate_batches_total",
        "Batches that a producer sent again and that were not stored again.",
        |node| node.tally.duplicates,
    );
    family("highwater_compactions_total", "Passes of compaction.", |node| node.tally.compactions);
    family("highwater_compacted_bytes_total", "Bytes of segments that compaction replaced.", |node| {
        node.tally.compacted_bytes
    });
    family("highwater_compacted_to_bytes_total", "Bytes of what it put in their place.", |node| {
        node.tally.compacted_to_bytes
    });
}

fn waiting(text: &mut Exposition, nodes: &Nodes<'_>) {
    let mut family = |name, help, value: fn(&NodeObservation) -> u64| {
        text.family(name, Kind::Gauge, help);
        for (id, node) in nodes {
            text.sample(name, &[("node", id)], value(node));
        }
    };
    family("highwater_waiting_produces", "Produces that wait to be durable, or for replicas.", |node| {
        node.parked_produces as u64
    });
    family("highwater_waiting_fetches", "Fetches that wait for records.", |node| node.parked_fetches as u64);
    family("highwater_fetch_sessions", "Incremental fetch sessions that are kept.", |node| {
        node.fetch_sessions as u64
    });
    family("highwater_disk_used_bytes", "What the logs take on disk.", |node| node.used_bytes);
    family("highwater_topics", "Topics, internal ones included.", |node| node.topics.len() as u64);
}

fn replicas(text: &mut Exposition, nodes: &Nodes<'_>) {
    let mut family = |name, help, value: fn(NodeId, &ObservedPartition) -> bool| {
        text.family(name, Kind::Gauge, help);
        for (id, node) in nodes {
            let counted = node.partitions().filter(|partition| value(NodeId(*id), partition));
            text.sample(name, &[("node", id)], counted.count());
        }
    };
    family("highwater_replicas", "Partitions that the node has a replica of.", |_, _| true);
    family("highwater_leaders", "Partitions that the node leads.", |id, held| held.leader == Some(id));
    family("highwater_in_sync_replicas", "Replicas of the node that are in sync.", |id, held| {
        held.in_sync.contains(&id)
    });
    family(
        "highwater_under_replicated_partitions",
        "Partitions that the node leads and not all replicas of which are in sync.",
        |id, held| held.leader == Some(id) && held.in_sync.len() < held.replicas,
    );
    let name = "highwater_leaderless_partitions";
    text.family(name, Kind::Gauge, "Partitions of the cluster that nobody leads, as far as the node knows.");
    for (id, node) in nodes {
        text.sample(name, &[("node", id)], node.leaderless);
    }
}

fn groups(text: &mut Exposition, nodes: &Nodes<'_>) {
    text.family("highwater_groups", Kind::Gauge, "Groups, by protocol and state.");
    for (id, node) in nodes {
        for ((kind, state), count) in &node.groups.by_state {
            text.sample("highwater_groups", &[("node", id), ("protocol", kind), ("state", state)], count);
        }
    }
    let mut family = |name, kind, help, value: fn(&NodeObservation) -> u64| {
        text.family(name, kind, help);
        for (id, node) in nodes {
            text.sample(name, &[("node", id)], value(node));
        }
    };
    family("highwater_group_members", Kind::Gauge, "Members of all groups.", |node| {
        node.groups.members as u64
    });
    family("highwater_group_offsets", Kind::Gauge, "Offsets that are kept for groups.", |node| {
        node.groups.offsets as u64
    });
    family("highwater_group_commits_total", Kind::Counter, "Offsets that groups committed.", |node| {
        node.tally.commits
    });
    family(
        "highwater_group_rebalances_total",
        Kind::Counter,
        "New generations of classic groups, and new targets of groups of the consumer protocol.",
        |node| node.tally.rebalances,
    );
}

fn partitions(text: &mut Exposition, nodes: &Nodes<'_>) {
    text.family(
        "highwater_partition_online",
        Kind::Gauge,
        "Whether the partition takes records: 1, or 0 where its log cannot be opened or written.",
    );
    each_partition(text, nodes, "highwater_partition_online", |log| {
        Some(i64::from(log.is_some_and(|log| !log.is_poisoned)))
    });
    let mut family = |name, help, value: fn(&ObservedLog) -> i64| {
        text.family(name, Kind::Gauge, help);
        each_partition(text, nodes, name, |log| log.map(value));
    };
    family("highwater_partition_log_start_offset", "The first offset that can be read.", |log| {
        log.positions.log_start.get()
    });
    family("highwater_partition_high_watermark", "Behind the last offset that can be read.", |log| {
        log.positions.high_watermark.get()
    });
    family("highwater_partition_log_end_offset", "The offset of the next record.", |log| {
        log.positions.log_end.get()
    });
    family("highwater_partition_leader_epoch", "The leader's epoch.", |log| log.leader_epoch.get().into());
    family("highwater_partition_bytes", "The size of the log's segments.", |log| {
        i64::try_from(log.bytes).unwrap_or(i64::MAX)
    });
    family("highwater_partition_segments", "How many segments the log has.", |log| whole(log.segments));
    family(
        "highwater_partition_uncleanable",
        "Whether the log is left alone by compaction until the next start: 1 where it is damaged.",
        |log| i64::from(log.is_uncleanable),
    );
    family("highwater_partition_producers", "Idempotent producers that are remembered.", |log| {
        whole(log.producers)
    });
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn each_partition(
    text: &mut Exposition,
    nodes: &Nodes<'_>,
    name: &str,
    value: impl Fn(Option<&ObservedLog>) -> Option<i64>,
) {
    for (id, node) in nodes {
        for topic in &node.topics {
            for partition in &topic.partitions {
                let labels: [(&str, &dyn Display); 3] =
                    [("node", id), ("topic", &topic.name), ("partition", &partition.partition)];
                if let Some(value) = value(partition.log.as_ref()) {
                    text.sample(name, &labels, value);
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// Text in the making: a family's head, then its samples. (Writing to a `String` cannot fail.)
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Label values here need no escapes: numbers, versions, names of APIs, and topics, which Kafka restricts to letters,
    /// digits, `.`, `_` and `-`.
    fn sample(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, value)) in labels.iter().enumerate() {
            let opening = if place == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{opening}{label}=\"{value}\"");
        }
        let closing = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{closing} {value}");
    }
}

/// What this process has in memory, where the system tells it.
#[cfg(target_os = "linux")]
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

#[cfg(not(target_os = "linux"))]
fn resident_bytes() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_head_and_its_samples() {
        let mut text = Exposition(String::new());
        text.family("seen_total", Kind::Counter, "Seen so far.");
        text.sample("seen_total", &[("node", &0), ("api", &"Fetch")], 7);
        text.sample("seen_total", &[], 0.5);
        let expected = "# HELP seen_total Seen so far.\n# TYPE seen_total counter\nseen_total{node=\"0\",api=\"Fetch\"} 7\nseen_total 0.5\n";
        assert_eq!(text.0, expected);
    }

    #[tokio::test]
    async fn every_sample_belongs_to_the_family_before_it() {
        let cluster = highwater::Cluster::builder().in_memory().start().await.unwrap();
        let producer = cluster.client().producer().build().await.unwrap();
        producer.send(highwater::client::Record::of("some.topic", "value")).await.unwrap();
        let text = text(&cluster.observe(), &[(NodeId(0), NodeLife::Alive)], 2, UNIX_EPOCH);
        let (mut family, mut seen) = (String::new(), std::collections::BTreeSet::new());
        for line in text.lines() {
            if let Some(head) = line.strip_prefix("# HELP ") {
                family = head.split(' ').next().unwrap().to_owned();
                assert!(seen.insert(family.clone()), "{family} stands twice");
            } else if !line.starts_with("# TYPE ") {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(name, family, "{line}");
                assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
            }
        }
        for line in [
            "process_start_time_seconds 0",
            "highwater_up{node=\"0\"} 1",
            "highwater_unclean_elections_total 2",
            "highwater_requests_total{node=\"0\",api=\"Produce\"} 1",
            "highwater_appended_records_total{node=\"0\"} 1",
            "highwater_leaders{node=\"0\"} 1",
            "highwater_in_sync_replicas{node=\"0\"} 1",
            "highwater_under_replicated_partitions{node=\"0\"} 0",
            "highwater_leaderless_partitions{node=\"0\"} 0",
            "highwater_group_members{node=\"0\"} 0",
            "highwater_group_rebalances_total{node=\"0\"} 0",
            "highwater_partition_online{node=\"0\",topic=\"some.topic\",partition=\"0\"} 1",
            "highwater_partition_log_end_offset{node=\"0\",topic=\"some.topic\",partition=\"0\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
