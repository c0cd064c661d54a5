package view

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// Status is everything about one cluster on one page.
type Status struct {
	Cluster    string     `json:"cluster"`
	Kubernetes string     `json:"kubernetes,omitempty"`
	Revisions  []Revision `json:"revisions"`
	// Attention is what the agent complains about; "" for nothing.
	Attention string   `json:"attention,omitempty"`
	Upgrade   *Upgrade `json:"upgrade,omitempty"`
	Rollout   *Rollout `json:"rollout,omitempty"`
	Next      []Next   `json:"next"`
}

// Revision is one istiod revision with its users.
type Revision struct {
	Name        string   `json:"name"`
	Version     string   `json:"version,omitempty"`
	InstalledBy string   `json:"installedBy,omitempty"`
	Replicas    int32    `json:"replicas"`
	Ready       int32    `json:"readyReplicas"`
	Tags        []string `json:"tags,omitempty"`
	Sidecars    int32    `json:"sidecars"`
	Gateways    int32    `json:"gateways"`
	Uses        []Use    `json:"uses,omitempty"`
	UpgradeTo   []string `json:"upgradeTo,omitempty"`
}

// Use is one reason why a revision is in use.
type Use struct {
	Why      string   `json:"why"`
	Count    int32    `json:"count"`
	Examples []string `json:"examples,omitempty"`
}

// Upgrade is the running upgrade as a checklist.
type Upgrade struct {
	Name    string                   `json:"name"`
	From    *v1alpha1.RevisionRef    `json:"from,omitempty"`
	To      *v1alpha1.RevisionRef    `json:"to,omitempty"`
	Path    string                   `json:"path"`
	Paused  bool                     `json:"paused,omitempty"`
	Refusal string                   `json:"refusal,omitempty"`
	Steps   []Step                   `json:"steps"`
	Counts  v1alpha1.DataPlaneCounts `json:"dataPlanes"`
	// NotCarried are Helm values that need a look.
	NotCarried []string `json:"valuesNotCarried,omitempty"`
}

// Rollout is the running rollout in one line.
type Rollout struct {
	Name     string                 `json:"name"`
	Counts   v1alpha1.RolloutCounts `json:"counts"`
	Progress string                 `json:"progress"`
	Problem  string                 `json:"problem,omitempty"`
}

// Facts are the objects that a [Status] is made of.
type Facts struct {
	// Program is how the command is called, for example "kubectl meshlift".
	Program string
	// Cluster is the name that the user gave to the cluster.
	Cluster string
	// ControlPlane is nil when the agent has not made it yet.
	ControlPlane *v1alpha1.ControlPlane
	Upgrades     []v1alpha1.ClusterUpgrade
	Rollouts     []v1alpha1.DataPlaneRollout
	// AgentDown says that no replica of the agent is ready, in one sentence; "" when one is, or when nobody knows.
	AgentDown string
}

// NewStatus makes the page.
func NewStatus(f Facts) Status {
	s := Status{Cluster: f.Cluster, Revisions: []Revision{}}
	if cp := f.ControlPlane; cp != nil {
		s.Kubernetes = cp.Status.KubernetesVersion
		for _, r := range cp.Status.Revisions {
			s.Revisions = append(s.Revisions, revisionOf(r))
		}
		if c := meta.FindStatusCondition(cp.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Status != metav1.ConditionTrue {
			s.Attention = c.Message
		}
	}
	if f.AgentDown != "" {
		s.Attention = f.AgentDown // everything else on the page may be old
	}
	u := Current(f.Upgrades)
	var r *v1alpha1.DataPlaneRollout
	if u != nil {
		s.Upgrade = upgradeOf(u)
		if r = Running(f.Rollouts, u.Name); r != nil {
			s.Rollout = rolloutOf(r)
		}
	}
	s.Next = NextSteps(f.Program, f.ControlPlane, u, r)
	return s
}

func revisionOf(r v1alpha1.RevisionStatus) Revision {
	out := Revision{
		Name: r.Name, Version: r.Version, InstalledBy: string(r.InstalledBy), Replicas: r.Replicas, Ready: r.ReadyReplicas,
		Tags: r.Tags, Sidecars: r.Sidecars, Gateways: r.Gateways, UpgradeTo: r.UpgradeTo,
	}
	for _, u := range r.Uses {
		out.Uses = append(out.Uses, Use(u))
	}
	return out
}

func upgradeOf(u *v1alpha1.ClusterUpgrade) *Upgrade {
	out := &Upgrade{
		Name: u.Name, From: u.Status.From, To: u.Status.To, Path: Path(u), Paused: u.Spec.Paused, Steps: Steps(u), Counts: u.Status.DataPlanes,
	}
	if u.Status.Values != nil {
		out.NotCarried = u.Status.Values.NotCarried
	}
	if c := meta.FindStatusCondition(u.Status.Conditions, v1alpha1.ConditionAccepted); c != nil && c.Status == metav1.ConditionFalse {
		out.Refusal = c.Message
	}
	return out
}

func rolloutOf(r *v1alpha1.DataPlaneRollout) *Rollout {
	out := &Rollout{Name: r.Name, Counts: r.Status.Counts, Progress: r.Status.Progress}
	if out.Progress == "" {
		out.Progress = "not started yet"
	}
	if c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionHealthy); c != nil && c.Status == metav1.ConditionFalse {
		out.Problem = c.Message
	}
	return out
}

