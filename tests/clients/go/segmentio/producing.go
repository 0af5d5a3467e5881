package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
)

func producing() []test {
	tests := []test{
		{"produce-acks-1", func(ctx context.Context, c *cluster) error {
			return roundTrip(ctx, c, "acks-1", func(writer *kafka.Writer) { writer.RequiredAcks = kafka.RequireOne })
		}},
		{"produce-small-batches", func(ctx context.Context, c *cluster) error {
			return roundTrip(ctx, c, "batches", func(writer *kafka.Writer) { writer.BatchSize = 7 })
		}},
		{"produce-to-nowhere-is-refused", nowhere},
	}
	codecs := map[string]kafka.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}
	for _, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		tests = append(tests, test{"produce-compression-" + name, func(ctx context.Context, c *cluster) error {
			return roundTrip(ctx, c, "codec", func(writer *kafka.Writer) { writer.Compression = codecs[name] })
		}})
	}
	return tests
}

func roundTrip(ctx context.Context, c *cluster, about string, change func(*kafka.Writer)) error {
	topic, err := c.topic(ctx, about, 1)
	if err != nil {
		return err
	}
	sent := mixed(500)
	if err := c.send(ctx, topic, sent, change); err != nil {
		return err
	}
	read, err := c.read(ctx, topic, len(sent), at(kafka.FirstOffset))
	if err != nil {
		return err
	}
	return same(read, sent)
}

func nowhere(ctx context.Context, c *cluster) error {
	once := func(writer *kafka.Writer) { writer.MaxAttempts = 1 }
	if err := c.send(ctx, "segmentio-nowhere", mixed(1), once); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		return fmt.Errorf("a topic that is not there: %v", err)
	}
	return nil
}
