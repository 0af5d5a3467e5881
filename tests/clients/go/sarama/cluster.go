package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"time"

	"github.com/IBM/sarama"
)

const startMs = 1_700_000_000_000

// cluster is the broker under test as the tests see it.
type cluster struct {
	bootstrap string
	admin     sarama.ClusterAdmin
	topics    int
}

func newCluster(bootstrap string) *cluster {
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, config())
	if err != nil {
		panic(err)
	}
	return &cluster{bootstrap: bootstrap, admin: admin}
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Consumer.Return.Errors = true
	return config
}

// topic makes one under a name no other test uses.
func (c *cluster) topic(about string, partitions int32) (string, error) {
	c.topics++
	name := fmt.Sprintf("sarama-%s-%d", about, c.topics)
	return name, c.admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false)
}

// send produces all and waits for all; a message then has its offset.
func (c *cluster) send(config *sarama.Config, messages []*sarama.ProducerMessage) error {
	producer, err := sarama.NewSyncProducer([]string{c.bootstrap}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	return producer.SendMessages(messages)
}

// read gives as many messages of one partition, from that offset on.
func (c *cluster) read(ctx context.Context, config *sarama.Config, topic string, offset int64, count int) ([]*sarama.ConsumerMessage, error) {
	consumer, err := sarama.NewConsumer([]string{c.bootstrap}, config)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, offset)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	var messages []*sarama.ConsumerMessage
	for len(messages) < count {
		select {
		case message := <-partition.Messages():
			messages = append(messages, message)
		case err := <-partition.Errors():
			return nil, err
		case <-ctx.Done():
			return nil, fmt.Errorf("after %d messages of %d: %w", len(messages), count, ctx.Err())
		}
	}
	return messages, nil
}

// mixed records: half of them compress well, half not at all; null keys, null values and headers among them.
func mixed(topic string, count int) []*sarama.ProducerMessage {
	messages := make([]*sarama.ProducerMessage, count)
	for i := range messages {
		message := &sarama.ProducerMessage{Topic: topic, Timestamp: time.UnixMilli(startMs + int64(i))}
		if i%5 != 0 {
			message.Key = sarama.StringEncoder(fmt.Sprintf("key-%d", i))
		}
		switch {
		case i%7 == 0:
		case i%2 == 0:
			message.Value = sarama.ByteEncoder(bytes.Repeat([]byte("the same words again and again "), 1+i%20))
		default:
			noise := make([]byte, 1+i%700)
			rand.New(rand.NewSource(int64(i))).Read(noise)
			message.Value = sarama.ByteEncoder(noise)
		}
		for header := range i % 3 {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: fmt.Appendf(nil, "h%d", header), Value: fmt.Appendf(nil, "%d", i)})
		}
		messages[i] = message
	}
	return messages
}

// same compares what was read with what was sent, byte for byte.
func same(read []*sarama.ConsumerMessage, sent []*sarama.ProducerMessage) error {
	if len(read) != len(sent) {
		return fmt.Errorf("%d messages read, %d sent", len(read), len(sent))
	}
	for i, expected := range sent {
		found := read[i]
		if err := sameBytes(found.Key, expected.Key); err != nil {
			return fmt.Errorf("key of message %d: %w", i, err)
		}
		if err := sameBytes(found.Value, expected.Value); err != nil {
			return fmt.Errorf("value of message %d: %w", i, err)
		}
		if found.Offset != expected.Offset || found.Timestamp.UnixMilli() != expected.Timestamp.UnixMilli() {
			return fmt.Errorf("message %d at offset %d and time %v, told %d and %v", i, found.Offset, found.Timestamp, expected.Offset, expected.Timestamp)
		}
		if len(found.Headers) != len(expected.Headers) {
			return fmt.Errorf("message %d: %d headers, sent %d", i, len(found.Headers), len(expected.Headers))
		}
		for h, header := range expected.Headers {
			if !bytes.Equal(found.Headers[h].Key, header.Key) || !bytes.Equal(found.Headers[h].Value, header.Value) {
				return fmt.Errorf("message %d: header %d differs", i, h)
			}
		}
	}
	return nil
}

// sameBytes tells null from empty.
func sameBytes(found []byte, expected sarama.Encoder) error {
	if expected == nil {
		if found != nil {
			return fmt.Errorf("%d bytes for null", len(found))
		}
		return nil
	}
	sent, err := expected.Encode()
	if err == nil && (found == nil || !bytes.Equal(found, sent)) {
		return fmt.Errorf("%d bytes differ from the %d that were sent", len(found), len(sent))
	}
	return err
}