// Render shows the page.
func (s Status) Render(o Options) string {
	p := newPage(o)
	rows := [][]string{{"Cluster", s.Cluster}}
	if s.Kubernetes != "" {
		rows = append(rows, []string{"Kubernetes", strings.TrimPrefix(s.Kubernetes, "v")})
	}
	p.table("", rows)
	s.revisions(p)
	if s.Attention != "" {
		p.blank()
		p.line(o.Theme.Warn("! "), s.Attention)
	}
	if s.Upgrade != nil {
		p.blank()
		s.Upgrade.render(p)
	}
	if s.Rollout != nil {
		p.blank()
		p.linef("", "%s %s: %s", o.Theme.Bold("Rollout"), s.Rollout.Name, s.Rollout.Progress)
		if s.Rollout.Problem != "" {
			p.line("  "+o.Theme.Bad("✗")+" ", s.Rollout.Problem)
		}
	}
	p.blank()
	renderNext(p, s.Next)
	return p.String()
}

func (s Status) revisions(p *page) {
	p.blank()
	if len(s.Revisions) == 0 {
		p.line("", "No Istio revision was found.")
		return
	}
	rows := [][]string{{"REVISION", "ISTIO", "ISTIOD", "TAGS", "SIDECARS", "GATEWAYS", "INSTALLED BY", "UPGRADE TO"}}
	for _, r := range s.Revisions {
		rows = append(rows, []string{
			r.Name, dash(r.Version), fmt.Sprintf("%d/%d ready", r.Ready, r.Replicas), dash(strings.Join(r.Tags, ",")),
			fmt.Sprint(r.Sidecars), fmt.Sprint(r.Gateways), dash(r.InstalledBy), dash(strings.Join(r.UpgradeTo, ", ")),
		})
	}
	p.table("", rows)
	for _, r := range s.Revisions {
		for n, u := range r.Uses {
			if n == 0 {
				p.blank()
				p.linef("", "Revision %s is used by:", r.Name)
			}
			p.line("  ", fmt.Sprintf("%s: %s", u.Why, examples(u)))
		}
	}
}

// examples is the count with the names that are known.
func examples(u Use) string {
	s := fmt.Sprint(u.Count)
	if len(u.Examples) == 0 {
		return s
	}
	more := ""
	if int(u.Count) > len(u.Examples) {
		more = ", …"
	}
	return s + " (" + strings.Join(u.Examples, ", ") + more + ")"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (u Upgrade) render(p *page) {
	title := p.Theme.Bold("Upgrade") + " " + u.Name + ": " + u.Path
	if u.Paused {
		title += " " + p.Theme.Warn("(paused)")
	}
	p.line("", title)
	if u.Refusal != "" {
		p.line("  "+p.Theme.Bad("✗")+" ", u.Refusal)
		return
	}
	width := 0
	for _, s := range u.Steps {
		width = max(width, len(s.Title))
	}
	for _, s := range u.Steps {
		text := s.Message
		if s.State == StepWaiting {
			text = p.Theme.Dim(text)
		}
		prefix := fmt.Sprintf("  %s %d %-*s  ", p.Theme.state(s.State, s.State.Glyph()), s.Number, width, s.Title)
		p.line(prefix, text)
	}
	if len(u.NotCarried) > 0 && !slices.ContainsFunc(u.Steps, func(s Step) bool { return s.Number == 4 && s.State == StepDone }) {
		p.line("  "+p.Theme.Warn("!")+" ", "Helm values that could not be carried over, look at each before you go on:")
		for _, v := range u.NotCarried {
			p.line("      ", v)
		}
	}
}

func renderNext(p *page, next []Next) {
	for n, s := range next {
		label := "Next:"
		if n > 0 {
			label = "     "
		}
		if s.Command == "" {
			p.line(p.Theme.Bold(label)+" ", s.Why+".")
			continue
		}
		p.line(p.Theme.Bold(label)+" ", s.Why+":")
		p.b.WriteString("      " + p.Theme.Bold(s.Command) + "\n")
	}
}
