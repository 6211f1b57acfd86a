package main

import (
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// input_ is one line of input: a case.
type input_ struct {
	HPA    *autoscalingv2.HorizontalPodAutoscaler `json:"hpa"`
	Scale  *scale_                                `json:"scale"`
	Pods   []*v1.Pod                              `json:"pods"`
	Values values_                                `json:"values"`
	Now    time.Time                              `json:"now"`
	State  state_                                 `json:"state"`
}

type scale_ struct {
	SpecReplicas   int32  `json:"specReplicas"`
	StatusReplicas int32  `json:"statusReplicas"`
	Selector       string `json:"selector"`
}

type values_ struct {
	External []struct {
		Metric   string              `json:"metric"`
		Selector string              `json:"selector"`
		Values   []resource.Quantity `json:"values"`
	} `json:"external"`
	Pods []struct {
		Metric   string                       `json:"metric"`
		Selector string                       `json:"selector"`
		Values   map[string]resource.Quantity `json:"values"`
	} `json:"pods"`
	Object []struct {
		Metric string `json:"metric"`
		Object struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"object"`
		Value resource.Quantity `json:"value"`
	} `json:"object"`
	Resource []struct {
		Pod        string                     `json:"pod"`
		Timestamp  *metav1.Time               `json:"timestamp"`
		Window     metav1.Duration            `json:"window"`
		Containers map[string]v1.ResourceList `json:"containers"`
	} `json:"resource"`
}

type state_ struct {
	Recommendations []recommendation_ `json:"recommendations"`
	ScaleUpEvents   []event_          `json:"scaleUpEvents"`
	ScaleDownEvents []event_          `json:"scaleDownEvents"`
}

type recommendation_ struct {
	Replicas int32     `json:"replicas"`
	Time     time.Time `json:"time"`
}

type event_ struct {
	ReplicaChange int32     `json:"replicaChange"`
	Time          time.Time `json:"time"`
	Outdated      bool      `json:"outdated"`
}

// output_ is one line of output.
type output_ struct {
	DesiredReplicas int32        `json:"desiredReplicas"`
	Error           *string      `json:"error"`
	Proposals       []proposal_  `json:"proposals"`
	Conditions      []condition_ `json:"conditions"`
	State           state_       `json:"state"`
}

type proposal_ struct {
	Type     string  `json:"type"`
	Metric   string  `json:"metric"`
	Replicas *int32  `json:"replicas,omitempty"`
	Error    *string `json:"error,omitempty"`
}

type condition_ struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}
