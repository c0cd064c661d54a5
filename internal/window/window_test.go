package window

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones are those of the binary, as in the agent's image

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
)

func win(schedule string, d time.Duration, zone string) v1alpha1.Window {
	return v1alpha1.Window{Schedule: schedule, Duration: metav1.Duration{Duration: d}, TimeZone: zone}
}

func calendar(t *testing.T, windows []v1alpha1.Window, freezes ...v1alpha1.Freeze) Calendar {
	t.Helper()
	c, err := New(Source{Owner: "the rollout", Windows: windows, Freezes: freezes})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func at(t *testing.T, zone, wall string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	out, err := time.ParseInLocation("2006-01-02 15:04", wall, loc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAWindowOpensAndClosesOnTheClockOfItsZone(t *testing.T) {
	const berlin = "Europe/Berlin"
	for _, c := range []struct {
		name, schedule string
		duration       time.Duration
		at             string
		open           bool
		changes        string
	}{
		{"before it opens", "0 22 * * SAT", 8 * time.Hour, "2026-11-28 21:59", false, "2026-11-28 22:00"},
		{"when it opens", "0 22 * * SAT", 8 * time.Hour, "2026-11-28 22:00", true, "2026-11-29 06:00"},
		{"a minute before it closes", "0 22 * * SAT", 8 * time.Hour, "2026-11-29 05:59", true, "2026-11-29 06:00"},
		{"when it closes", "0 22 * * SAT", 8 * time.Hour, "2026-11-29 06:00", false, "2026-12-05 22:00"},
		{"the short night of spring", "0 22 * * SAT", 8 * time.Hour, "2026-03-29 04:00", true, "2026-03-29 06:00"},
		{"the long night of autumn", "0 22 * * SAT", 8 * time.Hour, "2026-10-25 05:30", true, "2026-10-25 06:00"},
		{"a time that the clock skips counts from its jump", "30 2 * * *", time.Hour, "2026-03-29 03:10", true, "2026-03-29 03:30"},
		{"windows that touch are one", "0 */2 * * *", 2 * time.Hour, "2026-11-28 12:00", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := calendar(t, []v1alpha1.Window{win(c.schedule, c.duration, berlin)}).At(at(t, berlin, c.at))
			changes := time.Time{}
			if c.changes != "" {
				changes = at(t, berlin, c.changes)
			}
			if got.Open != c.open || !got.Changes.Equal(changes) {
				t.Errorf("open is %v until %s, want %v until %s", got.Open, got.Until(), c.open, c.changes)
			}
		})
	}
}

func TestATimeThatTheClockShowsTwiceCountsOnce(t *testing.T) {
	// On 2026-10-25 at 03:00 the clocks of Berlin go back to 02:00: 00:30Z and 01:30Z are both 02:30.
	c := calendar(t, []v1alpha1.Window{win("30 2 * * *", 15*time.Minute, "Europe/Berlin")})
	for utc, open := range map[string]bool{"00:29": false, "00:30": true, "00:44": true, "00:45": false, "01:30": false} {
		moment, _ := time.Parse(time.RFC3339, "2026-10-25T"+utc+":00Z")
		if got := c.At(moment); got.Open != open {
			t.Errorf("at %sZ open is %v, want %v", utc, got.Open, open)
		}
	}
}

func TestTheMessageSaysWhyAndWhenMovesStartAgain(t *testing.T) {
	saturday := []v1alpha1.Window{win("0 2 * * SAT", 4*time.Hour, "Europe/Berlin")}
	begin, end := metav1.NewTime(at(t, "UTC", "2026-11-27 00:00")), metav1.NewTime(at(t, "UTC", "2026-12-01 00:00"))
	for _, c := range []struct {
		name    string
		windows []v1alpha1.Window
		freezes []v1alpha1.Freeze
		want    string
	}{
		{"always", nil, nil, ""},
		{"outside", saturday, nil, "no move starts outside the maintenance windows of the rollout: moves start again Sat 2026-11-28 02:00 Europe/Berlin"},
		{"a freeze over the next window", saturday, []v1alpha1.Freeze{{Name: "year-end", From: &begin, Until: &end}}, "no move starts outside the maintenance windows of the rollout: moves start again Sat 2026-12-05 02:00 Europe/Berlin"},
		{"until lifted", nil, []v1alpha1.Freeze{{Name: "incident"}}, `no move starts in the freeze "incident" of the rollout: it is not foreseen that moves start again, change the object`},
		{"from now until", nil, []v1alpha1.Freeze{{Name: "audit", Until: &end}}, `no move starts in the freeze "audit" of the rollout: moves start again Tue 2026-12-01 00:00 UTC`},
		{"every weekday", nil, []v1alpha1.Freeze{{Name: "office", Schedule: "0 8 * * MON-FRI", Duration: &metav1.Duration{Duration: 10 * time.Hour}, TimeZone: "Europe/Berlin"}}, `no move starts in the freeze "office" of the rollout: moves start again Wed 2026-11-25 18:00 Europe/Berlin`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := calendar(t, c.windows, c.freezes...).At(at(t, "UTC", "2026-11-25 12:00")); got.Message != c.want || got.Open != (c.want == "") {
				t.Errorf("open %v: %q\nwant %q", got.Open, got.Message, c.want)
			}
		})
	}
}

func TestEverySourceMustBeOpen(t *testing.T) {
	c, err := New(
		Source{Owner: "the rollout", Windows: []v1alpha1.Window{win("0 2 * * *", 4*time.Hour, ""), win("0 12 * * *", time.Hour, "")}},
		Source{Owner: "the ControlPlane", Windows: []v1alpha1.Window{win("0 4 * * *", 4*time.Hour, "")}},
	)
	if err != nil {
		t.Fatal(err)
	}
	for hour, want := range map[int]bool{3: false, 4: true, 5: true, 6: false, 12: false} {
		got := c.At(time.Date(2026, 11, 25, hour, 0, 0, 0, time.UTC))
		if got.Open != want {
			t.Errorf("at %d:00 open is %v: %s", hour, got.Open, got.Message)
		}
		if got.Open && got.Changes.Hour() != 6 {
			t.Errorf("at %d:00 it is open until %s", hour, got.Until())
		}
	}
}

func TestWhatCannotBeReadIsRefusedWithWhatIsRight(t *testing.T) {
	hour := &metav1.Duration{Duration: time.Hour}
	early, late := metav1.NewTime(time.Unix(0, 0)), metav1.NewTime(time.Unix(60, 0))
	for _, c := range []struct {
		window *v1alpha1.Window
		freeze *v1alpha1.Freeze
		says   string
	}{
		{window: &v1alpha1.Window{Schedule: "61 * * * *", Duration: *hour}, says: `window 1 of the rollout: "61 * * * *" is not a schedule`},
		{window: &v1alpha1.Window{Schedule: "TZ=", Duration: *hour}, says: "write five fields of cron"},
		{window: &v1alpha1.Window{Schedule: "CRON_TZ=UTC 0 2 * * *", Duration: *hour}, says: "the zone in timeZone"},
		{window: &v1alpha1.Window{Schedule: "@every 1h", Duration: *hour}, says: "is not a schedule"},
		{window: &v1alpha1.Window{Schedule: "", Duration: *hour}, says: "is not a schedule"},
		{window: &v1alpha1.Window{Schedule: "0 2 30 2 *", Duration: *hour}, says: "names a day that never comes"},
		{window: &v1alpha1.Window{Schedule: "0 2 * * *"}, says: "the duration 0s is out of range: give one from 1m to 8760h"},
		{window: &v1alpha1.Window{Schedule: "0 2 * * *", Duration: *hour, TimeZone: "Mars/Olympus"}, says: `there is no time zone "Mars/Olympus"`},
		{window: &v1alpha1.Window{Schedule: "0 2 * * *", Duration: *hour, TimeZone: "Local"}, says: `there is no time zone "Local"`},
		{window: &v1alpha1.Window{Schedule: "0 2 * * *", Duration: *hour, TimeZone: "../etc/passwd"}, says: "there is no time zone"},
		{freeze: &v1alpha1.Freeze{Name: "x", Schedule: "0 2 * * *"}, says: `freeze "x" of the rollout: it must have either schedule and duration`},
		{freeze: &v1alpha1.Freeze{Name: "x", Duration: hour}, says: "either schedule and duration"},
		{freeze: &v1alpha1.Freeze{Name: "x", Schedule: "0 2 * * *", Duration: hour, From: &early}, says: "either schedule and duration"},
		{freeze: &v1alpha1.Freeze{Name: "x", From: &late, Until: &early}, says: "which is not after its begin"},
	} {
		s := Source{Owner: "the rollout"}
		if c.window != nil {
			s.Windows = append(s.Windows, *c.window)
		} else {
			s.Freezes = append(s.Freezes, *c.freeze)
		}
		if _, err := New(s); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v %+v: %v, want %q", c.window, c.freeze, err, c.says)
		}
	}
}

