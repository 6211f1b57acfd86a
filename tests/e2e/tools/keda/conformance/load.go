package main

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "github.com/kedacore/keda/v2/pkg/scalers/externalscaler"
)

// workers ask over one connection; one more makes a connection for each call, with the files as they are then.
const workers = 4

// pause between two calls of a worker.
const pause = 5 * time.Millisecond

// maxFailures is how many failures are told in words.
const maxFailures = 20

// tally is what came of a load.
type tally struct {
	mutex    sync.Mutex
	Calls    int      `json:"calls"`
	Fresh    int      `json:"fresh"`
	Failures []string `json:"failures"`
	// Servers counts the calls that each certificate of the server answered, by common name.
	Servers map[string]int `json:"servers"`
	// Streams are how both streams ended, by gRPC's names; empty while they are open.
	Streams   map[string]string `json:"streams"`
	SlowestMs float64           `json:"slowestMs"`
}

// load asks for the value without a pause, with both streams open, until standard input ends. A call that has begun is
// finished.
func load(s session, dial func() (*grpc.ClientConn, error)) *tally {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	total := &tally{Failures: []string{}, Servers: map[string]int{}, Streams: map[string]string{}}
	follow(ctx, total, s.object, "StreamIsActive", s.client.StreamIsActive)
	follow(ctx, total, s.object, "StreamMetricSpec", s.client.StreamMetricSpec)
	asked, ended := context.WithCancel(ctx)
	var running sync.WaitGroup
	until := func(ask func()) {
		running.Go(func() {
			for asked.Err() == nil {
				ask()
				time.Sleep(pause)
			}
		})
	}
	for range workers {
		until(func() { total.call(s.client, s.object, false) })
	}
	until(func() {
		connection, err := dial()
		if err != nil {
			total.add(0, "", err, true)
			return
		}
		defer connection.Close()
		total.call(pb.NewExternalScalerClient(connection), s.object, true)
	})
	// Whatever is said there, its end is what counts.
	_, _ = io.Copy(io.Discard, os.Stdin)
	ended()
	running.Wait()
	return total.copy()
}

// follow notes how a stream ends.
func follow[M any](
	ctx context.Context, total *tally, object *pb.ScaledObjectRef, name string,
	open func(context.Context, *pb.ScaledObjectRef, ...grpc.CallOption) (grpc.ServerStreamingClient[M], error),
) {
	stream, err := open(ctx, object)
	go func() {
		for err == nil {
			_, err = stream.Recv()
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		total.mutex.Lock()
		defer total.mutex.Unlock()
		total.Streams[name] = status.Code(err).String()
	}()
}

func (t *tally) call(client pb.ExternalScalerClient, object *pb.ScaledObjectRef, fresh bool) {
	var server peer.Peer
	began := time.Now()
	request := &pb.GetMetricsRequest{ScaledObjectRef: object, MetricName: "load"}
	_, err := client.GetMetrics(context.Background(), request, grpc.Peer(&server))
	name := ""
	if info, ok := server.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
		name = info.State.PeerCertificates[0].Subject.CommonName
	}
	t.add(time.Since(began), name, err, fresh)
}

func (t *tally) add(took time.Duration, server string, err error, fresh bool) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.Calls++
	if fresh {
		t.Fresh++
	}
	if server != "" {
		t.Servers[server]++
	}
	t.SlowestMs = max(t.SlowestMs, float64(took.Microseconds())/1000)
	if err != nil && len(t.Failures) < maxFailures {
		t.Failures = append(t.Failures, status.Convert(err).String())
	}
}

// copy is what is known now; streams may still end.
func (t *tally) copy() *tally {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	streams := map[string]string{}
	for name, code := range t.Streams {
		streams[name] = code
	}
	return &tally{
		Calls: t.Calls, Fresh: t.Fresh, Failures: t.Failures, Servers: t.Servers, Streams: streams, SlowestMs: t.SlowestMs,
	}
}
