// Package report runs tests one after the other and prints what the harness reads: "ok NAME" or "FAILED NAME: WHY" for each
// test, and "end COUNT".
package report

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// testLimit is what a test may take; what heeds no context is left behind a little later.
const testLimit, grace = 60 * time.Second, 5 * time.Second

// Test fails by an error.
type Test struct {
	Name string
	Body func(context.Context) error
}

// Run runs those with wanted in their name.
func Run(wanted string, tests []Test) {
	count := 0
	for _, each := range tests {
		if !strings.Contains(each.Name, wanted) {
			continue
		}
		count++
		if err := run(each); err != nil {
			fmt.Printf("FAILED %s: %s\n", each.Name, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Printf("ok %s\n", each.Name)
		}
	}
	fmt.Printf("end %d\n", count)
}

func run(test Test) error {
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if panicked := recover(); panicked != nil {
				ended <- fmt.Errorf("panic: %v", panicked)
			}
		}()
		ended <- test.Body(ctx)
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(testLimit + grace):
		return fmt.Errorf("no end after %v", testLimit+grace)
	}
}

// Eventually asks until it is so, or the test's time is over.
func Eventually(ctx context.Context, what string, holds func() (bool, error)) error {
	for {
		if ok, err := holds(); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
