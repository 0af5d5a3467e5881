package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"highwater/suite/report"
)

const partitions = 4

func grouping() []test {
	return []test{
		{"group-reads-commits-and-goes-on", goesOn},
		{"group-rebalances-range", rebalances(kafka.RangeGroupBalancer{})},
		{"group-rebalances-roundrobin", rebalances(kafka.RoundRobinGroupBalancer{})},
		{"group-administered", administered},
	}
}

// seen counts how often each value came, whoever read it.
type seen struct {
	lock   sync.Mutex
	values map[string]int
}

func (s *seen) count() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return len(s.values)
}

// member is one reader of a group, which commits each message once it is counted.
type member struct {
	reader *kafka.Reader
	cancel context.CancelFunc
	ended  chan error
}

func (c *cluster) member(group, topic string, seen *seen, balancer kafka.GroupBalancer) *member {
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{c.bootstrap}, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset,
		SessionTimeout: 6 * time.Second, RebalanceTimeout: 10 * time.Second, HeartbeatInterval: 100 * time.Millisecond,
		JoinGroupBackoff: 100 * time.Millisecond, MaxWait: 100 * time.Millisecond, GroupBalancers: []kafka.GroupBalancer{balancer}})
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{reader, cancel, make(chan error, 1)}
	go func() { m.ended <- m.run(ctx, seen) }()
	return m
}

func (m *member) run(ctx context.Context, seen *seen) error {
	for {
		message, err := m.reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		seen.lock.Lock()
		seen.values[string(message.Value)]++
		seen.lock.Unlock()
		// Not with the context that ends it: what was counted is committed.
		if err := m.reader.CommitMessages(context.Background(), message); err != nil {
			return err
		}
	}
}

// close leaves the group.
func (m *member) close() error {
	m.cancel()
	return errors.Join(<-m.ended, m.reader.Close())
}

// spread fills a topic of several partitions.
func (c *cluster) spread(ctx context.Context, topic string, first, count int) error {
	var messages []kafka.Message
	for n := first; n < first+count; n++ {
		messages = append(messages, kafka.Message{Value: fmt.Appendf(nil, "n%d", n)})
	}
	return c.send(ctx, topic, messages, nil)
}

func (c *cluster) grouped(ctx context.Context, about string, count int) (topic, group string, err error) {
	if topic, err = c.topic(ctx, about, partitions); err != nil {
		return "", "", err
	}
	group = topic + "-group"
	// The first group of a cluster has no coordinator for a while, of which the client makes little.
	known := func() (bool, error) {
		_, err := c.committed(ctx, group, topic)
		return err == nil, nil
	}
	return topic, group, errors.Join(report.Eventually(ctx, "a coordinator", known), c.spread(ctx, topic, 0, count))
}

// committed is the group's offset of each partition, in their order.
func (c *cluster) committed(ctx context.Context, group, topic string) ([partitions]int64, error) {
	var found [partitions]int64
	answer, err := c.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0, 1, 2, 3}}})
	if err != nil {
		return found, err
	}
	for _, each := range answer.Topics[topic] {
		if each.Error != nil {
			return found, each.Error
		}
		found[each.Partition] = each.CommittedOffset
	}
	return found, answer.Error
}

func (c *cluster) checkCommitted(ctx context.Context, group, topic string, each int64) error {
	found, err := c.committed(ctx, group, topic)
	if err == nil && found != [partitions]int64{each, each, each, each} {
		err = fmt.Errorf("committed %v, expected %d each", found, each)
	}
	return err
}

func goesOn(ctx context.Context, c *cluster) error {
	topic, group, err := c.grouped(ctx, "goes-on", 40)
	if err != nil {
		return err
	}
	seen := &seen{values: map[string]int{}}
	for total := 40; total <= 80; total += 40 {
		member := c.member(group, topic, seen, kafka.RangeGroupBalancer{})
		failed := report.Eventually(ctx, "all records", func() (bool, error) { return seen.count() == total, nil })
		if err := errors.Join(failed, member.close(), c.checkCommitted(ctx, group, topic, int64(total/partitions))); err != nil {
			return err
		}
		if err := c.spread(ctx, topic, total, 40); err != nil {
			return err
		}
	}
	return once(seen)
}

func once(seen *seen) error {
	seen.lock.Lock()
	defer seen.lock.Unlock()
	for value, times := range seen.values {
		if times != 1 {
			return fmt.Errorf("%s came %d times", value, times)
		}
	}
	return nil
}

