package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"highwater/suite/report"
)

func administrating() []test {
	return []test{
		{"admin-topics", topics},
		{"admin-refusals", refusals},
		{"admin-configs", configs},
		{"admin-more-partitions", morePartitions},
		{"admin-alter-configs", alterConfigs},
		{"admin-offsets", offsets},
		{"admin-cluster", describeCluster},
	}
}

func topics(ctx context.Context, c *cluster) error {
	name, err := c.topic(ctx, "life", 3)
	if err != nil {
		return err
	}
	found, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{name}})
	if err != nil {
		return err
	}
	if topic := found.Topics[0]; topic.Error != nil || len(topic.Partitions) != 3 || len(topic.Partitions[0].Replicas) != 1 {
		return fmt.Errorf("described as %+v", topic)
	}
	remove := &kafka.DeleteTopicsRequest{Topics: []string{name}}
	deleted, err := c.client.DeleteTopics(ctx, remove)
	if err != nil || deleted.Errors[name] != nil {
		return fmt.Errorf("deleting: %+v, %v", deleted, err)
	}
	if deleted, err = c.client.DeleteTopics(ctx, remove); err != nil || !errors.Is(deleted.Errors[name], kafka.UnknownTopicOrPartition) {
		return fmt.Errorf("deleted twice: %+v, %v", deleted, err)
	}
	return nil
}

func refusals(ctx context.Context, c *cluster) error {
	name, err := c.topic(ctx, "twice", 1)
	if err != nil {
		return err
	}
	cases := map[string]struct {
		replicas int
		expected kafka.Error
	}{
		name:                   {1, kafka.TopicAlreadyExists},
		"two words":            {1, kafka.InvalidTopic},
		"segmentio-replicated": {2, kafka.InvalidReplicationFactor},
	}
	for topic, each := range cases {
		made, err := c.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
			Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 1, ReplicationFactor: each.replicas}}})
		if err != nil || !errors.Is(made.Errors[topic], each.expected) {
			return fmt.Errorf("%s: %+v, %v; expected %v", topic, made, err, each.expected)
		}
	}
	return nil
}

func configs(ctx context.Context, c *cluster) error {
	name, err := c.topic(ctx, "configs", 1)
	if err != nil {
		return err
	}
	return c.checkSetting(ctx, name, "compression.type", "producer")
}

func (c *cluster) checkSetting(ctx context.Context, topic, name, value string) error {
	found, err := c.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{name}}}})
	if err != nil {
		return err
	}
	entries := found.Resources[0].ConfigEntries
	if len(entries) != 1 || entries[0].ConfigName != name || entries[0].ConfigValue != value {
		return fmt.Errorf("settings %+v, expected %s", entries, value)
	}
	return nil
}

func alterConfigs(ctx context.Context, c *cluster) error {
	name, err := c.topic(ctx, "altered", 1)
	if err != nil {
		return err
	}
	alter := func(setting, value string) error {
		told, err := c.client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
			Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: name,
				Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: setting, Value: value, ConfigOperation: kafka.ConfigOperationSet}}}}})
		if err != nil {
			return err
		}
		return told.Resources[0].Error
	}
	if err := alter("max.message.bytes", "2000000"); err != nil {
		return err
	}
	err = report.Eventually(ctx, "the new setting", func() (bool, error) {
		return c.checkSetting(ctx, name, "max.message.bytes", "2000000") == nil, nil
	})
	if err != nil {
		return err
	}
	if err := alter("no.such.setting", "1"); !errors.Is(err, kafka.InvalidConfiguration) {
		return fmt.Errorf("a setting nobody knows: %v", err)
	}
	return nil
}

func morePartitions(ctx context.Context, c *cluster) error {
	name, err := c.topic(ctx, "grows", 1)
	if err != nil {
		return err
	}
	grow := func(count int32) error {
		told, err := c.client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: name, Count: count}}})
		if err != nil {
			return err
		}
		return told.Errors[name]
	}
	if err := grow(3); err != nil {
		return err
	}
	err = report.Eventually(ctx, "three partitions", func() (bool, error) {
		found, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{name}})
		return err == nil && len(found.Topics[0].Partitions) == 3, err
	})
	if err != nil {
		return err
	}
	if err := grow(2); !errors.Is(err, kafka.InvalidPartitionNumber) {
		return fmt.Errorf("fewer partitions: %v", err)
	}
	return nil
}

func offsets(ctx context.Context, c *cluster) error {
	topic, _, err := filled(ctx, c, "offsets", 20)
	if err != nil {
		return err
	}
	byTime := kafka.TimeOffsetOf(0, time.UnixMilli(startMs+7))
	found, err := c.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		topic: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0), byTime}}})
	if err != nil {
		return err
	}
	one := found.Topics[topic][0]
	if _, there := one.Offsets[7]; one.Error != nil || one.FirstOffset != 0 || one.LastOffset != 20 || !there {
		return fmt.Errorf("offsets %+v", one)
	}
	return nil
}

func describeCluster(ctx context.Context, c *cluster) error {
	found, err := c.client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return err
	}
	if len(found.Brokers) != 1 || fmt.Sprintf("%s:%d", found.Brokers[0].Host, found.Brokers[0].Port) != c.bootstrap {
		return fmt.Errorf("brokers %+v", found.Brokers)
	}
	if found.ClusterID == "" || found.Controller.ID != found.Brokers[0].ID {
		return fmt.Errorf("cluster %q, controller %+v", found.ClusterID, found.Controller)
	}
	versions, err := c.client.ApiVersions(ctx, &kafka.ApiVersionsRequest{})
	if err != nil {
		return err
	}
	return versions.Error
}
