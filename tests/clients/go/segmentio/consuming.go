package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

func consuming() []test {
	return []test{
		{"consume-from-offset-time-and-end", positions},
		{"consume-past-the-end", pastTheEnd},
		{"consume-waits-for-an-append", waits},
	}
}

func filled(ctx context.Context, c *cluster, about string, count int) (string, []kafka.Message, error) {
	topic, err := c.topic(ctx, about, 1)
	if err != nil {
		return "", nil, err
	}
	sent := mixed(count)
	return topic, sent, c.send(ctx, topic, sent, nil)
}

func positions(ctx context.Context, c *cluster) error {
	topic, sent, err := filled(ctx, c, "positions", 200)
	if err != nil {
		return err
	}
	cases := map[int]func(*kafka.Reader) error{
		0:   at(kafka.FirstOffset),
		57:  at(57),
		120: func(reader *kafka.Reader) error { return reader.SetOffsetAt(ctx, time.UnixMilli(startMs+120)) },
	}
	for first, place := range cases {
		read, err := c.read(ctx, topic, 200-first, place)
		if err != nil {
			return err
		}
		if err := same(read, sent[first:]); err != nil {
			return fmt.Errorf("from %d: %w", first, err)
		}
	}
	return nil
}

func pastTheEnd(ctx context.Context, c *cluster) error {
	topic, _, err := filled(ctx, c, "past", 5)
	if err != nil {
		return err
	}
	if _, err = c.read(ctx, topic, 1, at(1000)); !errors.Is(err, kafka.OffsetOutOfRange) {
		return fmt.Errorf("past the end: %v", err)
	}
	return nil
}

func waits(ctx context.Context, c *cluster) error {
	topic, _, err := filled(ctx, c, "waits", 3)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		read, err := c.read(ctx, topic, 1, at(3))
		if err == nil && string(read[0].Value) != "awaited" {
			err = fmt.Errorf("read %q", read[0].Value)
		}
		failed <- err
	}()
	if err := c.send(ctx, topic, []kafka.Message{{Value: []byte("awaited")}}, nil); err != nil {
		return err
	}
	return <-failed
}
