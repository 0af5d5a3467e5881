package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

func administrating() []test {
	return []test{
		{"admin-topics", topics},
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
