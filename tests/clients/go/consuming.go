package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func consuming() []test {
	return []test{
		{"consume-from-start-offset-time-and-end", positions},
		{"consume-past-the-end", pastTheEnd},
		{"consume-small-fetches", smallFetches},
		{"consume-waits-for-an-append", waits},
	}
}

func filled(ctx context.Context, c *cluster, about string, count int) (string, []*kgo.Record, error) {
	topic, err := c.topic(ctx, about, 1)
	if err != nil {
		return "", nil, err
	}
	records := mixed(count)
	for _, each := range records {
		each.Topic = topic
	}
	return topic, records, c.send(ctx, records, kgo.ProducerBatchMaxBytes(10_000))
}

func positions(ctx context.Context, c *cluster) error {
	topic, sent, err := filled(ctx, c, "positions", 200)
	if err != nil {
		return err
	}
	cases := map[int]kgo.Offset{
		0:   kgo.NewOffset().AtStart(),
		57:  kgo.NewOffset().At(57),
		120: kgo.NewOffset().AfterMilli(1_700_000_000_120),
		190: kgo.NewOffset().AtEnd().Relative(-10),
	}
	for first, from := range cases {
		read, err := c.read(ctx, topic, from, 200-first)
		if err != nil {
			return err
		}
		if err := same(read, sent[first:]); err != nil {
			return fmt.Errorf("from %d: %w", first, err)
		}
	}
	_, err = c.read(ctx, topic, kgo.NewOffset().At(100), 100, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	return err
}

func pastTheEnd(ctx context.Context, c *cluster) error {
	topic, _, err := filled(ctx, c, "past", 5)
	if err != nil {
		return err
	}
	_, err = c.read(ctx, topic, kgo.NewOffset().At(1000), 1, kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if !errors.Is(err, kerr.OffsetOutOfRange) {
		return fmt.Errorf("past the end: %v", err)
	}
	return nil
}

func smallFetches(ctx context.Context, c *cluster) error {
	topic, sent, err := filled(ctx, c, "small", 300)
	if err != nil {
		return err
	}
	read, err := c.read(ctx, topic, kgo.NewOffset().AtStart(), 300, kgo.FetchMaxPartitionBytes(100))
	if err != nil {
		return err
	}
	return same(read, sent)
}

func waits(ctx context.Context, c *cluster) error {
	topic, _, err := filled(ctx, c, "waits", 3)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		read, err := c.read(ctx, topic, kgo.NewOffset().At(3), 1, kgo.FetchMaxWait(20*time.Second))
		if err == nil && string(read[0].Value) != "awaited" {
			err = fmt.Errorf("read %q", read[0].Value)
		}
		failed <- err
	}()
	if err := c.send(ctx, []*kgo.Record{{Topic: topic, Value: []byte("awaited")}}); err != nil {
		return err
	}
	return <-failed
}
