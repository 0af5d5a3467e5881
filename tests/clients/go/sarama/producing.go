package main

import (
	"context"
	"fmt"

	"github.com/IBM/sarama"
)

func producing() []test {
	tests := []test{
		{"produce-idempotent", idempotent},
		{"produce-acks-1", func(ctx context.Context, c *cluster) error {
			config := config()
			config.Producer.RequiredAcks = sarama.WaitForLocal
			return roundTrip(ctx, c, "acks-1", config)
		}},
		{"produce-too-large-is-refused", tooLarge},
	}
	for _, codec := range []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy,
		sarama.CompressionLZ4, sarama.CompressionZSTD} {
		tests = append(tests, test{"produce-compression-" + codec.String(), func(ctx context.Context, c *cluster) error {
			config := config()
			config.Producer.Compression = codec
			return roundTrip(ctx, c, "codec", config)
		}})
	}
	return tests
}

func roundTrip(ctx context.Context, c *cluster, about string, config *sarama.Config) error {
	topic, err := c.topic(about, 1)
	if err != nil {
		return err
	}
	sent := mixed(topic, 1000)
	if err := c.send(config, sent); err != nil {
		return err
	}
	read, err := c.read(ctx, config, topic, sarama.OffsetOldest, len(sent))
	if err != nil {
		return err
	}
	return same(read, sent)
}

func idempotent(ctx context.Context, c *cluster) error {
	config := config()
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	// Many small batches, each with its sequence.
	config.Producer.Flush.MaxMessages = 10
	return roundTrip(ctx, c, "idempotent", config)
}

func tooLarge(_ context.Context, c *cluster) error {
	topic, err := c.topic("large", 1)
	if err != nil {
		return err
	}
	config := config()
	config.Producer.MaxMessageBytes = 4 << 20
	err = c.send(config, []*sarama.ProducerMessage{{Topic: topic, Value: sarama.ByteEncoder(make([]byte, 2<<20))}})
	failed, ok := err.(sarama.ProducerErrors)
	if !ok || len(failed) != 1 || failed[0].Err != sarama.ErrMessageSizeTooLarge {
		return fmt.Errorf("2 MiB in a message: %v", err)
	}
	return nil
}
