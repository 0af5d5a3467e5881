package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	volume = 100_000
	// The largest value of a batch of one record with null key: see SizeTests.java for the sum.
	largestValue = 1_048_588 - 72
)

func producing() []test {
	tests := []test{
		{"produce-acks-all-idempotent", func(ctx context.Context, c *cluster) error {
			return roundTrip(ctx, c, "idempotent", mixed(2000), kgo.MaxBufferedRecords(50))
		}},
		{"produce-acks-1", func(ctx context.Context, c *cluster) error {
			return roundTrip(ctx, c, "acks-1", mixed(500), kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
		}},
		{"produce-acks-0", func(ctx context.Context, c *cluster) error {
			return roundTrip(ctx, c, "acks-0", mixed(500), kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
		}},
		{"record-shapes", shapes},
		{"size-largest-that-fits-and-one-byte-more", largest},
		{"volume-100k-records-in-order", inOrder},
	}
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	for _, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		codec := codecs[name]
		tests = append(tests, test{"produce-compression-" + name, func(ctx context.Context, c *cluster) error {
			return roundTrip(ctx, c, "codec", mixed(1000), kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(20*time.Millisecond))
		}})
	}
	return tests
}

// mixed records: half of them compress well, half not at all.
func mixed(count int) []*kgo.Record {
	records := make([]*kgo.Record, count)
	for i := range records {
		value := bytes.Repeat([]byte("the same words again and again "), 1+i%20)
		if i%2 == 1 {
			value = noise(int64(i), 1+i%700)
		}
		records[i] = &kgo.Record{Key: fmt.Appendf(nil, "key-%d", i), Value: value, Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i))}
	}
	return records
}

func roundTrip(ctx context.Context, c *cluster, about string, records []*kgo.Record, options ...kgo.Opt) error {
	topic, err := c.topic(ctx, about, 1)
	if err != nil {
		return err
	}
	for _, each := range records {
		each.Topic = topic
	}
	if err := c.send(ctx, records, options...); err != nil {
		return err
	}
	read, err := c.read(ctx, topic, kgo.NewOffset().AtStart(), len(records))
	if err != nil {
		return err
	}
	return same(read, records)
}

func shapes(ctx context.Context, c *cluster) error {
	var records []*kgo.Record
	for _, key := range [][]byte{nil, {}, []byte("key")} {
		for _, value := range [][]byte{nil, {}, []byte("value"), noise(1, 300)} {
			records = append(records, &kgo.Record{Key: key, Value: value, Timestamp: time.UnixMilli(1_700_000_000_000), Headers: []kgo.RecordHeader{
				{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}, {Key: "", Value: []byte{}}, {Key: "ключ", Value: noise(2, 1000)},
			}})
		}
	}
	return roundTrip(ctx, c, "shapes", records)
}

func largest(ctx context.Context, c *cluster) error {
	topic, err := c.topic(ctx, "largest", 1)
	if err != nil {
		return err
	}
	// The client is told to send more than the broker takes, so that it is the broker who refuses.
	limits := []kgo.Opt{kgo.ProducerBatchMaxBytes(2_000_000), kgo.ProducerBatchCompression(kgo.NoCompression())}
	over := &kgo.Record{Topic: topic, Value: noise(1, largestValue+1)}
	if err := c.send(ctx, []*kgo.Record{over}, limits...); !errors.Is(err, kerr.MessageTooLarge) {
		return fmt.Errorf("one byte too many: %v", err)
	}
	fits := []*kgo.Record{{Topic: topic, Value: noise(2, largestValue), Timestamp: time.UnixMilli(1_700_000_000_000)}}
	if err := c.send(ctx, fits, limits...); err != nil {
		return err
	}
	read, err := c.read(ctx, topic, kgo.NewOffset().AtStart(), 1)
	if err != nil {
		return err
	}
	return same(read, fits)
}

func inOrder(ctx context.Context, c *cluster) error {
	records := make([]*kgo.Record, volume)
	for i := range records {
		records[i] = &kgo.Record{Value: fmt.Appendf(nil, "%040d", i), Timestamp: time.UnixMilli(1_700_000_000_000)}
	}
	return roundTrip(ctx, c, "volume", records)
}
