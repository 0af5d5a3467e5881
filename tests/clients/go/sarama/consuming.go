package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

func consuming() []test {
	return []test{
		{"consume-from-offset-time-and-end", positions},
		{"consume-past-the-end", pastTheEnd},
		{"consume-waits-for-an-append", waits},
	}
}

func filled(c *cluster, about string, count int) (string, []*sarama.ProducerMessage, error) {
	topic, err := c.topic(about, 1)
	if err != nil {
		return "", nil, err
	}
	sent := mixed(topic, count)
	return topic, sent, c.send(config(), sent)
}

func positions(ctx context.Context, c *cluster) error {
	topic, sent, err := filled(c, "positions", 200)
	if err != nil {
		return err
	}
	asked := map[string]map[int32]int64{topic: {0: startMs + 120}}
	found, err := c.admin.ListOffsets(asked, nil)
	if err != nil {
		return err
	}
	if at := found[topic][0]; !errors.Is(at.Err, sarama.ErrNoError) || at.Offset != 120 {
		return fmt.Errorf("offset by time: %+v", at)
	}
	committed := config()
	committed.Consumer.IsolationLevel = sarama.ReadCommitted
	for _, with := range []*sarama.Config{config(), committed} {
		for _, first := range []int64{0, 57, 120, 199} {
			read, err := c.read(ctx, with, topic, first, 200-int(first))
			if err != nil {
				return err
			}
			if err := same(read, sent[first:]); err != nil {
				return fmt.Errorf("from %d: %w", first, err)
			}
		}
	}
	return nil
}

func pastTheEnd(ctx context.Context, c *cluster) error {
	topic, _, err := filled(c, "past", 5)
	if err != nil {
		return err
	}
	if _, err = c.read(ctx, config(), topic, 1000, 1); !errors.Is(err, sarama.ErrOffsetOutOfRange) {
		return fmt.Errorf("past the end: %v", err)
	}
	return nil
}

func waits(ctx context.Context, c *cluster) error {
	topic, _, err := filled(c, "waits", 3)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		patient := config()
		patient.Consumer.MaxWaitTime = 20 * time.Second
		read, err := c.read(ctx, patient, topic, 3, 1)
		if err == nil && string(read[0].Value) != "awaited" {
			err = fmt.Errorf("read %q", read[0].Value)
		}
		failed <- err
	}()
	if err := c.send(config(), []*sarama.ProducerMessage{{Topic: topic, Value: sarama.StringEncoder("awaited")}}); err != nil {
		return err
	}
	return <-failed
}
