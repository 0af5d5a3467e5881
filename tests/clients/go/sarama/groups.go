package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"highwater/suite/report"
)

const partitions = 4

func grouping() []test {
	return []test{
		{"group-reads-commits-and-goes-on", goesOn},
		{"group-rebalances-range", rebalances(sarama.NewBalanceStrategyRange())},
		{"group-rebalances-roundrobin", rebalances(sarama.NewBalanceStrategyRoundRobin())},
		{"group-rebalances-sticky", rebalances(sarama.NewBalanceStrategySticky())},
		{"group-static-member-removed", removed},
		{"group-administered", administered},
	}
}

// member is one consumer of a group, which marks what it read and commits by itself.
type member struct {
	group  sarama.ConsumerGroup
	ended  chan error
	cancel context.CancelFunc

	lock     sync.Mutex
	assigned int
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

func (c *cluster) member(group, topic string, seen *seen, change func(*sarama.Config)) (*member, error) {
	config := config()
	config.Consumer.Return.Errors = false
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 50 * time.Millisecond
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 100 * time.Millisecond
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	if change != nil {
		change(config)
	}
	joined, err := sarama.NewConsumerGroup([]string{c.bootstrap}, group, config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{group: joined, ended: make(chan error, 1), cancel: cancel}
	go func() {
		for ctx.Err() == nil {
			if err := joined.Consume(ctx, []string{topic}, handler{m, seen}); err != nil && ctx.Err() == nil {
				m.ended <- err
				return
			}
		}
		m.ended <- nil
	}()
	return m, nil
}

// close leaves the group.
func (m *member) close() error {
	m.cancel()
	return errors.Join(<-m.ended, m.group.Close())
}

func (m *member) has(count int) bool {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.assigned == count
}

type handler struct {
	member *member
	seen   *seen
}

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	h.member.lock.Lock()
	defer h.member.lock.Unlock()
	h.member.assigned = 0
	for _, claimed := range session.Claims() {
		h.member.assigned += len(claimed)
	}
	return nil
}

func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			h.seen.lock.Lock()
			h.seen.values[string(message.Value)]++
			h.seen.lock.Unlock()
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

// spread fills a topic of several partitions.
func (c *cluster) spread(topic string, first, count int) error {
	var messages []*sarama.ProducerMessage
	for n := first; n < first+count; n++ {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Partition: int32(n % partitions), Value: sarama.StringEncoder(fmt.Sprintf("n%d", n))})
	}
	return c.send(config(), messages)
}

func (c *cluster) grouped(about string, count int) (topic, group string, err error) {
	if topic, err = c.topic(about, partitions); err != nil {
		return "", "", err
	}
	return topic, topic + "-group", c.spread(topic, 0, count)
}

// committed is whether the group has read so much of each partition.
func (c *cluster) committed(group, topic string, each int64) (bool, error) {
	answer, err := c.admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1, 2, 3}})
	if err != nil {
		return false, err
	}
	for partition := range int32(partitions) {
		block := answer.GetBlock(topic, partition)
		if block == nil || block.Err != sarama.ErrNoError {
			return false, fmt.Errorf("offset of partition %d: %+v", partition, block)
		}
		if block.Offset != each {
			return false, nil
		}
	}
	return true, nil
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

func goesOn(ctx context.Context, c *cluster) error {
	topic, group, err := c.grouped("goes-on", 100)
	if err != nil {
		return err
	}
	seen := &seen{values: map[string]int{}}
	for total := 100; total <= 200; total += 100 {
		member, err := c.member(group, topic, seen, nil)
		if err != nil {
			return err
		}
		failed := report.Eventually(ctx, "all records", func() (bool, error) { return seen.count() == total, nil })
		if err := errors.Join(failed, member.close()); err != nil {
			return err
		}
		// Closing commits what was marked.
		if all, err := c.committed(group, topic, int64(total/partitions)); err != nil || !all {
			return fmt.Errorf("committed short of %d: %v", total, err)
		}
		if err := c.spread(topic, total, 100); err != nil {
			return err
		}
	}
	return once(seen)
}

func rebalances(strategy sarama.BalanceStrategy) func(context.Context, *cluster) error {
	return func(ctx context.Context, c *cluster) error {
		topic, group, err := c.grouped("rebalances", 100)
		if err != nil {
			return err
		}
		with := func(config *sarama.Config) {
			config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
		}
		seen := &seen{values: map[string]int{}}
		first, err := c.member(group, topic, seen, with)
		if err != nil {
			return err
		}
		await := func(what string, holds func() bool) error {
			return report.Eventually(ctx, what, func() (bool, error) { return holds(), nil })
		}
		defer first.group.Close()
		if err := await("all records alone", func() bool { return seen.count() == 100 && first.has(partitions) }); err != nil {
			return err
		}
		second, err := c.member(group, topic, seen, with)
		if err != nil {
			return err
		}
		defer second.group.Close()
		if err := await("a half each", func() bool { return first.has(2) && second.has(2) }); err != nil {
			return err
		}
		if err := c.spread(topic, 100, 100); err != nil {
			return err
		}
		if err := await("all records of both", func() bool { return seen.count() == 200 }); err != nil {
			return err
		}
		if err := second.close(); err != nil {
			return err
		}
		if err := await("all partitions again", func() bool { return first.has(partitions) }); err != nil {
			return err
		}
		if err := first.close(); err != nil {
			return err
		}
		if all, err := c.committed(group, topic, 200/partitions); err != nil || !all {
			return fmt.Errorf("committed short of the end: %v", err)
		}
		return once(seen)
	}
}