// zones with every kind of jump: an hour, half an hour, none, and a whole day.
var zones = []struct{ name, from string }{
	{"Europe/Berlin", "2026-03-27"},
	{"Europe/Berlin", "2026-10-23"},
	{"America/New_York", "2026-10-30"},
	{"Australia/Lord_Howe", "2026-04-03"},
	{"Australia/Lord_Howe", "2026-10-02"},
	{"Asia/Kolkata", "2026-01-01"},
	{"Pacific/Apia", "2011-12-28"},
	{"UTC", "2028-02-27"},
}

// brute is the definition, minute by minute: the moments of four days and what the clock shows at each.
type brute struct {
	moments []time.Time
	walls   []time.Time
}

func newBrute(t interface{ Fatal(...any) }, zone, from string) brute {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	begin, err := time.Parse(time.DateOnly, from)
	if err != nil {
		t.Fatal(err)
	}
	var b brute
	for m := begin.Add(-30 * time.Hour); m.Before(begin.Add(5 * 24 * time.Hour)); m = m.Add(time.Minute) {
		b.moments = append(b.moments, m)
		b.walls = append(b.walls, naive(m, loc))
	}
	return b
}

// first returns the first moment at which the clock shows n or later.
func (b brute) first(n time.Time) time.Time {
	for i, w := range b.walls {
		if !w.Before(n) {
			return b.moments[i]
		}
	}
	return b.moments[len(b.moments)-1].Add(time.Hour)
}

