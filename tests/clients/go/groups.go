package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 4

func grouping() []test {
	return []test{
		{"group-one-member-reads-all", oneMember},
		{"group-two-members-share", shares(kgo.RangeBalancer())},
		{"group-two-members-share-cooperatively", shares(kgo.CooperativeStickyBalancer())},
		{"group-member-that-says-nothing-is-missed", missed},
		{"group-static-member-comes-back", static},
		{"group-commits", commits},
		{"group-commits-by-itself", commitsByItself},
		{"group-subscribed-by-pattern", byPattern},
		{"group-administered", groupAdministered},
	}
}

// member joins a group; options come after the usual ones.
func (c *cluster) member(group, topic string, options ...kgo.Opt) (*kgo.Client, error) {
	usual := []kgo.Opt{
		kgo.SeedBrokers(c.bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(100 * time.Millisecond),
		kgo.Balancers(kgo.RangeBalancer()),
	}
	return kgo.NewClient(append(usual, options...)...)
}

// spread makes a topic of several partitions with as many records.
func spread(ctx context.Context, c *cluster, about string, count int) (string, string, error) {
	topic, err := c.topic(ctx, about, partitions)
	if err != nil {
		return "", "", err
	}
	return topic, topic + "-group", c.spreadMore(ctx, topic, 0, count)
}

func (c *cluster) spreadMore(ctx context.Context, topic string, first, count int) error {
	var records []*kgo.Record
	for n := first; n < first+count; n++ {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(n % partitions), Value: fmt.Appendf(nil, "n%d", n)})
	}
	return c.send(ctx, records)
}

// gather polls all members until done says so; a record that comes twice is an error.
func gather(ctx context.Context, seen map[string]int32, done func() bool, members ...*kgo.Client) error {
	for !done() {
		if ctx.Err() != nil {
			return fmt.Errorf("%d records: %w", len(seen), ctx.Err())
		}
		for _, member := range members {
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			fetched := member.PollFetches(short)
			cancel()
			for _, failed := range fetched.Errors() {
				if !errors.Is(failed.Err, context.DeadlineExceeded) {
					return failed.Err
				}
			}
			for _, record := range fetched.Records() {
				if _, twice := seen[string(record.Value)]; twice {
					return fmt.Errorf("%s was delivered twice", record.Value)
				}
				seen[string(record.Value)] = record.Partition
			}
		}
	}
	return nil
}

// assigned is what the group's members have, as the coordinator tells.
func (c *cluster) assigned(ctx context.Context, group string) (map[string]int, string, error) {
	described, err := c.admin.DescribeGroups(ctx, group)
	if err != nil {
		return nil, "", err
	}
	one := described[group]
	counts := map[string]int{}
	for _, member := range one.Members {
		if assignment, ok := member.Assigned.AsConsumer(); ok {
			for _, topic := range assignment.Topics {
				counts[member.MemberID] += len(topic.Partitions)
			}
		}
	}
	return counts, one.State, one.Err
}

// hasShares is whether the group is stable and its members have as many partitions each.
func (c *cluster) hasShares(ctx context.Context, group string, members, each int) bool {
	counts, state, err := c.assigned(ctx, group)
	if err != nil || state != "Stable" || len(counts) != members {
		return false
	}
	for _, count := range counts {
		if count != each {
			return false
		}
	}
	return true
}

func count(seen map[string]int32, wanted int) func() bool {
	return func() bool { return len(seen) >= wanted }
}

func oneMember(ctx context.Context, c *cluster) error {
	topic, group, err := spread(ctx, c, "one", 200)
	if err != nil {
		return err
	}
	member, err := c.member(group, topic)
	if err != nil {
		return err
	}
	defer member.Close()
	seen := map[string]int32{}
	if err := gather(ctx, seen, count(seen, 200), member); err != nil {
		return err
	}
	id, generation := member.GroupMetadata()
	if id == "" || generation < 1 {
		return fmt.Errorf("member %q of generation %d", id, generation)
	}
	return nil
}

