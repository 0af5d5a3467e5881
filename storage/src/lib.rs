//! Kafka's segmented log.
