package kubelet

import (
	"bytes"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExpand(t *testing.T) {
	get := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "EMPTY": ""}[name]
		return v, ok
	}
	for text, want := range map[string]string{
		"": "", "plain": "plain", "$(A)": "1", "x$(A)y$(A)": "x1y1", "$(EMPTY)": "", "$(B)": "$(B)", "$$(A)": "$(A)", "$$$(A)": "$1",
		"$A": "$A", "$(A": "$(A", "$": "$", "$()": "$()", "a$$b": "a$b",
	} {
		if got := expand(text, get); got != want {
			t.Errorf("%q becomes %q, not %q", text, got, want)
		}
	}
}

func TestRatio(t *testing.T) {
	for _, test := range []struct{ value, divisor, want string }{
		{"250m", "1", "1"}, {"250m", "1m", "250"}, {"2", "1", "2"}, {"1500m", "1", "2"},
	} {
		value, divisor := resource.MustParse(test.value), resource.MustParse(test.divisor)
		if got := ratio(value.MilliValue(), divisor.MilliValue()); got != test.want {
			t.Errorf("%s / %s = %s, not %s", test.value, test.divisor, got, test.want)
		}
	}
}

func TestFormatMap(t *testing.T) {
	if got := formatMap(map[string]string{"b": "2", "a": `say "x"`}); got != "a=\"say \\\"x\\\"\"\nb=\"2\"" {
		t.Error(got)
	}
}

// look returns the names that a user of a volume sees.
func look(t *testing.T, dir string) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "..") {
			seen[e.Name()] = true
		}
	}
	return seen
}

func TestPayloadDir(t *testing.T) {
	d := &payloadDir{dir: t.TempDir()}
	text := func(s string) file { return file{bytes: []byte(s), mode: 0o640} }
	for _, step := range []payload{
		{},
		{"a": text("1"), "b": text("2")},
		{"a": text("3")},
		{"a": text("3"), "deep/er/c": text("4")},
		{"b": text("5")},
	} {
		if err := d.write(step); err != nil {
			t.Fatal(err)
		}
		before, err := os.Readlink(filepath.Join(d.dir, dataLink))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.write(step); err != nil {
			t.Fatal(err)
		}
		if after, err := os.Readlink(filepath.Join(d.dir, dataLink)); err != nil || after != before {
			t.Errorf("the same content was written again: %v", err)
		}
		seen := look(t, d.dir)
		for name, f := range step {
			got, err := os.ReadFile(filepath.Join(d.dir, name))
			if err != nil || !bytes.Equal(got, f.bytes) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			first, _, _ := strings.Cut(name, "/")
			delete(seen, first)
		}
		if len(seen) > 0 {
			t.Errorf("left over: %v", seen)
		}
		if versions, err := filepath.Glob(filepath.Join(d.dir, "..[0-9]*")); err != nil || len(versions) != 1 {
			t.Errorf("versions %v, %v", versions, err)
		}
	}
}

func TestLogFile(t *testing.T) {
	l, err := createLog(filepath.Join(t.TempDir(), "x", "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	out, outWriter, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, errWriter, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l.follow(out, errs)
	long := strings.Repeat("x", 3*longestLine)
	for _, text := range []string{"one\n", "two\n", long + "\n", "no end"} {
		if _, err := outWriter.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	outWriter.Close()
	errWriter.Close()
	l.close()
	read := func(q logQuery) string {
		var b strings.Builder
		if err := l.read(nil, q, &b, func() {}); err != nil && q.limit == 0 {
			t.Error(err)
		}
		return b.String()
	}
	all := "one\ntwo\n" + long + "\nno end"
	for name, test := range map[string]struct {
		q    logQuery
		want string
	}{
		"all":        {logQuery{tail: -1}, all},
		"follow":     {logQuery{tail: -1, follow: true}, all},
		"one line":   {logQuery{tail: 1}, "no end"},
		"none":       {logQuery{tail: 0}, ""},
		"too many":   {logQuery{tail: 100}, all},
		"since":      {logQuery{tail: -1, since: time.Now().Add(time.Hour)}, ""},
		"some bytes": {logQuery{tail: -1, limit: 6}, "one\ntw"},
	} {
		if got := read(test.q); got != test.want {
			t.Errorf("%s: %d bytes %.40q, not %d", name, len(got), got, len(test.want))
		}
	}
	if got := read(logQuery{tail: 1, timestamps: true}); !strings.HasSuffix(got, "Z no end") {
		t.Errorf("timestamps: %q", got)
	}
	if got := string(l.tail(8)); got != "x\nno end" {
		t.Errorf("tail: %q", got)
	}
}

func TestParseLogQuery(t *testing.T) {
	q, previous, err := parseLogQuery(url.Values{"follow": {"true"}, "tailLines": {"5"}, "previous": {"true"}, "sinceSeconds": {"60"}})
	if err != nil || !q.follow || q.tail != 5 || !previous || time.Since(q.since) < time.Minute {
		t.Errorf("%+v, %v, %v", q, previous, err)
	}
	if _, _, err := parseLogQuery(url.Values{"tailLines": {"-1"}}); err == nil {
		t.Error("negative tailLines accepted")
	}
	if _, _, err := parseLogQuery(url.Values{"sinceTime": {"yesterday"}}); err == nil {
		t.Error("bad sinceTime accepted")
	}
}

func TestLimitedWriter(t *testing.T) {
	var b bytes.Buffer
	w := &limitedWriter{w: &b, left: 3}
	if n, err := w.Write([]byte("ab")); n != 2 || err != nil {
		t.Error(n, err)
	}
	if n, err := w.Write([]byte("cd")); n != 1 || err == nil || b.String() != "abc" {
		t.Error(n, err, b.String())
	}
}

func TestThresholds(t *testing.T) {
	probe := &corev1.Probe{SuccessThreshold: 2, FailureThreshold: 3}
	var s thresholds
	var got []bool
	for _, healthy := range []bool{true, true, true, false, false, true, false, false, false} {
		got = append(got, s.add(healthy, probe))
	}
	want := []bool{false, true, true, false, false, false, false, false, true}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%v, not %v", got, want)
		}
	}
}

func TestGrace(t *testing.T) {
	g := newGrace()
	g.limit(time.Hour)
	g.limit(20 * time.Millisecond)
	g.limit(time.Hour) // can't be lengthened
	select {
	case <-g.over:
	case <-time.After(5 * time.Second):
		t.Error("the shorter period didn't end")
	}
}

func testPod(init, apps int, policy corev1.RestartPolicy) *pod {
	object := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{RestartPolicy: policy}}
	for range init {
		object.Spec.InitContainers = append(object.Spec.InitContainers, corev1.Container{})
	}
	for range apps {
		object.Spec.Containers = append(object.Spec.Containers, corev1.Container{})
	}
	k := &kubelet{Config: Config{Log: nil}}
	p := &pod{k: k, object: object}
	for i := range init {
		p.containers = append(p.containers, newContainer(p, i, true))
	}
	for i := range apps {
		p.containers = append(p.containers, newContainer(p, i, false))
	}
	return p
}

