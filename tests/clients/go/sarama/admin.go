package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"highwater/suite/report"
)

func administrating() []test {
	return []test{
		{"admin-topics", topics},
		{"admin-refusals", refusals},
		{"admin-configs", configs},
		{"admin-more-partitions", morePartitions},
		{"admin-alter-configs", alterConfigs},
		{"admin-log-dirs", logDirs},
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

func configs(ctx context.Context, c *cluster) error {
	name, value := "sarama-configs", "2097152"
	detail := &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: map[string]*string{"segment.bytes": &value}}
	if err := c.admin.CreateTopic(name, detail, false); err != nil {
		return err
	}
	// The settings of a topic may be known a little later than the topic.
	var err error
	failed := report.Eventually(ctx, "the settings", func() (bool, error) {
		err = errors.Join(c.checkSetting(name, "segment.bytes", value, sarama.SourceTopic),
			c.checkSetting(name, "compression.type", "producer", sarama.SourceDefault))
		return err == nil, nil
	})
	return errors.Join(failed, err)
}

func (c *cluster) checkSetting(topic, name, value string, source sarama.ConfigSource) error {
	entries, err := c.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name == name {
			if entry.Value != value || entry.Source != source {
				return fmt.Errorf("%+v, expected %s of source %v", entry, value, source)
			}
			return nil
		}
	}
	return fmt.Errorf("%s is not among %d settings", name, len(entries))
}

func alterConfigs(ctx context.Context, c *cluster) error {
	name, err := c.topic("altered", 1)
	if err != nil {
		return err
	}
	value := "2000000"
	for _, expected := range []struct {
		entry  sarama.IncrementalAlterConfigsEntry
		value  string
		source sarama.ConfigSource
	}{
		{sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}, value, sarama.SourceTopic},
		{sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationDelete}, "1048588", sarama.SourceDefault},
	} {
		entries := map[string]sarama.IncrementalAlterConfigsEntry{"max.message.bytes": expected.entry}
		if err := c.admin.IncrementalAlterConfig(sarama.TopicResource, name, entries, false); err != nil {
			return err
		}
		err := report.Eventually(ctx, "max.message.bytes "+expected.value, func() (bool, error) {
			return c.checkSetting(name, "max.message.bytes", expected.value, expected.source) == nil, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func morePartitions(ctx context.Context, c *cluster) error {
	name, err := c.topic("grows", 1)
	if err != nil {
		return err
	}
	if err := c.admin.CreatePartitions(name, 3, nil, false); err != nil {
		return err
	}
	err = report.Eventually(ctx, "three partitions", func() (bool, error) {
		described, err := c.admin.DescribeTopics([]string{name})
		return err == nil && len(described[0].Partitions) == 3, err
	})
	if err != nil {
		return err
	}
	if err := c.admin.CreatePartitions(name, 2, nil, false); !errors.Is(err, sarama.ErrInvalidPartitions) {
		return fmt.Errorf("fewer partitions: %v", err)
	}
	return nil
}

func logDirs(_ context.Context, c *cluster) error {
	topic, _, err := filled(c, "on-disk", 200)
	if err != nil {
		return err
	}
	_, node, err := c.admin.DescribeCluster()
	if err != nil {
		return err
	}
	found, err := c.admin.DescribeLogDirs([]int32{node})
	if err != nil {
		return err
	}
	for _, each := range found[node][0].Topics {
		if each.Topic == topic && each.Partitions[0].Size > 10_000 && each.Partitions[0].OffsetLag == 0 {
			return nil
		}
	}
	return fmt.Errorf("not as it should be: %+v", found[node])
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
