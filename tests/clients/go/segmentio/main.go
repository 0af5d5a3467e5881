// The suite of segmentio's kafka-go. Arguments: bootstrap address, and a part of a test's name (empty: all tests).
package main

import (
	"context"
	"os"

	"highwater/suite/report"
)

type test struct {
	name string
	body func(context.Context, *cluster) error
}

func main() {
	cluster := newCluster(os.Args[1])
	var tests []report.Test
	for _, part := range [][]test{administrating(), producing(), consuming(), grouping()} {
		for _, each := range part {
			tests = append(tests, report.Test{Name: each.name, Body: func(ctx context.Context) error { return each.body(ctx, cluster) }})
		}
	}
	report.Run(os.Args[2], tests)
}
