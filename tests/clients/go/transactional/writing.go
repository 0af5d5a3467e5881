package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"highwater/suite/report"
)

const patient = 30 * time.Second

var committed, uncommitted = kgo.ReadCommitted(), kgo.ReadUncommitted()

func writing(c *cluster) []report.Test {
	return []report.Test{
		test("two-topics", c.twoTopics),
		test("abort", c.abort),
		test("offsets", c.offsets),
		test("consume-transform-produce", c.transform),
	}
}

func (c *cluster) twoTopics(ctx context.Context) error {
	a, err := c.topic(ctx, "txn-a")
	if err != nil {
		return err
	}
	b, err := c.topic(ctx, "txn-b")
	if err != nil {
		return err
	}
	producer, err := c.producer(c.fresh("id"), patient)
	if err != nil {
		return err
	}
	defer producer.Close()
	if err := producer.BeginTransaction(); err != nil {
		return err
	}
	for _, topic := range []string{a, b} {
		if err := send(ctx, producer, topic, "0", "1", "2"); err != nil {
			return err
		}
		if err := c.sees(ctx, topic, uncommitted, "0", "1", "2"); err != nil {
			return err
		}
		if end, err := c.end(ctx, topic, committed); err != nil || end != 0 {
			return fmt.Errorf("committed to %d while it is open: %w", end, err)
		}
	}
	if err := producer.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return err
	}
	for _, topic := range []string{a, b} {
		if err := c.sees(ctx, topic, committed, "0", "1", "2"); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) abort(ctx context.Context) error {
	topic, err := c.topic(ctx, "txn-abort")
	if err != nil {
		return err
	}
	producer, err := c.producer(c.fresh("id"), patient)
	if err != nil {
		return err
	}
	defer producer.Close()
	for number := range 6 {
		if err := inOne(ctx, producer, kgo.TransactionEndTry(number%2 == 0), topic, fmt.Sprint(number)); err != nil {
			return fmt.Errorf("transaction %d: %w", number, err)
		}
	}
	if err := c.sees(ctx, topic, committed, "0", "2", "4"); err != nil {
		return err
	}
	return c.sees(ctx, topic, uncommitted, "0", "1", "2", "3", "4", "5")
}

// copier is a group member and a producer that copies what it reads.
func (c *cluster) copier(id, group, from string) (*kgo.GroupTransactSession, error) {
	return kgo.NewGroupTransactSession(kgo.SeedBrokers(c.bootstrap), kgo.TransactionalID(id), kgo.TransactionTimeout(patient),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(from), kgo.FetchIsolationLevel(committed), kgo.RequireStableFetchOffsets(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
}

func (c *cluster) place(ctx context.Context, group, topic string) (int64, error) {
	found, err := c.admin.FetchOffsetsForTopics(ctx, group, topic)
	if err != nil {
		return 0, err
	}
	at, _ := found.Lookup(topic, 0)
	return at.At, at.Err
}

// offsets: those of an aborted transaction are given again, those of a committed one are not.
func (c *cluster) offsets(ctx context.Context) error {
	from, err := c.topic(ctx, "txn-from")
	if err != nil {
		return err
	}
	to, err := c.topic(ctx, "txn-to")
	if err != nil {
		return err
	}
	group := c.fresh("group")
	session, err := c.copier(c.fresh("id"), group, from)
	if err != nil {
		return err
	}
	defer session.Close()
	source, err := c.producer(c.fresh("id"), patient)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := inOne(ctx, source, kgo.TryCommit, from, "a", "b"); err != nil {
		return err
	}
	for _, commit := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		read := 0
		if err := session.Begin(); err != nil {
			return err
		}
		for read < 2 {
			fetched := session.PollFetches(ctx)
			if err := fetched.Err(); err != nil {
				return err
			}
			fetched.EachRecord(func(record *kgo.Record) {
				read++
				session.Produce(ctx, &kgo.Record{Topic: to, Value: record.Value}, nil)
			})
		}
		did, err := session.End(ctx, commit)
		if err != nil || did != bool(commit) {
			return fmt.Errorf("committed %v, asked for %v: %w", did, commit, err)
		}
		expected := map[kgo.TransactionEndTry]int64{kgo.TryAbort: -1, kgo.TryCommit: 2}[commit]
		err = report.Eventually(ctx, "the place", func() (bool, error) {
			at, err := c.place(ctx, group, from)
			return at == expected, err
		})
		if err != nil {
			return err
		}
	}
	return c.sees(ctx, to, committed, "a", "b")
}

// transform: two members copy, one leaves in the middle.
func (c *cluster) transform(ctx context.Context) error {
	from, err := c.topic(ctx, "txn-copied")
	if err != nil {
		return err
	}
	if _, err := c.admin.UpdatePartitions(ctx, 4, from); err != nil {
		return err
	}
	to, err := c.topic(ctx, "txn-copy")
	if err != nil {
		return err
	}
	const count = 400
	group := c.fresh("group")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 3)
	copies := func(until context.Context, session *kgo.GroupTransactSession) error {
		defer session.Close()
		for until.Err() == nil {
			fetched := session.PollRecords(until, 10)
			if fetched.NumRecords() == 0 {
				continue
			}
			if err := session.Begin(); err != nil {
				return err
			}
			fetched.EachRecord(func(record *kgo.Record) { session.Produce(ctx, &kgo.Record{Topic: to, Value: record.Value}, nil) })
			if _, err := session.End(ctx, kgo.TryCommit); err != nil {
				return err
			}
		}
		return nil
	}
	first, leave := context.WithCancel(ctx)
	defer leave()
	for _, until := range []context.Context{first, ctx} {
		session, err := c.copier(c.fresh("id"), group, from)
		if err != nil {
			return err
		}
		go func() { ended <- copies(until, session) }()
	}
	writer, err := kgo.NewClient(kgo.SeedBrokers(c.bootstrap))
	if err != nil {
		return err
	}
	defer writer.Close()
	for n := range count {
		if err := send(ctx, writer, from, fmt.Sprint(n)); err != nil {
			return err
		}
		if n == count/2 {
			leave()
		}
	}
	seen := map[string]int{}
	err = report.Eventually(ctx, "everything copied", func() (bool, error) {
		select {
		case err := <-ended:
			if err != nil {
				return false, err
			}
		default:
		}
		values, err := c.read(ctx, to, committed)
		seen = map[string]int{}
		for _, each := range values {
			seen[each]++
			if seen[each] > 1 {
				return false, fmt.Errorf("%s is there %d times", each, seen[each])
			}
		}
		return len(seen) == count, err
	})
	if err != nil {
		return fmt.Errorf("%d of %d: %w", len(seen), count, err)
	}
	return nil
}