func shares(balancer kgo.GroupBalancer) func(context.Context, *cluster) error {
	return func(ctx context.Context, c *cluster) error {
		topic, group, err := spread(ctx, c, "shared", 100)
		if err != nil {
			return err
		}
		first, err := c.member(group, topic, kgo.Balancers(balancer))
		if err != nil {
			return err
		}
		defer first.Close()
		seen := map[string]int32{}
		if err := gather(ctx, seen, count(seen, 100), first); err != nil {
			return err
		}
		if err := first.CommitUncommittedOffsets(ctx); err != nil {
			return err
		}
		second, err := c.member(group, topic, kgo.Balancers(balancer))
		if err != nil {
			return err
		}
		defer second.Close()
		settled := func() bool { return c.hasShares(ctx, group, 2, 2) }
		if err := gather(ctx, seen, settled, first, second); err != nil {
			return fmt.Errorf("two members: %w", err)
		}
		if err := c.spreadMore(ctx, topic, 100, 100); err != nil {
			return err
		}
		if err := gather(ctx, seen, count(seen, 200), first, second); err != nil {
			return err
		}
		// One of them leaves, and says so.
		if err := first.CommitUncommittedOffsets(ctx); err != nil {
			return err
		}
		if err := second.CommitUncommittedOffsets(ctx); err != nil {
			return err
		}
		if err := second.LeaveGroupContext(ctx); err != nil {
			return err
		}
		alone := func() bool { return c.hasShares(ctx, group, 1, partitions) }
		return gather(ctx, seen, alone, first)
	}
}

func missed(ctx context.Context, c *cluster) error {
	topic, group, err := spread(ctx, c, "missed", 40)
	if err != nil {
		return err
	}
	first, err := c.member(group, topic)
	if err != nil {
		return err
	}
	defer first.Close()
	// An instance does not say that it goes: the coordinator has only its silence to go by.
	second, err := c.member(group, topic, kgo.InstanceID("silent"))
	if err != nil {
		return err
	}
	two := func() bool { return c.hasShares(ctx, group, 2, 2) }
	ignore := func(done func() bool, members ...*kgo.Client) error {
		for !done() {
			if err := gather(ctx, map[string]int32{}, once(), members...); err != nil {
				return err
			}
		}
		return nil
	}
	if err := ignore(two, first, second); err != nil {
		return err
	}
	second.Close()
	return ignore(func() bool { return c.hasShares(ctx, group, 1, partitions) }, first)
}

// once is true from its second call on.
func once() func() bool {
	called := false
	return func() bool {
		before := called
		called = true
		return before
	}
}

func static(ctx context.Context, c *cluster) error {
	topic, group, err := spread(ctx, c, "static", 0)
	if err != nil {
		return err
	}
	seated := func() (*kgo.Client, error) {
		return c.member(group, topic, kgo.InstanceID("seat"), kgo.SessionTimeout(30*time.Second))
	}
	member, err := seated()
	if err != nil {
		return err
	}
	alone := func() bool { return c.hasShares(ctx, group, 1, partitions) }
	if err := gather(ctx, map[string]int32{}, alone, member); err != nil {
		return err
	}
	_, generation := member.GroupMetadata()
	member.Close()
	again, err := seated()
	if err != nil {
		return err
	}
	defer again.Close()
	if err := c.spreadMore(ctx, topic, 0, 40); err != nil {
		return err
	}
	seen := map[string]int32{}
	if err := gather(ctx, seen, count(seen, 40), again); err != nil {
		return err
	}
	if _, now := again.GroupMetadata(); now != generation {
		return fmt.Errorf("generation %d, then %d", generation, now)
	}
	return nil
}

func (c *cluster) committed(ctx context.Context, group, topic string) (map[int32]int64, error) {
	fetched, err := c.admin.FetchOffsets(ctx, group)
	if err != nil {
		return nil, err
	}
	found := map[int32]int64{}
	fetched.Each(func(each kadm.OffsetResponse) {
		if each.Topic == topic {
			found[each.Partition] = each.At
		}
	})
	return found, fetched.Error()
}

func sameOffsets(found map[int32]int64, expected ...int64) error {
	for partition, offset := range expected {
		if found[int32(partition)] != offset {
			return fmt.Errorf("offsets %v, expected %v", found, expected)
		}
	}
	return nil
}

