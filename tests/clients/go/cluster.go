package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// cluster is the broker under test as the tests see it.
type cluster struct {
	bootstrap string
	admin     *kadm.Client
	topics    int
}

func newCluster(bootstrap string) *cluster {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		panic(err)
	}
	return &cluster{bootstrap: bootstrap, admin: kadm.NewClient(client)}
}

func (c *cluster) close() { c.admin.Close() }

// topic makes one under a name no other test uses.
func (c *cluster) topic(ctx context.Context, about string, partitions int32) (string, error) {
	c.topics++
	name := fmt.Sprintf("go-%s-%d", about, c.topics)
	made, err := c.admin.CreateTopic(ctx, partitions, 1, nil, name)
	if err != nil {
		return "", err
	}
	return name, made.Err
}

// send produces all and waits for all; a record then has its offset.
func (c *cluster) send(ctx context.Context, records []*kgo.Record, options ...kgo.Opt) error {
	options = append([]kgo.Opt{kgo.SeedBrokers(c.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner())}, options...)
	producer, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer producer.Close()
	return producer.ProduceSync(ctx, records...).FirstErr()
}

// read gives as many records of one partition, from that offset on.
func (c *cluster) read(ctx context.Context, topic string, from kgo.Offset, count int, options ...kgo.Opt) ([]*kgo.Record, error) {
	options = append([]kgo.Opt{
		kgo.SeedBrokers(c.bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: from}}),
	}, options...)
	consumer, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	var records []*kgo.Record
	for len(records) < count {
		fetched := consumer.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, fmt.Errorf("after %d records of %d: %w", len(records), count, err)
		}
		records = append(records, fetched.Records()...)
	}
	return records, nil
}

// same compares what was read with what was sent, byte for byte.
func same(read, sent []*kgo.Record) error {
	if len(read) != len(sent) {
		return fmt.Errorf("%d records read, %d sent", len(read), len(sent))
	}
	for i := range sent {
		found, expected := read[i], sent[i]
		if !sameBytes(found.Key, expected.Key) || !sameBytes(found.Value, expected.Value) {
			return fmt.Errorf("record %d: key or value differs", i)
		}
		if found.Timestamp.UnixMilli() != expected.Timestamp.UnixMilli() {
			return fmt.Errorf("record %d: time %v, sent %v", i, found.Timestamp, expected.Timestamp)
		}
		if found.Offset != read[0].Offset+int64(i) {
			return fmt.Errorf("record %d: offset %d", i, found.Offset)
		}
		if len(found.Headers) != len(expected.Headers) {
			return fmt.Errorf("record %d: %d headers, sent %d", i, len(found.Headers), len(expected.Headers))
		}
		for h := range expected.Headers {
			if found.Headers[h].Key != expected.Headers[h].Key || !sameBytes(found.Headers[h].Value, expected.Headers[h].Value) {
				return fmt.Errorf("record %d: header %d differs", i, h)
			}
		}
	}
	return nil
}

// sameBytes tells null from empty.
func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func noise(seed int64, size int) []byte {
	content := make([]byte, size)
	rand.New(rand.NewSource(seed)).Read(content)
	return content
}
