package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

func administrating() []test {
	return []test{
		{"admin-topics", topics},
		{"admin-refusals", refusals},
		{"admin-configs", configs},
		{"admin-records", records},
		{"admin-cluster", describeCluster},
	}
}

func topics(_ context.Context, c *cluster) error {
	name, err := c.topic("life", 3)
	if err != nil {
		return err
	}
	listed, err := c.admin.ListTopics()
	if err != nil {
		return err
	}
	if detail, there := listed[name]; !there || detail.NumPartitions != 3 || detail.ReplicationFactor != 1 {
		return fmt.Errorf("listed as %+v", detail)
	}
	described, err := c.admin.DescribeTopics([]string{name})
	if err != nil {
		return err
	}
	if described[0].Err != sarama.ErrNoError || len(described[0].Partitions) != 3 || described[0].Uuid == (sarama.Uuid{}) {
		return fmt.Errorf("described as %+v", described[0])
	}
	if err := c.admin.DeleteTopic(name); err != nil {
		return err
	}
	if err := c.admin.DeleteTopic(name); !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		return fmt.Errorf("deleted twice: %v", err)
	}
	return nil
}

func refusals(_ context.Context, c *cluster) error {
	name, err := c.topic("twice", 1)
	if err != nil {
		return err
	}
	create := func(name string, replicas int16) error {
		return c.admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: replicas}, false)
	}
	for _, each := range []struct {
		found    error
		expected sarama.KError
	}{
		{create(name, 1), sarama.ErrTopicAlreadyExists},
		{create("two words", 1), sarama.ErrInvalidTopic},
		{create("sarama-replicated", 2), sarama.ErrInvalidReplicationFactor},
	} {
		if !errors.Is(each.found, each.expected) {
			return fmt.Errorf("refused with %v, expected %v", each.found, each.expected)
		}
	}
	return nil
}

func configs(_ context.Context, c *cluster) error {
	name, value := "sarama-configs", "2097152"
	detail := &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: map[string]*string{"segment.bytes": &value}}
	if err := c.admin.CreateTopic(name, detail, false); err != nil {
		return err
	}
	entries, err := c.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: name})
	if err != nil {
		return err
	}
	for _, entry := range entries {
		switch entry.Name {
		case "segment.bytes":
			if entry.Value != value || entry.Source != sarama.SourceTopic {
				return fmt.Errorf("%+v", entry)
			}
			value = ""
		case "compression.type":
			if entry.Value != "producer" || entry.Source != sarama.SourceDefault {
				return fmt.Errorf("%+v", entry)
			}
		}
	}
	if value != "" {
		return fmt.Errorf("segment.bytes is not among %d settings", len(entries))
	}
	return nil
}

func records(ctx context.Context, c *cluster) error {
	topic, sent, err := filled(c, "records", 20)
	if err != nil {
		return err
	}
	if err := c.admin.DeleteRecords(topic, map[int32]int64{0: 15}); err != nil {
		return err
	}
	read, err := c.read(ctx, config(), topic, sarama.OffsetOldest, 5)
	if err != nil {
		return err
	}
	return same(read, sent[15:])
}

func describeCluster(_ context.Context, c *cluster) error {
	brokers, controller, err := c.admin.DescribeCluster()
	if err != nil {
		return err
	}
	if len(brokers) != 1 || brokers[0].Addr() != c.bootstrap || brokers[0].ID() != controller {
		return fmt.Errorf("controller %d, brokers %v", controller, brokers)
	}
	return nil
}