func TestAWindowIsOpenExactlyWhereItsDefinitionSays(t *testing.T) {
	days := []string{"*", "SAT", "SUN", "MON-FRI"}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		minute, hour := rapid.SampledFrom([]int{0, 15, 30, 59}).Draw(t, "minute"), rapid.IntRange(0, 23).Draw(t, "hour")
		day := rapid.SampledFrom(days).Draw(t, "day")
		schedule := fmt.Sprintf("%d %d * * %s", minute, hour, day)
		duration := time.Duration(rapid.SampledFrom([]int{1, 20, 60, 150, 1440, 1500}).Draw(t, "minutes")) * time.Minute
		r, err := newRecurring(schedule, duration, zone.name)
		if err != nil {
			t.Fatal(err)
		}
		b := newBrute(t, zone.name, zone.from)
		fits := func(n time.Time) bool {
			d := n.Weekday()
			return n.Hour() == hour && n.Minute() == minute && (day == "*" || day == "SAT" && d == time.Saturday || day == "SUN" && d == time.Sunday || day == "MON-FRI" && d >= time.Monday && d <= time.Friday)
		}
		type interval struct{ from, until time.Time }
		var open []interval
		for n := b.walls[0].Truncate(24 * time.Hour).Add(-48 * time.Hour); n.Before(b.walls[len(b.walls)-1]); n = n.Add(time.Minute) {
			if fits(n) && n.After(b.walls[0]) {
				open = append(open, interval{b.first(n), b.first(n.Add(duration))})
			}
		}
		// The first 27 hours may lie in a window that opened before the table begins.
		probe := rapid.IntRange(27*60, len(b.moments)-26*60).Draw(t, "probe")
		for i := probe; i < min(probe+300, len(b.moments)); i++ {
			m, want := b.moments[i], false
			for _, o := range open {
				want = want || !m.Before(o.from) && m.Before(o.until)
			}
			if got, _ := r.at(m); got != want {
				t.Fatalf("%s %s for %s in %s: open at %s (%s) is %v, by definition %v", zone.name, schedule, duration, zone.from, m, b.walls[i], got, want)
			}
		}
		m := b.moments[probe]
		if next := r.next(m); !next.IsZero() {
			for _, o := range open {
				if o.from.After(m) && o.from.Before(o.until) && o.from.Before(next) {
					t.Fatalf("%s %s for %s: after %s it opens %s, by definition %s", zone.name, schedule, duration, m, next, o.from)
				}
			}
			if inside, _ := r.at(next); !inside {
				t.Fatalf("%s %s for %s: it is not open at %s, when it opens next", zone.name, schedule, duration, next)
			}
		}
	})
}

func TestAnAnswerHoldsUntilItsChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		var s Source
		s.Owner = "x"
		for n := range rapid.IntRange(0, 3).Draw(t, "windows") {
			s.Windows = append(s.Windows, win(fmt.Sprintf("0 %d * * *", rapid.IntRange(0, 23).Draw(t, fmt.Sprint("hour", n))), time.Duration(rapid.IntRange(1, 30).Draw(t, fmt.Sprint("hours", n)))*time.Hour, zone.name))
		}
		if rapid.Bool().Draw(t, "freeze") {
			s.Freezes = append(s.Freezes, v1alpha1.Freeze{Name: "f", Schedule: fmt.Sprintf("30 %d * * MON", rapid.IntRange(0, 23).Draw(t, "freeze hour")), Duration: &metav1.Duration{Duration: 36 * time.Hour}, TimeZone: zone.name})
		}
		c, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		begin, _ := time.Parse(time.DateOnly, zone.from)
		now := begin.Add(time.Duration(rapid.IntRange(0, 4*24*60).Draw(t, "minute")) * time.Minute)
		state := c.At(now)
		if state.Changes.IsZero() {
			return
		}
		if !state.Changes.After(now) || c.At(state.Changes).Open == state.Open {
			t.Fatalf("%+v at %s changes at %s, but there it is %v too", s, now, state.Changes, state.Open)
		}
		for m := now; m.Before(state.Changes) && m.Before(now.Add(72*time.Hour)); m = m.Add(30 * time.Minute) {
			if c.At(m).Open != state.Open {
				t.Fatalf("%+v at %s is said to be %v until %s, but changes at %s", s, now, state.Open, state.Changes, m)
			}
		}
	})
}
