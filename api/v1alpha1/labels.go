package v1alpha1

const (
	// RevisionLabel on a pod (set through its workload's pod template) names the revision that must inject the pod
	// while a handover is in place. Without a handover it is inert. See docs/handover.md.
	RevisionLabel = "meshlift.dev/revision"

	// MoveAnnotation on a workload records, as JSON, the move that Meshlift made last: target, start and attempt.
	// It is on the workload itself and not on its pod template, so that writing it restarts nothing.
	MoveAnnotation = "meshlift.dev/move"

	// StrategyAnnotation on a workload keeps, as JSON, the update strategy that it had before Meshlift changed it for the
	// time of a move: a gateway surges, and the partition of a StatefulSet is 0.
	StrategyAnnotation = "meshlift.dev/strategy"

	// AttemptAnnotation on a pod template is raised by a retry, because only a changed template makes new pods.
	AttemptAnnotation = "meshlift.dev/attempt"

	// ExcludeAnnotation on a workload or a namespace, with the value "true", keeps Meshlift from moving it.
	ExcludeAnnotation = "meshlift.dev/exclude"

	// TimeoutAnnotation on a workload overrides the timeout of rollouts for it, as a duration: "45m"; "0s" means for ever.
	TimeoutAnnotation = "meshlift.dev/timeout"

	// HealthAnnotation on a workload, with the value [HealthOff], leaves it out of the health gates of rollouts.
	HealthAnnotation = "meshlift.dev/health"
	// HealthOff is the value of [HealthAnnotation].
	HealthOff = "off"

	// RequestedByAnnotation on a ClusterUpgrade or a DataPlaneRollout says who asked for it, as the API server knows them. It is
	// written by the command line and by the hub; what GitOps applies has it when its author says so.
	RequestedByAnnotation = "meshlift.dev/requested-by"

	// FieldManager owns every field that Meshlift applies to objects of others.
	FieldManager = "meshlift"
)
