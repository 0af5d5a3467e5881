package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"highwater/suite/report"
)

func administrating() []test {
	return []test{
		{"admin-topics", topics},
		{"admin-more-partitions", morePartitions},
		{"admin-alter-configs", alterConfigs},
		{"admin-log-dirs", logDirs},
		{"admin-offsets", offsets},
		{"admin-cluster", describeCluster},
	}
}

func topics(ctx context.Context, c *cluster) error {
	name, err := c.topic(ctx, "admin", 3)
	if err != nil {
		return err
	}
	if _, err := c.admin.CreateTopic(ctx, 1, 1, nil, name); !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("created twice: %v", err)
	}
	listed, err := c.admin.ListTopics(ctx, name)
	if err != nil {
		return err
	}
	if err := listed.Error(); err != nil || len(listed[name].Partitions) != 3 {
		return fmt.Errorf("%d partitions, %v", len(listed[name].Partitions), err)
	}
	if deleted, err := c.admin.DeleteTopic(ctx, name); err != nil || deleted.Err != nil {
		return fmt.Errorf("deleting: %v %v", err, deleted.Err)
	}
	if _, err := c.admin.DeleteTopic(ctx, name); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("deleted twice: %v", err)
	}
	return nil
}

func morePartitions(ctx context.Context, c *cluster) error {
	name, err := c.topic(ctx, "grows", 1)
	if err != nil {
		return err
	}
	grown, err := c.admin.UpdatePartitions(ctx, 3, name)
	if err != nil || grown[name].Err != nil {
		return fmt.Errorf("growing: %v %v", err, grown[name].Err)
	}
	err = report.Eventually(ctx, "three partitions", func() (bool, error) {
		listed, err := c.admin.ListTopics(ctx, name)
		return err == nil && len(listed[name].Partitions) == 3, err
	})
	if err != nil {
		return err
	}
	if grown, err = c.admin.UpdatePartitions(ctx, 2, name); err != nil || !errors.Is(grown[name].Err, kerr.InvalidPartitions) {
		return fmt.Errorf("fewer partitions: %v %v", err, grown[name].Err)
	}
	return nil
}

func alterConfigs(ctx context.Context, c *cluster) error {
	name, err := c.topic(ctx, "altered", 1)
	if err != nil {
		return err
	}
	value := "2000000"
	for _, each := range []struct {
		change   kadm.AlterConfig
		expected string
	}{
		{kadm.AlterConfig{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &value}, value},
		{kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "max.message.bytes"}, "1048588"},
	} {
		altered, err := c.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{each.change}, name)
		if err != nil || altered[0].Err != nil {
			return fmt.Errorf("altering: %v %v", err, altered)
		}
		err = report.Eventually(ctx, "max.message.bytes "+each.expected, func() (bool, error) {
			described, err := c.admin.DescribeTopicConfigs(ctx, name)
			if err != nil {
				return false, err
			}
			for _, entry := range described[0].Configs {
				if entry.Key == "max.message.bytes" {
					return entry.MaybeValue() == each.expected, nil
				}
			}
			return false, fmt.Errorf("max.message.bytes is not among %d settings", len(described[0].Configs))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func logDirs(ctx context.Context, c *cluster) error {
	name, _, err := filled(ctx, c, "on-disk", 200)
	if err != nil {
		return err
	}
	found, err := c.admin.DescribeAllLogDirs(ctx, kadm.TopicsSet{name: {0: {}}})
	if err != nil {
		return err
	}
	size := int64(0)
	found.Each(func(folder kadm.DescribedLogDir) {
		err = errors.Join(err, folder.Err)
		size += folder.Topics[name][0].Size
	})
	if err != nil || size < 10_000 {
		return fmt.Errorf("%d bytes with two hundred records, %v", size, err)
	}
	return nil
}

func offsets(ctx context.Context, c *cluster) error {
	name, _, err := filled(ctx, c, "offsets", 20)
	if err != nil {
		return err
	}
	starts, err := c.admin.ListStartOffsets(ctx, name)
	if err != nil {
		return err
	}
	ends, err := c.admin.ListEndOffsets(ctx, name)
	if err != nil {
		return err
	}
	after, err := c.admin.ListOffsetsAfterMilli(ctx, 1_700_000_000_007, name)
	if err != nil {
		return err
	}
	start, _ := starts.Lookup(name, 0)
	end, _ := ends.Lookup(name, 0)
	at, _ := after.Lookup(name, 0)
	if start.Offset != 0 || end.Offset != 20 || at.Offset != 7 {
		return fmt.Errorf("start %d, end %d, by time %d", start.Offset, end.Offset, at.Offset)
	}
	return nil
}

func describeCluster(ctx context.Context, c *cluster) error {
	found, err := c.admin.Metadata(ctx)
	if err != nil {
		return err
	}
	if len(found.Brokers) != 1 || found.Cluster == "" || found.Controller != found.Brokers[0].NodeID {
		return fmt.Errorf("cluster %q, controller %d, brokers %v", found.Cluster, found.Controller, found.Brokers)
	}
	if address := fmt.Sprintf("%s:%d", found.Brokers[0].Host, found.Brokers[0].Port); address != c.bootstrap {
		return fmt.Errorf("advertised %s, expected %s", address, c.bootstrap)
	}
	versions, err := c.admin.ApiVersions(ctx)
	if err != nil {
		return err
	}
	return versions.Sorted()[0].Err
}
