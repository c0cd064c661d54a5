package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Window is a span of time that comes back, for example a maintenance window. Both its ends are read on the wall clock of
// its time zone: "Saturday 22:00, for 8h" ends on Sunday at 06:00 in every night of the year.
type Window struct {
	// Schedule says when the window opens, as five fields of cron: minute, hour, day of month, month, day of week.
	// "0 22 * * SAT" is each Saturday at 22:00.
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=253
	Schedule string `json:"schedule"`
	// Duration says how long it stays open, from 1m to 8760h.
	Duration metav1.Duration `json:"duration"`
	// TimeZone is the name of the time zone in the IANA database, for example "Europe/Berlin"; empty means UTC.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	TimeZone string `json:"timeZone,omitempty"`
}

// Freeze is a span of time in which no move starts. With a schedule it comes back; else it lasts from one moment until
// another, and without these from now on until somebody takes it out.
//
// +kubebuilder:validation:XValidation:rule="has(self.schedule) == has(self.duration)",message="schedule and duration of a freeze go together: give both, or from and until, or none for a freeze until it is lifted"
// +kubebuilder:validation:XValidation:rule="!has(self.schedule) || !has(self.from) && !has(self.until)",message="a freeze has either schedule and duration, or from and until"
// +kubebuilder:validation:XValidation:rule="!has(self.timeZone) || has(self.schedule)",message="timeZone of a freeze belongs to its schedule: from and until name their zone themselves"
type Freeze struct {
	// Name says why, for the eye: "year-end".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// From is when the freeze begins; empty means it has begun.
	// +optional
	From *metav1.Time `json:"from,omitempty"`
	// Until is when the freeze ends; empty means when it is taken out.
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
	// Schedule says when the freeze begins again and again, as in [Window].
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Schedule string `json:"schedule,omitempty"`
	// Duration says how long it lasts each time, from 1m to 8760h.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
	// TimeZone of the schedule, as in [Window].
	// +kubebuilder:validation:MaxLength=63
	// +optional
	TimeZone string `json:"timeZone,omitempty"`
}
