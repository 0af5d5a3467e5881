package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"highwater/suite/report"
)

// cluster is the broker under test as the tests see it.
type cluster struct {
	bootstrap string
	admin     *kadm.Client
	// isNew: the coordinator speaks the second part of KIP-890, as this client does.
	isNew bool
	// isKafka: who commits what the coordinator has aborted is told that the state is another; later Kafkas say it is fenced (KAFKA-20785).
	isKafka bool
	names   int
}

func newCluster(bootstrap, kind string) *cluster {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		panic(err)
	}
	return &cluster{bootstrap: bootstrap, isNew: strings.HasSuffix(kind, "2"), isKafka: strings.HasPrefix(kind, "kafka"), admin: kadm.NewClient(client)}
}

func (c *cluster) close() { c.admin.Close() }

// fresh is a name no other test uses.
func (c *cluster) fresh(about string) string {
	c.names++
	return fmt.Sprintf("go-%s-%d", about, c.names)
}

func (c *cluster) topic(ctx context.Context, about string) (string, error) {
	made, err := c.admin.CreateTopic(ctx, 1, 1, nil, c.fresh(about))
	if err != nil {
		return "", err
	}
	return made.Topic, made.Err
}

// producer has a transactional id, which it makes known with its first transaction.
func (c *cluster) producer(id string, timeout time.Duration) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(c.bootstrap), kgo.TransactionalID(id), kgo.TransactionTimeout(timeout),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
}

// send writes and waits.
func send(ctx context.Context, producer *kgo.Client, topic string, values ...string) error {
	var records []*kgo.Record
	for _, each := range values {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(each)})
	}
	return producer.ProduceSync(ctx, records...).FirstErr()
}

// inOne writes in a transaction of its own.
func inOne(ctx context.Context, producer *kgo.Client, commit kgo.TransactionEndTry, topic string, values ...string) error {
	if err := producer.BeginTransaction(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := send(ctx, producer, topic, values...); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if err := producer.EndTransaction(ctx, commit); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	return nil
}

// read gives the values of the topic from its beginning to the end that readers of that isolation have.
func (c *cluster) read(ctx context.Context, topic string, isolation kgo.IsolationLevel) ([]string, error) {
	end, err := c.end(ctx, topic, isolation)
	if err != nil {
		return nil, err
	}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(c.bootstrap), kgo.FetchIsolationLevel(isolation), kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	values, at := []string{}, int64(0)
	// Markers are asked for, so that an end behind one is reached.
	for at < end {
		fetched := consumer.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, fmt.Errorf("read to %d of %d: %w", at, end, err)
		}
		fetched.EachRecord(func(record *kgo.Record) {
			at = record.Offset + 1
			if !record.Attrs.IsControl() {
				values = append(values, string(record.Value))
			}
		})
	}
	return values, nil
}

func (c *cluster) end(ctx context.Context, topic string, isolation kgo.IsolationLevel) (int64, error) {
	list := c.admin.ListEndOffsets
	if isolation == kgo.ReadCommitted() {
		list = c.admin.ListCommittedOffsets
	}
	ends, err := list(ctx, topic)
	if err != nil {
		return 0, err
	}
	found, _ := ends.Lookup(topic, 0)
	return found.Offset, found.Err
}

// sees waits until readers of that isolation see just these.
func (c *cluster) sees(ctx context.Context, topic string, isolation kgo.IsolationLevel, expected ...string) error {
	var found []string
	err := report.Eventually(ctx, "what is seen", func() (is bool, err error) {
		found, err = c.read(ctx, topic, isolation)
		return slices.Equal(found, expected), err
	})
	if err != nil {
		return fmt.Errorf("%s: found %v, expected %v: %w", topic, found, expected, err)
	}
	return nil
}
