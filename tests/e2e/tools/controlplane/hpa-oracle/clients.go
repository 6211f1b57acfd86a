package main

import (
	"context"
	"fmt"
	"sort"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	autoscalingclient "k8s.io/client-go/kubernetes/typed/autoscaling/v2"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	scaleclient "k8s.io/client-go/scale"
	customapi "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	externalapi "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	metricsapi "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	resourceclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
	customclient "k8s.io/metrics/pkg/client/custom_metrics"
	externalclient "k8s.io/metrics/pkg/client/external_metrics"
)

// clients answers everything that the controller asks while it evaluates one case.
type clients struct {
	in        *input_
	namespace string
	// updated is the status that the controller wrote, if it wrote one.
	updated *autoscalingv2.HorizontalPodAutoscalerStatus
}

func (c *clients) reset(in *input_, namespace string) {
	c.in, c.namespace, c.updated = in, namespace, nil
}

// mapper knows every kind as a resource of one version.
type mapper struct{ meta.RESTMapper }

func (mapper) RESTMappings(kind schema.GroupKind, _ ...string) ([]*meta.RESTMapping, error) {
	resource := schema.GroupVersionResource{Group: kind.Group, Version: "v1", Resource: "targets"}
	return []*meta.RESTMapping{{Resource: resource}}, nil
}

// events are dropped.
type events struct{ coreclient.EventInterface }

func (c *clients) Events(string) coreclient.EventInterface { return events{} }

func (events) CreateWithEventNamespaceWithContext(_ context.Context, event *v1.Event) (*v1.Event, error) {
	return event, nil
}

func (events) UpdateWithEventNamespaceWithContext(_ context.Context, event *v1.Event) (*v1.Event, error) {
	return event, nil
}

func (events) PatchWithEventNamespaceWithContext(_ context.Context, event *v1.Event, _ []byte) (*v1.Event, error) {
	return event, nil
}

func (events) CreateWithEventNamespace(event *v1.Event) (*v1.Event, error) { return event, nil }

func (events) UpdateWithEventNamespace(event *v1.Event) (*v1.Event, error) { return event, nil }

func (events) PatchWithEventNamespace(event *v1.Event, _ []byte) (*v1.Event, error) {
	return event, nil
}

type scales struct {
	scaleclient.ScaleInterface
	*clients
}

func (c *clients) Scales(string) scaleclient.ScaleInterface { return scales{clients: c} }

func (s scales) Get(context.Context, schema.GroupResource, string, metav1.GetOptions) (*autoscalingv1.Scale, error) {
	if s.in.Scale == nil {
		return nil, fmt.Errorf("the case has no scale")
	}
	return &autoscalingv1.Scale{
		Spec:   autoscalingv1.ScaleSpec{Replicas: s.in.Scale.SpecReplicas},
		Status: autoscalingv1.ScaleStatus{Replicas: s.in.Scale.StatusReplicas, Selector: s.in.Scale.Selector},
	}, nil
}

func (s scales) Update(_ context.Context, _ schema.GroupResource, scale *autoscalingv1.Scale, _ metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	return scale, nil
}

type hpas struct {
	autoscalingclient.HorizontalPodAutoscalerInterface
	*clients
}

func (c *clients) HorizontalPodAutoscalers(string) autoscalingclient.HorizontalPodAutoscalerInterface {
	return hpas{clients: c}
}

func (h hpas) UpdateStatus(_ context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, _ metav1.UpdateOptions) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	h.updated = hpa.Status.DeepCopy()
	return hpa, nil
}

type podMetrics struct {
	resourceclient.PodMetricsInterface
	*clients
}

func (c *clients) PodMetricses(string) resourceclient.PodMetricsInterface {
	return podMetrics{clients: c}
}

func (p podMetrics) List(context.Context, metav1.ListOptions) (*metricsapi.PodMetricsList, error) {
	list := &metricsapi.PodMetricsList{}
	for _, usage := range p.in.Values.Resource {
		item := metricsapi.PodMetrics{ObjectMeta: metav1.ObjectMeta{Name: usage.Pod}, Window: usage.Window}
		item.Timestamp = metav1.NewTime(p.in.Now)
		if usage.Timestamp != nil {
			item.Timestamp = *usage.Timestamp
		}
		for name, resources := range usage.Containers {
			item.Containers = append(item.Containers, metricsapi.ContainerMetrics{Name: name, Usage: resources})
		}
		list.Items = append(list.Items, item)
	}
	return list, nil
}

type external struct{ *clients }

func (e external) NamespacedMetrics(string) externalclient.MetricsInterface { return e }

func (e external) List(metric string, selector labels.Selector) (*externalapi.ExternalMetricValueList, error) {
	for _, series := range e.in.Values.External {
		if series.Metric == metric && series.Selector == selector.String() {
			list := &externalapi.ExternalMetricValueList{}
			for _, value := range series.Values {
				list.Items = append(list.Items, externalapi.ExternalMetricValue{MetricName: metric, Value: value})
			}
			return list, nil
		}
	}
	return nil, fmt.Errorf("the case has no external metric %s{%s}", metric, selector)
}

type custom struct{ *clients }

func (c custom) NamespacedMetrics(string) customclient.MetricsInterface { return c }

func (c custom) RootScopedMetrics() customclient.MetricsInterface { return c }

func (c custom) GetForObject(kind schema.GroupKind, name, metric string, _ labels.Selector) (*customapi.MetricValue, error) {
	for _, sample := range c.in.Values.Object {
		if sample.Metric == metric && sample.Object.Kind == kind.Kind && sample.Object.Name == name {
			return &customapi.MetricValue{Value: sample.Value}, nil
		}
	}
	return nil, fmt.Errorf("the case has no metric %s of %s %s", metric, kind, name)
}

func (c custom) GetForObjects(_ schema.GroupKind, _ labels.Selector, metric string, metricSelector labels.Selector) (*customapi.MetricValueList, error) {
	for _, series := range c.in.Values.Pods {
		if series.Metric == metric && series.Selector == metricSelector.String() {
			list := &customapi.MetricValueList{}
			for pod, value := range series.Values {
				list.Items = append(list.Items, customapi.MetricValue{
					DescribedObject: v1.ObjectReference{Name: pod}, Value: value,
				})
			}
			sort.Slice(list.Items, func(i, j int) bool {
				return list.Items[i].DescribedObject.Name < list.Items[j].DescribedObject.Name
			})
			return list, nil
		}
	}
	return nil, fmt.Errorf("the case has no metric %s{%s} of pods", metric, metricSelector)
}
