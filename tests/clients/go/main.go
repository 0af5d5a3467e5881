// The franz-go suite. Arguments: bootstrap address, and a part of a test's name (empty: all tests).
//
// Prints "ok NAME" or "FAILED NAME: WHY" for each test, and "end COUNT".
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

const testLimit = 60 * time.Second

type test struct {
	name string
	body func(context.Context, *cluster) error
}

func main() {
	bootstrap, wanted := os.Args[1], os.Args[2]
	cluster := newCluster(bootstrap)
	defer cluster.close()
	count := 0
	for _, each := range append(append(append(producing(), consuming()...), administrating()...), grouping()...) {
		if !strings.Contains(each.name, wanted) {
			continue
		}
		count++
		ctx, cancel := context.WithTimeout(context.Background(), testLimit)
		if err := each.body(ctx, cluster); err != nil {
			fmt.Printf("FAILED %s: %s\n", each.name, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Printf("ok %s\n", each.name)
		}
		cancel()
	}
	fmt.Printf("end %d\n", count)
}
