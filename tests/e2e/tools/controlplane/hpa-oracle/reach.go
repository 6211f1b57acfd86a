package main

import (
	"context"
	"reflect"
	"time"
	"unsafe"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
)

//go:linkname reconcileAutoscaler k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).reconcileAutoscaler
func reconcileAutoscaler(a *podautoscaler.HorizontalController, ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, key string) error

//go:linkname computeReplicasForMetric k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).computeReplicasForMetric
func computeReplicasForMetric(a *podautoscaler.HorizontalController, ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler,
	spec autoscalingv2.MetricSpec, specReplicas, statusReplicas int32, selector labels.Selector, status *autoscalingv2.MetricStatus,
) (int32, string, time.Time, autoscalingv2.HorizontalPodAutoscalerCondition, error)

// proposals asks the controller for each metric alone, where reconcileAutoscaler will ask for them together: between
// the bounds, and with a selector that can be read.
func (o *oracle) proposals(hpa *autoscalingv2.HorizontalPodAutoscaler) []proposal_ {
	none := []proposal_{}
	scale := o.clients.in.Scale
	_, err := schema.ParseGroupVersion(hpa.Spec.ScaleTargetRef.APIVersion)
	if scale == nil || err != nil || scale.SpecReplicas == 0 ||
		scale.SpecReplicas > hpa.Spec.MaxReplicas || scale.SpecReplicas < *hpa.Spec.MinReplicas {
		return none
	}
	selector, err := labels.Parse(scale.Selector)
	if err != nil || scale.Selector == "" {
		return none
	}
	for _, spec := range hpa.Spec.Metrics {
		proposal := proposal_{Type: string(spec.Type), Metric: nameOf(&spec)}
		replicas, _, _, _, err := computeReplicasForMetric(o.controller, o.ctx, hpa.DeepCopy(), spec,
			scale.SpecReplicas, scale.StatusReplicas, selector, &autoscalingv2.MetricStatus{})
		if err != nil {
			text := err.Error()
			proposal.Error = &text
		} else {
			proposal.Replicas = &replicas
		}
		none = append(none, proposal)
	}
	return none
}

func nameOf(spec *autoscalingv2.MetricSpec) string {
	switch spec.Type {
	case autoscalingv2.ObjectMetricSourceType:
		return spec.Object.Metric.Name
	case autoscalingv2.PodsMetricSourceType:
		return spec.Pods.Metric.Name
	case autoscalingv2.ResourceMetricSourceType:
		return string(spec.Resource.Name)
	case autoscalingv2.ContainerResourceMetricSourceType:
		return string(spec.ContainerResource.Name)
	case autoscalingv2.ExternalMetricSourceType:
		return spec.External.Metric.Name
	}
	return ""
}

// field is an unexported field of a struct, made readable and writable. A field that is gone panics.
func field(of reflect.Value, name string) reflect.Value {
	value := of.FieldByName(name)
	return reflect.NewAt(value.Type(), unsafe.Pointer(value.UnsafeAddr())).Elem()
}

// remember replaces the controller's memory. Nothing to remember is no entry at all, as after a restart.
func remember(controller *podautoscaler.HorizontalController, key string, state *state_) {
	c := reflect.ValueOf(controller).Elem()
	fill(field(c, "recommendations"), key, len(state.Recommendations), func(i int, item reflect.Value) {
		field(item, "recommendation").SetInt(int64(state.Recommendations[i].Replicas))
		field(item, "timestamp").Set(reflect.ValueOf(state.Recommendations[i].Time))
	})
	events := func(name string, events []event_) {
		fill(field(c, name), key, len(events), func(i int, item reflect.Value) {
			field(item, "replicaChange").SetInt(int64(events[i].ReplicaChange))
			field(item, "timestamp").Set(reflect.ValueOf(events[i].Time))
			field(item, "outdated").SetBool(events[i].Outdated)
		})
	}
	events("scaleUpEvents", state.ScaleUpEvents)
	events("scaleDownEvents", state.ScaleDownEvents)
}

func fill(memory reflect.Value, key string, count int, set func(int, reflect.Value)) {
	memory.Set(reflect.MakeMap(memory.Type()))
	if count == 0 {
		return
	}
	items := reflect.MakeSlice(memory.Type().Elem(), count, count)
	for i := range count {
		set(i, items.Index(i))
	}
	memory.SetMapIndex(reflect.ValueOf(key), items)
}

// recall reads the controller's memory.
func recall(controller *podautoscaler.HorizontalController, key string) state_ {
	c := reflect.ValueOf(controller).Elem()
	state := state_{Recommendations: []recommendation_{}, ScaleUpEvents: []event_{}, ScaleDownEvents: []event_{}}
	for item := range items(field(c, "recommendations"), key) {
		state.Recommendations = append(state.Recommendations, recommendation_{
			Replicas: int32(field(item, "recommendation").Int()),
			Time:     field(item, "timestamp").Interface().(time.Time).UTC(),
		})
	}
	events := func(name string, events *[]event_) {
		for item := range items(field(c, name), key) {
			*events = append(*events, event_{
				ReplicaChange: int32(field(item, "replicaChange").Int()),
				Time:          field(item, "timestamp").Interface().(time.Time).UTC(),
				Outdated:      field(item, "outdated").Bool(),
			})
		}
	}
	events("scaleUpEvents", &state.ScaleUpEvents)
	events("scaleDownEvents", &state.ScaleDownEvents)
	return state
}

func items(memory reflect.Value, key string) func(func(reflect.Value) bool) {
	return func(yield func(reflect.Value) bool) {
		found := memory.MapIndex(reflect.ValueOf(key))
		if !found.IsValid() {
			return
		}
		for i := range found.Len() {
			if !yield(found.Index(i)) {
				return
			}
		}
	}
}
