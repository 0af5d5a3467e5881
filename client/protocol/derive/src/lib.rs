//! Derive macros of the Kafka protocol crate.
