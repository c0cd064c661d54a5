// Package window knows when moves may start: inside maintenance windows and outside freezes, on the wall clocks of their
// time zones. It is pure: the time is an argument.
//
// A wall-clock time is the first moment at which the clock of the zone shows it or a later time. So a time that the clock
// skips in spring counts from the moment of the jump, one that it shows twice in autumn counts once, and "22:00 for 8h" ends
// when the clock shows 06:00 in every night of the year.
package window

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// Limits of the duration of a window or freeze that comes back.
const (
	shortest = time.Minute
	longest  = 365 * 24 * time.Hour
)

// skew is more than any clock was ever set back or forth.
const skew = 26 * time.Hour

// recurring is a span that comes back.
type recurring struct {
	schedule cron.Schedule
	duration time.Duration
	zone     *time.Location
}

// newRecurring reads a schedule. The error is what is wrong and how it is right, as the rest of a sentence.
func newRecurring(schedule string, duration time.Duration, zone string) (recurring, error) {
	// The parser would take a zone in front of the fields, which would hide the field timeZone, and shorthands without one.
	if strings.Contains(schedule, "=") || strings.HasPrefix(schedule, "@") {
		return recurring{}, fmt.Errorf("%q is not a schedule: write five fields of cron, minute hour day-of-month month day-of-week, for example \"0 2 * * SAT\", and the zone in timeZone", schedule)
	}
	s, err := cron.ParseStandard(schedule)
	if err != nil {
		return recurring{}, fmt.Errorf("%q is not a schedule (%s): write five fields of cron, minute hour day-of-month month day-of-week, for example \"0 2 * * SAT\"", schedule, err.Error())
	}
	if s.Next(time.Unix(0, 0).UTC()).IsZero() {
		return recurring{}, fmt.Errorf("the schedule %q names a day that never comes: correct day-of-month and month", schedule)
	}
	if duration < shortest || duration > longest {
		return recurring{}, fmt.Errorf("the duration %s is out of range: give one from %s to %s", duration, Short(shortest), Short(longest))
	}
	loc, err := location(zone)
	return recurring{s, duration, loc}, err
}

func location(zone string) (*time.Location, error) {
	if zone == "" {
		return time.UTC, nil
	}
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return nil, fmt.Errorf("there is no time zone %q: use a name of the IANA database, for example Europe/Berlin", zone)
	}
	return loc, nil
}

// naive is what the clock of the zone shows at t, as if it were UTC.
func naive(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// resolve returns the first moment at which the clock of the zone shows n or a later time.
func resolve(n time.Time, zone *time.Location) time.Time {
	_, before := n.Add(-skew).In(zone).Zone()
	_, after := n.Add(skew).In(zone).Zone()
	early, late := n.Add(-time.Duration(before)*time.Second), n.Add(-time.Duration(after)*time.Second)
	if late.Before(early) {
		early, late = late, early
	}
	for _, t := range []time.Time{early, late} {
		if naive(t, zone).Equal(n) {
			return t
		}
	}
	// The clock skips n: the moment of the jump is where the zone's bounds lie between the two readings.
	start, _ := late.In(zone).ZoneBounds()
	return start.UTC()
}

// at tells whether t lies in the span that began last, and when that one ends.
func (r recurring) at(t time.Time) (inside bool, until time.Time) {
	wall := naive(t, r.zone)
	var last time.Time
	for back := time.Hour; last.IsZero(); back *= 2 {
		back = min(back, r.duration+skew)
		if n := r.schedule.Next(wall.Add(-back)); !n.IsZero() && !resolve(n, r.zone).After(t) {
			last = n
		} else if back == r.duration+skew {
			return false, time.Time{}
		}
	}
	for n := r.schedule.Next(last); !n.IsZero() && !resolve(n, r.zone).After(t); n = r.schedule.Next(n) {
		last = n
	}
	until = resolve(last.Add(r.duration), r.zone)
	return t.Before(until), until
}

// next is when the span begins next, after t; zero when it does not.
func (r recurring) next(t time.Time) time.Time {
	for n := r.schedule.Next(naive(t, r.zone).Add(-time.Second)); !n.IsZero(); n = r.schedule.Next(n) {
		begin := resolve(n, r.zone)
		if begin.After(t) && begin.Before(resolve(n.Add(r.duration), r.zone)) {
			return begin
		}
	}
	return time.Time{}
}

// span is one freeze: either recurring, or from one moment until another.
type span struct {
	name        string
	again       *recurring
	from, until time.Time
}

func newSpan(f v1alpha1.Freeze) (span, error) {
	s := span{name: f.Name}
	if f.Schedule != "" || f.Duration != nil {
		if f.Schedule == "" || f.Duration == nil || f.From != nil || f.Until != nil {
			return s, fmt.Errorf("it must have either schedule and duration, or from and until, or none of them for a freeze until it is lifted")
		}
		r, err := newRecurring(f.Schedule, f.Duration.Duration, f.TimeZone)
		s.again = &r
		return s, err
	}
	if f.From != nil {
		s.from = f.From.Time
	}
	if f.Until != nil {
		s.until = f.Until.Time
	}
	if f.Until != nil && !s.from.Before(s.until) {
		return s, fmt.Errorf("it ends at %s, which is not after its begin at %s: correct from or until", moment(s.until, time.UTC), moment(s.from, time.UTC))
	}
	return s, nil
}

// at tells whether t lies in the span, and when that ends; a zero time means never.
func (s span) at(t time.Time) (inside bool, until time.Time) {
	if s.again != nil {
		return s.again.at(t)
	}
	return !t.Before(s.from) && (s.until.IsZero() || t.Before(s.until)), s.until
}

// next is when the span begins next, after t; zero when it does not.
func (s span) next(t time.Time) time.Time {
	switch {
	case s.again != nil:
		return s.again.next(t)
	case s.from.After(t):
		return s.from
	}
	return time.Time{}
}

func (s span) zone() *time.Location {
	if s.again != nil {
		return s.again.zone
	}
	return time.UTC
}

// moment writes a time for people, with its zone.
func moment(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("Mon 2006-01-02 15:04 ") + zone.String()
}

// Short writes a duration of whole minutes without zeros: "8h" for 8h0m0s.
func Short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
