// What each call of a snapshotter takes, asked as containerd asks: prepares, looks at and removes snapshots upon a parent, one after the other.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Nanoseconds of each call, in turn.
type report struct {
	Prepare []int64 `json:"prepare"`
	Mounts  []int64 `json:"mounts"`
	Remove  []int64 `json:"remove"`
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: calls SOCKET PARENT COUNT")
	}
	socket, parent := os.Args[1], os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	snapshotter := proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(connection), "measured")
	ctx := context.Background()
	var taken report
	timed := func(into *[]int64, call func() error) {
		started := time.Now()
		if err := call(); err != nil {
			log.Fatal(err)
		}
		*into = append(*into, time.Since(started).Nanoseconds())
	}
	for index := range count {
		key := fmt.Sprintf("calls-%d-%d", os.Getpid(), index)
		timed(&taken.Prepare, func() error {
			_, err := snapshotter.Prepare(ctx, key, parent)
			return err
		})
		timed(&taken.Mounts, func() error {
			_, err := snapshotter.Mounts(ctx, key)
			return err
		})
		timed(&taken.Remove, func() error { return snapshotter.Remove(ctx, key) })
	}
	if err := json.NewEncoder(os.Stdout).Encode(taken); err != nil {
		log.Fatal(err)
	}
}
