// Containerd's own tests of a snapshotter, against the one that answers at $DRAKKAR_SNAPSHOTTER.
package suite

import (
	"context"
	"os"
	"testing"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func TestSnapshotter(t *testing.T) {
	socket := os.Getenv("DRAKKAR_SNAPSHOTTER")
	if socket == "" {
		t.Fatal("DRAKKAR_SNAPSHOTTER names no socket")
	}
	// By this name it knows that directories of lower layers can't be renamed.
	testsuite.SnapshotterSuite(t, "overlayfs", func(context.Context, string) (snapshots.Snapshotter, func() error, error) {
		connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, nil, err
		}
		snapshotter := proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(connection), "drakkar")
		return snapshotter, connection.Close, nil
	})
}
