package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

const startMs = 1_700_000_000_000

// cluster is the broker under test as the tests see it.
type cluster struct {
	bootstrap string
	client    *kafka.Client
	topics    int
}

func newCluster(bootstrap string) *cluster {
	return &cluster{bootstrap: bootstrap, client: &kafka.Client{Addr: kafka.TCP(bootstrap), Timeout: 30 * time.Second}}
}

// topic makes one under a name no other test uses.
func (c *cluster) topic(ctx context.Context, about string, partitions int) (string, error) {
	c.topics++
	name := fmt.Sprintf("segmentio-%s-%d", about, c.topics)
	made, err := c.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}}})
	if err != nil {
		return "", err
	}
	return name, made.Errors[name]
}

// send writes all; each lies in the partition that the number behind its value's first letter leaves.
func (c *cluster) send(ctx context.Context, topic string, messages []kafka.Message, change func(*kafka.Writer)) error {
	writer := &kafka.Writer{Addr: kafka.TCP(c.bootstrap), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: 10 * time.Millisecond,
		Balancer: kafka.BalancerFunc(func(message kafka.Message, partitions ...int) int {
			number, _ := strconv.Atoi(string(bytes.TrimLeft(message.Value, "n")))
			return partitions[number%len(partitions)]
		})}
	if change != nil {
		change(writer)
	}
	defer writer.Close()
	return writer.WriteMessages(ctx, messages...)
}

// read gives as many messages of one partition, from where place puts the reader.
func (c *cluster) read(ctx context.Context, topic string, count int, place func(*kafka.Reader) error) ([]kafka.Message, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{c.bootstrap}, Topic: topic, MaxWait: 200 * time.Millisecond, OffsetOutOfRangeError: true})
	defer reader.Close()
	if err := place(reader); err != nil {
		return nil, err
	}
	var messages []kafka.Message
	for len(messages) < count {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return nil, fmt.Errorf("after %d messages of %d: %w", len(messages), count, err)
		}
		messages = append(messages, message)
	}
	return messages, nil
}

func at(offset int64) func(*kafka.Reader) error {
	return func(reader *kafka.Reader) error { return reader.SetOffset(offset) }
}

// mixed records: half of them compress well, half not at all; keys and headers among them.
func mixed(count int) []kafka.Message {
	messages := make([]kafka.Message, count)
	for i := range messages {
		message := kafka.Message{Time: time.UnixMilli(startMs + int64(i))}
		if i%5 != 0 {
			message.Key = fmt.Appendf(nil, "key-%d", i)
		}
		switch {
		case i%7 == 0:
		case i%2 == 0:
			message.Value = bytes.Repeat([]byte("the same words again and again "), 1+i%20)
		default:
			message.Value = make([]byte, 1+i%700)
			rand.New(rand.NewSource(int64(i))).Read(message.Value)
		}
		for header := range i % 3 {
			message.Headers = append(message.Headers, kafka.Header{Key: fmt.Sprintf("h%d", header), Value: fmt.Appendf(nil, "%d", i)})
		}
		messages[i] = message
	}
	return messages
}

// same compares what was read with what was sent, byte for byte. (The client does not tell null from empty.)
func same(read, sent []kafka.Message) error {
	if len(read) != len(sent) {
		return fmt.Errorf("%d messages read, %d sent", len(read), len(sent))
	}
	for i, expected := range sent {
		found := read[i]
		if !bytes.Equal(found.Key, expected.Key) || !bytes.Equal(found.Value, expected.Value) {
			return fmt.Errorf("message %d: key or value differs", i)
		}
		if found.Offset != read[0].Offset+int64(i) || found.Time.UnixMilli() != expected.Time.UnixMilli() {
			return fmt.Errorf("message %d at offset %d and time %v", i, found.Offset, found.Time)
		}
		if len(found.Headers) != len(expected.Headers) {
			return fmt.Errorf("message %d: %d headers, sent %d", i, len(found.Headers), len(expected.Headers))
		}
		for h, header := range expected.Headers {
			if found.Headers[h].Key != header.Key || !bytes.Equal(found.Headers[h].Value, header.Value) {
				return fmt.Errorf("message %d: header %d differs", i, h)
			}
		}
	}
	return nil
}