// shares is how many partitions each member has, as the coordinator tells.
func (c *cluster) shares(ctx context.Context, group string) (string, []int, error) {
	described, err := c.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return "", nil, err
	}
	var counts []int
	for _, member := range described.Groups[0].Members {
		count := 0
		for _, topic := range member.MemberAssignments.Topics {
			count += len(topic.Partitions)
		}
		counts = append(counts, count)
	}
	return described.Groups[0].GroupState, counts, described.Groups[0].Error
}

func (c *cluster) awaitShares(ctx context.Context, group string, members, each int) error {
	return report.Eventually(ctx, fmt.Sprintf("%d members with %d partitions each", members, each), func() (bool, error) {
		state, counts, err := c.shares(ctx, group)
		if err != nil || state != "Stable" || len(counts) != members {
			return false, err
		}
		for _, count := range counts {
			if count != each {
				return false, nil
			}
		}
		return true, nil
	})
}

func rebalances(balancer kafka.GroupBalancer) func(context.Context, *cluster) error {
	return func(ctx context.Context, c *cluster) error {
		topic, group, err := c.grouped(ctx, "rebalances", 40)
		if err != nil {
			return err
		}
		seen := &seen{values: map[string]int{}}
		first := c.member(group, topic, seen, balancer)
		defer first.cancel()
		all := func(total int) error {
			return report.Eventually(ctx, fmt.Sprintf("%d records", total), func() (bool, error) {
				found, err := c.committed(ctx, group, topic)
				each := int64(total / partitions)
				return seen.count() == total && found == [partitions]int64{each, each, each, each}, err
			})
		}
		if err := all(40); err != nil {
			return err
		}
		second := c.member(group, topic, seen, balancer)
		defer second.cancel()
		if err := c.awaitShares(ctx, group, 2, 2); err != nil {
			return err
		}
		if err := c.spread(ctx, topic, 40, 40); err != nil {
			return err
		}
		if err := all(80); err != nil {
			return err
		}
		if err := second.close(); err != nil {
			return err
		}
		if err := c.awaitShares(ctx, group, 1, partitions); err != nil {
			return err
		}
		return errors.Join(first.close(), once(seen))
	}
}

func administered(ctx context.Context, c *cluster) error {
	topic, group, err := c.grouped(ctx, "administered", 40)
	if err != nil {
		return err
	}
	seen := &seen{values: map[string]int{}}
	only := c.member(group, topic, seen, kafka.RangeGroupBalancer{})
	defer only.cancel()
	if err := errors.Join(c.awaitShares(ctx, group, 1, partitions), c.checkListed(ctx, group, true)); err != nil {
		return err
	}
	remove := &kafka.DeleteGroupsRequest{GroupIDs: []string{group}}
	refused, err := c.client.DeleteGroups(ctx, remove)
	if err != nil || !errors.Is(refused.Errors[group], kafka.NonEmptyGroup) {
		return fmt.Errorf("deleting a group that has members: %+v, %v", refused, err)
	}
	if err := only.close(); err != nil {
		return err
	}
	places := map[string][]kafka.OffsetCommit{topic: nil}
	for partition := range partitions {
		places[topic] = append(places[topic], kafka.OffsetCommit{Partition: partition, Offset: 3})
	}
	set, err := c.client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1, Topics: places})
	if err != nil || set.Topics[topic][0].Error != nil {
		return fmt.Errorf("setting offsets: %+v, %v", set, err)
	}
	if err := c.checkCommitted(ctx, group, topic, 3); err != nil {
		return err
	}
	forgotten, err := c.client.OffsetDelete(ctx, &kafka.OffsetDeleteRequest{GroupID: group, Topics: map[string][]int{topic: {0}}})
	if err != nil || forgotten.Error != nil {
		return fmt.Errorf("deleting an offset: %+v, %v", forgotten, err)
	}
	if left, err := c.committed(ctx, group, topic); err != nil || left != [partitions]int64{-1, 3, 3, 3} {
		return fmt.Errorf("offsets left %v, %v", left, err)
	}
	deleted, err := c.client.DeleteGroups(ctx, remove)
	if err != nil || deleted.Errors[group] != nil {
		return fmt.Errorf("deleting: %+v, %v", deleted, err)
	}
	return c.checkListed(ctx, group, false)
}

func (c *cluster) checkListed(ctx context.Context, group string, expected bool) error {
	listed, err := c.client.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return err
	}
	found := false
	for _, each := range listed.Groups {
		found = found || each.GroupID == group
	}
	if found != expected {
		return fmt.Errorf("the group is listed: %v", found)
	}
	return listed.Error
}
