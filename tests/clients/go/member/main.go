// A member of a group that tells what it does: reads, then commits. It leaves when it is told to end. Arguments: bootstrap
// address, group, topic, "range", "cooperative" or "consumer". What it prints is described in suites/mixed/members.py.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	session       = 3 * time.Second
	heartbeat     = 200 * time.Millisecond
	recordsAtOnce = 50
)

func main() {
	bootstrap, group, topic, strategy := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := read(ctx, bootstrap, group, topic, strategy); err != nil {
		tell("failed", strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	tell("left", "")
}

// member keeps the places that were read to and are not committed, of the partitions it has. Under BlockRebalanceOnPoll its
// callbacks and its reading take turns; the lock is for those that come when it leaves.
type member struct {
	lock    sync.Mutex
	pending map[int32]kgo.EpochOffset
}

func read(leaving context.Context, bootstrap, group, topic, strategy string) error {
	ctx := context.Background()
	member := &member{pending: map[int32]kgo.EpochOffset{}}
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ClientID("franz-go"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(session), kgo.HeartbeatInterval(heartbeat),
		kgo.FetchMaxWait(100 * time.Millisecond),
		// What was polled is committed before partitions may go.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(member.changed("assigned")), kgo.OnPartitionsRevoked(member.changed("revoked")), kgo.OnPartitionsLost(member.changed("lost")),
	}
	switch strategy {
	case "range":
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	case "cooperative":
		options = append(options, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	case "consumer":
		// The client speaks the protocol only to those who ask for it.
		options = append(options, kgo.WithContext(context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)), //nolint:staticcheck
			kgo.Balancers(kgo.CooperativeStickyBalancer()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	for leaving.Err() == nil {
		polled, cancel := context.WithTimeout(leaving, 100*time.Millisecond)
		fetched := client.PollRecords(polled, recordsAtOnce)
		cancel()
		member.keep(fetched.Records())
		member.commit(ctx, client, topic)
		client.AllowRebalance()
	}
	return nil
}

func (m *member) keep(records []*kgo.Record) {
	m.lock.Lock()
	defer m.lock.Unlock()
	for _, record := range records {
		tell("read", fmt.Sprintf("%d %d %s", record.Partition, record.Offset, record.Value))
		m.pending[record.Partition] = kgo.EpochOffset{Epoch: record.LeaderEpoch, Offset: record.Offset + 1}
	}
}

func (m *member) commit(ctx context.Context, client *kgo.Client, topic string) {
	m.lock.Lock()
	places := maps.Clone(m.pending)
	m.lock.Unlock()
	if len(places) == 0 {
		return
	}
	for partition, place := range places {
		tell("committing", fmt.Sprintf("%d %d", partition, place.Offset))
	}
	var failed error
	client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{topic: places},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
			failed = refusal(answer, err)
		})
	if failed != nil {
		tell("refused", strings.ReplaceAll(failed.Error(), "\n", " "))
		return
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	for partition, place := range places {
		tell("committed", fmt.Sprintf("%d %d", partition, place.Offset))
		if m.pending[partition] == place {
			delete(m.pending, partition)
		}
	}
}

// refusal is the first there is.
func refusal(answer *kmsg.OffsetCommitResponse, err error) error {
	if err != nil {
		return err
	}
	for _, topic := range answer.Topics {
		for _, partition := range topic.Partitions {
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *member) changed(how string) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		m.lock.Lock()
		defer m.lock.Unlock()
		var numbers []string
		for _, each := range partitions {
			for _, partition := range each {
				numbers = append(numbers, fmt.Sprint(partition))
				delete(m.pending, partition)
			}
		}
		tell(how, strings.Join(numbers, " "))
	}
}

func tell(event, what string) {
	fmt.Printf("%s %d %s\n", event, time.Now().UnixMicro(), what)
}
