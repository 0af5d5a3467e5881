// Transactions of franz-go. Arguments: what the tests' names begin with, broker and level of transaction.version (kafka-2), bootstrap address,
// and a part of a test's name (empty: all tests).
package main

import (
	"context"
	"os"

	"highwater/suite/report"
)

func main() {
	cluster := newCluster(os.Args[3], os.Args[2])
	defer cluster.close()
	tests := append(writing(cluster), fencing(cluster)...)
	for i := range tests {
		tests[i].Name = os.Args[1] + tests[i].Name
	}
	report.Run(os.Args[4], tests)
}

func test(name string, body func(context.Context) error) report.Test {
	return report.Test{Name: name, Body: body}
}
