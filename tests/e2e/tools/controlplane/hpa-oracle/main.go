// hpa-oracle evaluates HorizontalPodAutoscalers with the real controller of the pinned Kubernetes module.
//
// JSON Lines in, JSON Lines out, in the shapes of `plimsoll hpa evaluate`, so that both can be compared line by line.
// The controller's package is linked unmodified: its unexported methods are reached by linkname, its memory by
// reflection, and its clock is the fake one of a testing/synctest bubble that is set to the case's own time, so that
// every comparison of times is exact. Only the clients below are ours: scale, HPA status, and the three metrics
// APIs, behind the controller's own REST metrics client.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/klog/v2"
	autoscalingdefaults "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
	coredefaults "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

const defaultNamespace = "default"

var (
	downscale = flag.Duration("horizontal-pod-autoscaler-downscale-stabilization", 5*time.Minute, "")
	tolerance = flag.Float64("horizontal-pod-autoscaler-tolerance", 0.1, "")
	cpuInit   = flag.Duration("horizontal-pod-autoscaler-cpu-initialization-period", 5*time.Minute, "")
	readiness = flag.Duration("horizontal-pod-autoscaler-initial-readiness-delay", 30*time.Second, "")
)

func main() {
	flag.Parse()
	klog.SetLogger(logr.Discard())
	// The testing package prints its verdict to standard output, which is the caller's data.
	output := os.Stdout
	os.Stdout = os.Stderr
	run := func(t *testing.T) {
		if err := answerAll(t, os.Stdin, output); err != nil {
			fmt.Fprintln(os.Stderr, "hpa-oracle:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	match := func(string, string) (bool, error) { return true, nil }
	testing.Main(match, []testing.InternalTest{{Name: "oracle", F: run}}, nil, nil)
}

func answerAll(t *testing.T, input io.Reader, output io.Writer) error {
	oracle := newOracle()
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, 64<<20)
	buffered := bufio.NewWriter(output)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	for number := 1; lines.Scan(); number++ {
		var in input_
		if err := json.Unmarshal(lines.Bytes(), &in); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		out, err := oracle.answer(t, &in)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if err := encoder.Encode(out); err != nil {
			return err
		}
		if err := buffered.Flush(); err != nil {
			return err
		}
	}
	return lines.Err()
}

// oracle is one controller, used for case after case; what it remembers is replaced each time.
type oracle struct {
	ctx        context.Context
	controller *podautoscaler.HorizontalController
	clients    *clients
	pods       interface {
		Replace([]interface{}, string) error
	}
}

func newOracle() *oracle {
	ctx := klog.NewContext(context.Background(), logr.Discard())
	clients := &clients{}
	factory := informers.NewSharedInformerFactory(fake.NewSimpleClientset(), 0)
	pods := factory.Core().V1().Pods()
	controller := podautoscaler.NewHorizontalController(
		ctx, clients, clients, clients, mapper{},
		metrics.NewRESTMetricsClient(clients, custom{clients}, external{clients}),
		factory.Autoscaling().V2().HorizontalPodAutoscalers(), pods,
		15*time.Second, *downscale, *tolerance, *cpuInit, *readiness,
	)
	return &oracle{ctx: ctx, controller: controller, clients: clients, pods: pods.Informer().GetIndexer()}
}

func (o *oracle) answer(t *testing.T, in *input_) (out *output_, err error) {
	hpa, err := stored(in.HPA)
	if err != nil {
		return nil, err
	}
	pods := make([]interface{}, 0, len(in.Pods))
	for _, pod := range in.Pods {
		if pod.Namespace == "" {
			pod.Namespace = hpa.Namespace
		}
		coredefaults.SetObjectDefaults_Pod(pod)
		pods = append(pods, pod)
	}
	if err := o.pods.Replace(pods, ""); err != nil {
		return nil, err
	}
	o.clients.reset(in, hpa.Namespace)
	key := hpa.Namespace + "/" + hpa.Name
	remember(o.controller, key, &in.State)
	synctest.Test(t, func(*testing.T) {
		// Within the bubble the clock begins with the year 2000 and moves only by sleeping.
		time.Sleep(time.Until(in.Now))
		out = o.evaluate(hpa, key)
	})
	out.State = recall(o.controller, key)
	return out, nil
}

func (o *oracle) evaluate(hpa *autoscalingv2.HorizontalPodAutoscaler, key string) *output_ {
	out := &output_{Proposals: o.proposals(hpa)}
	if err := reconcileAutoscaler(o.controller, o.ctx, hpa, key); err != nil {
		text := err.Error()
		out.Error = &text
	}
	status := hpa.Status
	if o.clients.updated != nil {
		status = *o.clients.updated
	}
	out.DesiredReplicas = status.DesiredReplicas
	for _, condition := range status.Conditions {
		out.Conditions = append(out.Conditions, condition_{
			Type: string(condition.Type), Status: string(condition.Status), Reason: condition.Reason,
		})
	}
	return out
}

// stored is the HPA as the API server hands it out: with defaults, and with quantities in canonical form.
func stored(hpa *autoscalingv2.HorizontalPodAutoscaler) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	if hpa.Namespace == "" {
		hpa.Namespace = defaultNamespace
	}
	if hpa.Name == "" {
		hpa.Name = "unnamed"
	}
	autoscalingdefaults.SetObjectDefaults_HorizontalPodAutoscaler(hpa)
	text, err := json.Marshal(hpa)
	if err != nil {
		return nil, err
	}
	canonical := &autoscalingv2.HorizontalPodAutoscaler{}
	if err := json.Unmarshal(text, canonical); err != nil {
		return nil, err
	}
	return canonical, nil
}
