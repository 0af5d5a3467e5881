//! A cluster that listens, in memory or in a folder that outlives it.

use std::net::SocketAddr;

use highwater::{Cluster, ClusterBuilder};
use tempfile::TempDir;

use crate::connection::Connection;

/// A cluster with its listener.
pub struct Server {
    /// The cluster.
    pub cluster: Cluster,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts a cluster and lets it listen.
    pub async fn start(builder: ClusterBuilder) -> Self {
        let cluster = builder.start().await.unwrap();
        let address = cluster.listen("127.0.0.1:0").await.unwrap();
        Self { cluster, address }
    }

    /// A cluster in memory with Kafka's defaults.
    pub async fn in_memory() -> Self {
        Self::start(Cluster::builder().in_memory()).await
    }

    /// A cluster in memory with these settings.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::start(
            settings.iter().fold(Cluster::builder(), |builder, (name, value)| builder.set(name, value)),
        )
        .await
    }

    /// Connects to it.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// A connection, and a topic of one partition.
    pub async fn connect_with_topic(&self, topic: &str) -> Connection {
        let mut connection = self.connect().await;
        connection.create_topic(topic, 1, &[]).await;
        connection
    }

    /// Ends it in good order.
    pub async fn stop(self) {
        self.cluster.stop().await.unwrap();
    }

    /// Ends it as a crash of the process would.
    pub fn kill(self) {
        drop(self.cluster);
    }
}

/// A folder in which one cluster after the other lives.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
}

impl Default for Home {
    fn default() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }
}

impl Home {
    /// Starts the next cluster in the folder.
    pub async fn start(&self) -> Server {
        Server::start(self.builder()).await
    }

    /// A cluster to be, in this folder.
    pub fn builder(&self) -> ClusterBuilder {
        Cluster::builder().folder(self.path())
    }

    /// The folder.
    pub fn path(&self) -> &std::path::Path {
        self.folder.path()
    }
}
