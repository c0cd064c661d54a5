package window

import (
	"fmt"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// Source is one object that says when moves may start.
type Source struct {
	// Owner as people call it: "the rollout", `ControlPlane "default"`.
	Owner   string
	Windows []v1alpha1.Window
	Freezes []v1alpha1.Freeze
}

// Calendar says when moves may start: in one of the windows of each source that has some, and in no freeze of any. The zero
// value is always open.
type Calendar struct{ sources []source }

type source struct {
	owner   string
	windows []recurring
	freezes []span
}

// State of a calendar at one moment.
type State struct {
	// Open tells whether moves may start.
	Open bool
	// Changes is when that will change; zero when it cannot be foreseen.
	Changes time.Time
	// Message says why no move starts and when moves start again, as one sentence without a full stop; empty when open.
	Message string
	// zone in which Changes is told.
	zone *time.Location
}

// Until is Changes for people: "Sat 2026-11-28 02:00 Europe/Berlin"; empty when it cannot be foreseen.
func (s State) Until() string {
	if s.Changes.IsZero() {
		return ""
	}
	return moment(s.Changes, s.zone)
}

// New reads the windows and freezes. The error is one sentence: which one is wrong, why, and what is right.
func New(sources ...Source) (Calendar, error) {
	var c Calendar
	for _, in := range sources {
		s := source{owner: in.Owner}
		for n, w := range in.Windows {
			r, err := newRecurring(w.Schedule, w.Duration.Duration, w.TimeZone)
			if err != nil {
				return Calendar{}, fmt.Errorf("window %d of %s: %w", n+1, in.Owner, err)
			}
			s.windows = append(s.windows, r)
		}
		for _, f := range in.Freezes {
			r, err := newSpan(f)
			if err != nil {
				return Calendar{}, fmt.Errorf("freeze %q of %s: %w", f.Name, in.Owner, err)
			}
			s.freezes = append(s.freezes, r)
		}
		c.sources = append(c.sources, s)
	}
	return c, nil
}

// horizon bounds how often a search for the next change looks; windows that overlap without an end never change.
const horizon = 366

// At tells whether moves may start at t, and when that changes.
func (c Calendar) At(t time.Time) State {
	cause, zone, next := c.closed(t)
	if cause == "" {
		return c.open(t)
	}
	s := State{zone: zone}
	for range horizon {
		if next.IsZero() {
			break
		}
		again, _, after := c.closed(next)
		if again == "" {
			s.Changes = next
			break
		}
		next = after
	}
	switch {
	case !s.Changes.IsZero():
		s.Message = cause + ": moves start again " + s.Until()
	default:
		s.Message = cause + ": it is not foreseen that moves start again, change the object"
	}
	return s
}

// closed says why no move starts at t, the zone to tell times in, and the first moment at which this cause may be over; zero
// for never. An empty cause means open.
func (c Calendar) closed(t time.Time) (cause string, zone *time.Location, next time.Time) {
	for _, s := range c.sources {
		for _, f := range s.freezes {
			if inside, until := f.at(t); inside {
				return fmt.Sprintf("no move starts in the freeze %q of %s", f.name, s.owner), f.zone(), until
			}
		}
	}
	for _, s := range c.sources {
		if len(s.windows) == 0 {
			continue
		}
		zone, next = s.windows[0].zone, time.Time{}
		inside := false
		for _, w := range s.windows {
			in, _ := w.at(t)
			inside = inside || in
			if begin := w.next(t); !begin.IsZero() && (next.IsZero() || begin.Before(next)) {
				zone, next = w.zone, begin
			}
		}
		if !inside {
			return "no move starts outside the maintenance windows of " + s.owner, zone, next
		}
	}
	return "", nil, time.Time{}
}

// open finds when an open calendar closes.
func (c Calendar) open(t time.Time) State {
	s := State{Open: true, zone: time.UTC}
	first := func(at time.Time, zone *time.Location) {
		if !at.IsZero() && (s.Changes.IsZero() || at.Before(s.Changes)) {
			s.Changes, s.zone = at, zone
		}
	}
	for _, src := range c.sources {
		for _, f := range src.freezes {
			first(f.next(t), f.zone())
		}
		first(src.covered(t))
	}
	return s
}

// covered returns until when the windows cover all the time from t on; zero when there are none or no end is in sight.
func (s source) covered(t time.Time) (until time.Time, zone *time.Location) {
	for range horizon {
		latest := t
		for _, w := range s.windows {
			if inside, end := w.at(t); inside && end.After(latest) {
				latest, zone = end, w.zone
			}
		}
		if latest.Equal(t) {
			return until, zone
		}
		t, until = latest, latest
	}
	return time.Time{}, nil
}

// Describe writes a window for people: "0 22 * * SAT for 8h, Europe/Berlin".
func Describe(w v1alpha1.Window) string {
	zone := w.TimeZone
	if zone == "" {
		zone = "UTC"
	}
	return fmt.Sprintf("%s for %s, %s", w.Schedule, Short(w.Duration.Duration), zone)
}

// DescribeFreeze writes a freeze for people, without its name: "until Mon 2027-01-04 00:00 UTC".
func DescribeFreeze(f v1alpha1.Freeze) string {
	switch {
	case f.Schedule != "" && f.Duration != nil:
		return Describe(v1alpha1.Window{Schedule: f.Schedule, Duration: *f.Duration, TimeZone: f.TimeZone})
	case f.From != nil && f.Until != nil:
		return "from " + moment(f.From.Time, time.UTC) + " until " + moment(f.Until.Time, time.UTC)
	case f.From != nil:
		return "from " + moment(f.From.Time, time.UTC) + " until it is lifted"
	case f.Until != nil:
		return "until " + moment(f.Until.Time, time.UTC)
	}
	return "until it is lifted"
}

// Of is the calendar of a rollout: its own windows and freezes, and those of the cluster; cp may be nil.
func Of(spec *v1alpha1.DataPlaneRolloutSpec, cp *v1alpha1.ControlPlane) (Calendar, error) {
	sources := []Source{{Owner: "the rollout", Windows: spec.Windows, Freezes: spec.Freezes}}
	if cp != nil {
		sources = append(sources, OfCluster(cp))
	}
	return New(sources...)
}

// OfCluster are the windows and freezes that hold for every rollout of the cluster.
func OfCluster(cp *v1alpha1.ControlPlane) Source {
	return Source{Owner: "the cluster (ControlPlane " + v1alpha1.SingletonName + ")", Windows: cp.Spec.Windows, Freezes: cp.Spec.Freezes}
}