func removed(ctx context.Context, c *cluster) error {
	topic, group, err := c.grouped("removed", 4)
	if err != nil {
		return err
	}
	seen := &seen{values: map[string]int{}}
	only, err := c.member(group, topic, seen, func(config *sarama.Config) { config.Consumer.Group.InstanceId = "seat" })
	if err != nil {
		return err
	}
	failed := report.Eventually(ctx, "an assignment", func() (bool, error) { return only.has(partitions), nil })
	if err := errors.Join(failed, only.close()); err != nil {
		return err
	}
	// A static member keeps its seat though it is gone.
	state, members, err := c.state(group)
	if err != nil || state != "Stable" || members != 1 {
		return fmt.Errorf("state %s of %d members, %v", state, members, err)
	}
	answer, err := c.admin.RemoveMemberFromConsumerGroup(group, []string{"seat"})
	if err != nil || answer.Err != sarama.ErrNoError {
		return fmt.Errorf("removing the seat: %+v, %v", answer, err)
	}
	if state, members, err = c.state(group); err != nil || state != "Empty" || members != 0 {
		return fmt.Errorf("state %s of %d members, %v", state, members, err)
	}
	return nil
}

func (c *cluster) state(group string) (string, int, error) {
	described, err := c.admin.DescribeConsumerGroups([]string{group})
	if err != nil {
		return "", 0, err
	}
	if described[0].Err != sarama.ErrNoError {
		return "", 0, described[0].Err
	}
	return described[0].State, len(described[0].Members), nil
}

func administered(ctx context.Context, c *cluster) error {
	topic, group, err := c.grouped("administered", 40)
	if err != nil {
		return err
	}
	seen := &seen{values: map[string]int{}}
	only, err := c.member(group, topic, seen, nil)
	if err != nil {
		return err
	}
	defer only.group.Close()
	if err := report.Eventually(ctx, "all records", func() (bool, error) { return seen.count() == 40, nil }); err != nil {
		return err
	}
	listed, err := c.admin.ListConsumerGroups()
	if err != nil || listed[group] != "consumer" {
		return fmt.Errorf("listed as %q, %v", listed[group], err)
	}
	described, err := c.admin.DescribeConsumerGroups([]string{group})
	if err != nil {
		return err
	}
	if described[0].State != "Stable" || described[0].Protocol != "range" || len(described[0].Members) != 1 {
		return fmt.Errorf("described as %+v", described[0])
	}
	for _, one := range described[0].Members {
		assignment, err := one.GetMemberAssignment()
		if err != nil || len(assignment.Topics[topic]) != partitions {
			return fmt.Errorf("assignment %+v, %v", assignment, err)
		}
	}
	if err := c.admin.DeleteConsumerGroup(group); !errors.Is(err, sarama.ErrNonEmptyGroup) {
		return fmt.Errorf("deleting a group that has members: %v", err)
	}
	if err := only.close(); err != nil {
		return err
	}
	places := map[string]map[int32]sarama.OffsetAndMetadata{topic: {}}
	for partition := range int32(partitions) {
		places[topic][partition] = sarama.OffsetAndMetadata{Offset: 3, LeaderEpoch: -1}
	}
	if _, err := c.admin.AlterConsumerGroupOffsets(group, places, nil); err != nil {
		return err
	}
	if all, err := c.committed(group, topic, 3); err != nil || !all {
		return fmt.Errorf("offsets were not altered: %v", err)
	}
	if err := c.admin.DeleteConsumerGroupOffset(group, topic, 0); err != nil {
		return err
	}
	left, err := c.admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1}})
	if err != nil || left.GetBlock(topic, 0).Offset != -1 || left.GetBlock(topic, 1).Offset != 3 {
		return fmt.Errorf("after one offset was deleted: %+v, %v", left, err)
	}
	if err := c.admin.DeleteConsumerGroup(group); err != nil {
		return err
	}
	if listed, err = c.admin.ListConsumerGroups(); err != nil || listed[group] != "" {
		return fmt.Errorf("deleted, and listed as %q, %v", listed[group], err)
	}
	return nil
}