func commits(ctx context.Context, c *cluster) error {
	topic, group, err := spread(ctx, c, "commits", 40)
	if err != nil {
		return err
	}
	member, err := c.member(group, topic)
	if err != nil {
		return err
	}
	defer member.Close()
	seen := map[string]int32{}
	if err := gather(ctx, seen, count(seen, 40), member); err != nil {
		return err
	}
	if err := member.CommitRecords(ctx, &kgo.Record{Topic: topic, Partition: 0, Offset: 3}, &kgo.Record{Topic: topic, Partition: 1, Offset: 6}); err != nil {
		return err
	}
	found, err := c.committed(ctx, group, topic)
	if err != nil {
		return err
	}
	if err := sameOffsets(found, 4, 7); err != nil {
		return err
	}
	if err := member.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	if found, err = c.committed(ctx, group, topic); err != nil {
		return err
	}
	return sameOffsets(found, 10, 10, 10, 10)
}

func commitsByItself(ctx context.Context, c *cluster) error {
	topic, group, err := spread(ctx, c, "auto", 40)
	if err != nil {
		return err
	}
	member, err := kgo.NewClient(kgo.SeedBrokers(c.bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(100*time.Millisecond), kgo.Balancers(kgo.RangeBalancer()))
	if err != nil {
		return err
	}
	defer member.Close()
	seen := map[string]int32{}
	if err := gather(ctx, seen, count(seen, 40), member); err != nil {
		return err
	}
	done := func() bool {
		found, err := c.committed(ctx, group, topic)
		return err == nil && sameOffsets(found, 10, 10, 10, 10) == nil
	}
	return gather(ctx, seen, done, member)
}

func byPattern(ctx context.Context, c *cluster) error {
	topic, group, err := spread(ctx, c, "pattern-one", 20)
	if err != nil {
		return err
	}
	member, err := c.member(group, "go-pattern-.*", kgo.ConsumeRegex(), kgo.MetadataMinAge(50*time.Millisecond), kgo.MetadataMaxAge(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer member.Close()
	seen := map[string]int32{}
	if err := gather(ctx, seen, count(seen, 20), member); err != nil {
		return err
	}
	// Everybody joins again for the new topic, and begins at what was committed.
	if err := member.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	later, _, err := spread(ctx, c, "pattern-two", 0)
	if err != nil {
		return err
	}
	if err := c.spreadMore(ctx, later, 20, 20); err != nil {
		return err
	}
	if err := gather(ctx, seen, count(seen, 40), member); err != nil {
		return fmt.Errorf("a topic made after %s: %w", topic, err)
	}
	return nil
}

func groupAdministered(ctx context.Context, c *cluster) error {
	topic, group, err := spread(ctx, c, "administered", 40)
	if err != nil {
		return err
	}
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 3, LeaderEpoch: -1, Metadata: "by hand"})
	offsets.Add(kadm.Offset{Topic: topic, Partition: 1, At: 4, LeaderEpoch: -1})
	if err := c.admin.CommitAllOffsets(ctx, group, offsets); err != nil {
		return err
	}
	member, err := c.member(group, topic)
	if err != nil {
		return err
	}
	defer member.Close()
	seen := map[string]int32{}
	if err := gather(ctx, seen, count(seen, 33), member); err != nil {
		return err
	}
	listed, err := c.admin.ListGroups(ctx)
	if err != nil {
		return err
	}
	if one := listed[group]; one.State != "Stable" || one.ProtocolType != "consumer" {
		return fmt.Errorf("listed as %+v", one)
	}
	if refused, err := c.admin.DeleteGroup(ctx, group); err == nil || !errors.Is(refused.Err, kerr.NonEmptyGroup) {
		return fmt.Errorf("a group with a member was deleted: %v %v", refused.Err, err)
	}
	if err := member.LeaveGroupContext(ctx); err != nil {
		return err
	}
	if _, err := c.admin.DeleteGroup(ctx, group); err != nil {
		return err
	}
	if listed, err = c.admin.ListGroups(ctx); err != nil {
		return err
	}
	if strings.Contains(fmt.Sprint(listed.Groups()), group+" ") {
		return fmt.Errorf("the deleted group is still listed")
	}
	return nil
}
