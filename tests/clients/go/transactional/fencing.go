package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"highwater/suite/report"
)

const short = 300 * time.Millisecond

func fencing(c *cluster) []report.Test {
	return []report.Test{
		test("fenced-while-idle", c.fencedIdle),
		test("fenced-commits", func(ctx context.Context) error { return c.fenced(ctx, kgo.TryCommit, "PRODUCER_FENCED") }),
		test("fenced-aborts", func(ctx context.Context) error { return c.fenced(ctx, kgo.TryAbort, "PRODUCER_FENCED") }),
		test("timed-out-commits", func(ctx context.Context) error { return c.timedOut(ctx, kgo.TryCommit, c.decided()) }),
		test("timed-out-aborts", func(ctx context.Context) error { return c.timedOut(ctx, kgo.TryAbort, c.isNewOr("nothing")) }),
	}
}

// isNewOr is what is said with the second part of KIP-890; before it there was one word for all of this.
func (c *cluster) isNewOr(said string) string {
	if c.isNew {
		return said
	}
	return "PRODUCER_FENCED"
}

func (c *cluster) decided() string {
	if c.isNew && c.isKafka {
		return "INVALID_TXN_STATE"
	}
	return "PRODUCER_FENCED"
}

// name is that of the broker's error, or what the client itself says.
func name(err error) string {
	var told *kerr.Error
	if errors.As(err, &told) {
		return told.Message
	}
	if err == nil {
		return "nothing"
	}
	return err.Error()
}

func is(err error, expected, what string) error {
	if found := name(err); found != expected {
		return fmt.Errorf("%s: %s, expected %s", what, found, expected)
	}
	return nil
}

// pair is two producers of one id; the second knows of none before its first transaction.
func (c *cluster) pair() (first, second *kgo.Client, err error) {
	id := c.fresh("id")
	if first, err = c.producer(id, patient); err != nil {
		return
	}
	second, err = c.producer(id, patient)
	return
}

func (c *cluster) fencedIdle(ctx context.Context) error {
	topic, err := c.topic(ctx, "txn-fenced")
	if err != nil {
		return err
	}
	first, second, err := c.pair()
	if err != nil {
		return err
	}
	defer first.Close()
	defer second.Close()
	if err := inOne(ctx, first, kgo.TryCommit, topic, "before"); err != nil {
		return err
	}
	if err := inOne(ctx, second, kgo.TryCommit, topic, "between"); err != nil {
		return err
	}
	if err := first.BeginTransaction(); err != nil {
		return err
	}
	if err := is(send(ctx, first, topic, "never seen"), c.isNewOr("INVALID_PRODUCER_EPOCH"), "a send"); err != nil {
		return err
	}
	// Where nothing was added to a transaction there is nothing to abort, and nobody is asked.
	abort := "nothing"
	if c.isNew {
		abort = "PRODUCER_FENCED"
	}
	if err := is(first.EndTransaction(ctx, kgo.TryAbort), abort, "an abort after it"); err != nil {
		return err
	}
	if err := inOne(ctx, second, kgo.TryCommit, topic, "after"); err != nil {
		return err
	}
	return c.sees(ctx, topic, committed, "before", "between", "after")
}

func (c *cluster) fenced(ctx context.Context, try kgo.TransactionEndTry, expected string) error {
	topic, err := c.topic(ctx, "txn-fenced")
	if err != nil {
		return err
	}
	first, second, err := c.pair()
	if err != nil {
		return err
	}
	defer first.Close()
	defer second.Close()
	if err := first.BeginTransaction(); err != nil {
		return err
	}
	if err := send(ctx, first, topic, "of the first"); err != nil {
		return err
	}
	if err := inOne(ctx, second, kgo.TryCommit, topic, "of the second"); err != nil {
		return err
	}
	if err := is(first.EndTransaction(ctx, try), expected, "the end of the first"); err != nil {
		return err
	}
	return c.sees(ctx, topic, committed, "of the second")
}

func (c *cluster) timedOut(ctx context.Context, try kgo.TransactionEndTry, expected string) error {
	topic, err := c.topic(ctx, "txn-slow")
	if err != nil {
		return err
	}
	id := c.fresh("id")
	slow, err := c.producer(id, short)
	if err != nil {
		return err
	}
	defer slow.Close()
	next, err := c.producer(id, patient)
	if err != nil {
		return err
	}
	defer next.Close()
	if err := slow.BeginTransaction(); err != nil {
		return err
	}
	if err := send(ctx, slow, topic, "never seen"); err != nil {
		return err
	}
	err = report.Eventually(ctx, "what took too long is aborted", func() (bool, error) {
		end, err := c.end(ctx, topic, committed)
		return end == 2, err
	})
	if err != nil {
		return err
	}
	if err := is(slow.EndTransaction(ctx, try), expected, "the end of what took too long"); err != nil {
		return err
	}
	if err := inOne(ctx, next, kgo.TryCommit, topic, "of the next"); err != nil {
		return err
	}
	return c.sees(ctx, topic, committed, "of the next")
}