func TestPhase(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	ended := func(code int32) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
	}
	fresh := waiting("ContainerCreating", "")
	for name, test := range map[string]struct {
		states   []corev1.ContainerState
		crashed  bool // waits to be restarted
		initDone bool
		ended    bool
		failure  bool
		want     corev1.PodPhase
	}{
		"new":                     {states: []corev1.ContainerState{fresh, fresh}, want: corev1.PodPending},
		"init containers run":     {states: []corev1.ContainerState{fresh, fresh}, want: corev1.PodPending},
		"one started":             {states: []corev1.ContainerState{running, fresh}, initDone: true, want: corev1.PodPending},
		"both run":                {states: []corev1.ContainerState{running, running}, initDone: true, want: corev1.PodRunning},
		"one ended":               {states: []corev1.ContainerState{running, ended(0)}, initDone: true, want: corev1.PodRunning},
		"crash loop":              {states: []corev1.ContainerState{fresh, running}, crashed: true, initDone: true, want: corev1.PodRunning},
		"succeeded":               {states: []corev1.ContainerState{ended(0), ended(0)}, initDone: true, ended: true, want: corev1.PodSucceeded},
		"failed":                  {states: []corev1.ContainerState{ended(0), ended(1)}, initDone: true, ended: true, want: corev1.PodFailed},
		"sidecars still run":      {states: []corev1.ContainerState{ended(0), ended(0)}, initDone: true, want: corev1.PodRunning},
		"failed init container":   {states: []corev1.ContainerState{fresh, fresh}, ended: true, failure: true, want: corev1.PodFailed},
		"deleted before it began": {states: []corev1.ContainerState{fresh, fresh}, ended: true, want: corev1.PodFailed},
	} {
		p := testPod(1, 2, corev1.RestartPolicyNever)
		p.initDone, p.ended = test.initDone, test.ended
		if test.failure {
			p.failure = &podFailure{}
		}
		for i, s := range test.states {
			p.containers[i+1].state = s
		}
		if test.crashed {
			p.containers[1].last = ended(1)
		}
		if got := p.phase(); got != test.want {
			t.Errorf("%s: %s, not %s", name, got, test.want)
		}
	}
}

func TestRestartable(t *testing.T) {
	for _, test := range []struct {
		policy     corev1.RestartPolicy
		kind       containerKind
		good, evil bool // restarted after success, after failure
	}{
		{corev1.RestartPolicyAlways, appContainer, true, true},
		{corev1.RestartPolicyOnFailure, appContainer, false, true},
		{corev1.RestartPolicyNever, appContainer, false, false},
		{corev1.RestartPolicyAlways, initContainer, false, true},
		{corev1.RestartPolicyNever, initContainer, false, false},
		{corev1.RestartPolicyNever, sidecarContainer, true, true},
	} {
		c := testPod(0, 1, test.policy).containers[0]
		c.kind = test.kind
		if c.restartable(0) != test.good || c.restartable(1) != test.evil {
			t.Errorf("%+v: %v, %v", test, c.restartable(0), c.restartable(1))
		}
	}
}

func TestSetCondition(t *testing.T) {
	long := metav1.NewTime(time.Now().Add(-time.Hour))
	s := &corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: long}, {Type: "mine", Status: corev1.ConditionTrue}}}
	setCondition(s, 2, corev1.PodReady, true, "r", "m")
	if c := s.Conditions[0]; !c.LastTransitionTime.Equal(&long) || c.Reason != "" || c.ObservedGeneration != 2 {
		t.Errorf("unchanged: %+v", c)
	}
	setCondition(s, 2, corev1.PodReady, false, "r", "m")
	if c := s.Conditions[0]; c.LastTransitionTime.Equal(&long) || c.Reason != "r" {
		t.Errorf("changed: %+v", c)
	}
	if gate := openGate([]corev1.PodReadinessGate{{ConditionType: "mine"}, {ConditionType: "other"}}, s.Conditions); gate != "other" {
		t.Errorf("gate %q", gate)
	}
}

func TestMissing(t *testing.T) {
	yes, no := true, false
	if missing(&yes, "x") != nil || missing(&no, "x") == nil || missing(nil, "x") == nil {
		t.Error("optional means that nothing is wrong")
	}
	if err := missing(nil, "%w", os.ErrNotExist); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
