// conformance drives an external scaler with the client that KEDA itself generated from its contract.
//
// The five calls are made over mTLS as KEDA makes them, but each under a limit, so that a call that hangs is a line
// and not a hang. Standard output is JSON Lines: what each call answered, and how long its slowest repetition took.
// With --load, it calls without a pause until standard input ends, and then says what came of it in one line.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	pb "github.com/kedacore/keda/v2/pkg/scalers/externalscaler"
)

// line is one call: what the last repetition said.
type line struct {
	Call string `json:"call"`
	// Answer is absent if the call failed, and if a stream had nothing to say within the limit.
	Answer any `json:"answer,omitempty"`
	// Code is gRPC's name of how it ended; of a stream, as far as it was followed.
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
	// SlowestMs is the longest time of all repetitions until the answer; of a stream, until it was open.
	SlowestMs float64 `json:"slowestMs"`
}

// session is a connection and the object that it asks about.
type session struct {
	client  pb.ExternalScalerClient
	object  *pb.ScaledObjectRef
	limit   time.Duration
	repeat  int
	listens time.Duration
}

func main() {
	address := flag.String("address", "", "host:port of the scaler")
	ca := flag.String("ca", "", "file with the authority that signed the server")
	certificate := flag.String("certificate", "", "file with the client's certificate")
	key := flag.String("key", "", "file with the client's key")
	namespace := flag.String("namespace", "", "namespace of the ScaledObject")
	name := flag.String("name", "", "name of the ScaledObject")
	metadata := flag.String("metadata", "{}", "the trigger's metadata as a JSON object of strings")
	repeat := flag.Int("repeat", 1, "how often each call is made, one after the other")
	limit := flag.Duration("limit", 5*time.Second, "after which a call is given up")
	listens := flag.Duration("listen", 2*time.Second, "how long a stream's first message is waited for")
	loads := flag.Bool("load", false, "call until standard input ends")
	flag.Parse()

	dial := func() (*grpc.ClientConn, error) { return connect(*address, *ca, *certificate, *key) }
	connection, err := dial()
	if err != nil {
		fail(err)
	}
	defer connection.Close()
	object := &pb.ScaledObjectRef{Name: *name, Namespace: *namespace}
	if err := json.Unmarshal([]byte(*metadata), &object.ScalerMetadata); err != nil {
		fail(err)
	}
	s := session{pb.NewExternalScalerClient(connection), object, *limit, *repeat, *listens}
	output := json.NewEncoder(os.Stdout)
	if *loads {
		if err := output.Encode(load(s, dial)); err != nil {
			fail(err)
		}
		return
	}
	for _, line := range s.calls() {
		if err := output.Encode(line); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// connect asks for what KEDA asks for: TLS of at least 1.2 with a client certificate, and round robin.
func connect(address, ca, certificate, key string) (*grpc.ClientConn, error) {
	authority, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s holds no certificate", ca)
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin":{}}]}`))
}

// calls makes all five, and asks for the value under the name that the scaler itself gave.
func (s session) calls() []line {
	var metric string
	spec := s.unary("GetMetricSpec", func(ctx context.Context) (any, error) {
		answer, err := s.client.GetMetricSpec(ctx, s.object)
		if specs := answer.GetMetricSpecs(); len(specs) > 0 {
			metric = specs[0].GetMetricName()
		}
		return specs(answer), err
	})
	metrics := s.unary("GetMetrics", func(ctx context.Context) (any, error) {
		answer, err := s.client.GetMetrics(ctx, &pb.GetMetricsRequest{ScaledObjectRef: s.object, MetricName: metric})
		return values(answer), err
	})
	active := s.unary("IsActive", func(ctx context.Context) (any, error) {
		answer, err := s.client.IsActive(ctx, s.object)
		return answer.GetResult(), err
	})
	activity := stream(s, "StreamIsActive", s.client.StreamIsActive, func(answer *pb.IsActiveResponse) any {
		return answer.GetResult()
	})
	streamed := stream(s, "StreamMetricSpec", s.client.StreamMetricSpec, func(answer *pb.GetMetricSpecResponse) any {
		return specs(answer)
	})
	return []line{spec, metrics, active, activity, streamed}
}

func (s session) unary(name string, call func(context.Context) (any, error)) line {
	result := line{Call: name}
	for range s.repeat {
		ctx, cancel := context.WithTimeout(context.Background(), s.limit)
		began := time.Now()
		answer, err := call(ctx)
		result.end(time.Since(began), answer, err)
		cancel()
	}
	return result
}

// stream opens one stream after the other, and waits a while for the first message of the last.
func stream[M any](
	s session, name string,
	open func(context.Context, *pb.ScaledObjectRef, ...grpc.CallOption) (grpc.ServerStreamingClient[M], error),
	read func(*M) any,
) line {
	result := line{Call: name}
	for turn := range s.repeat {
		ctx, cancel := context.WithTimeout(context.Background(), s.limit)
		began := time.Now()
		opened, err := open(ctx, s.object)
		if err == nil {
			_, err = opened.Header()
		}
		took := time.Since(began)
		var answer any
		if err == nil && turn == s.repeat-1 {
			answer, err = first(opened, s.listens, read)
		}
		result.end(took, answer, err)
		cancel()
	}
	return result
}

// first is the stream's first message; silence is no error.
func first[M any](opened grpc.ServerStreamingClient[M], patience time.Duration, read func(*M) any) (any, error) {
	type message struct {
		value any
		err   error
	}
	arrived := make(chan message, 1)
	go func() {
		answer, err := opened.Recv()
		if err != nil {
			arrived <- message{nil, err}
			return
		}
		arrived <- message{read(answer), nil}
	}()
	select {
	case it := <-arrived:
		return it.value, it.err
	case <-time.After(patience):
		return nil, nil
	}
}

func (l *line) end(took time.Duration, answer any, err error) {
	l.SlowestMs = max(l.SlowestMs, float64(took.Microseconds())/1000)
	l.Code, l.Message, l.Answer = status.Code(err).String(), "", answer
	if err != nil {
		l.Message, l.Answer = status.Convert(err).Message(), nil
	}
}

func specs(answer *pb.GetMetricSpecResponse) any {
	list := []map[string]any{}
	for _, spec := range answer.GetMetricSpecs() {
		list = append(list, map[string]any{
			"metricName": spec.GetMetricName(),
			"targetSize": spec.GetTargetSize(), "targetSizeFloat": spec.GetTargetSizeFloat(),
		})
	}
	return list
}

func values(answer *pb.GetMetricsResponse) any {
	list := []map[string]any{}
	for _, value := range answer.GetMetricValues() {
		list = append(list, map[string]any{
			"metricName":  value.GetMetricName(),
			"metricValue": value.GetMetricValue(), "metricValueFloat": value.GetMetricValueFloat(),
		})
	}
	return list
}
