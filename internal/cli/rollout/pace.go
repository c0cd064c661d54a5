package rollout

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/view"
	"meshlift.dev/meshlift/internal/window"
)

// paceFlags say how fast and in which order data planes move, besides --parallelism.
type paceFlags struct {
	perNamespace   int32
	maxPods        string
	namespaceOrder []string
	gateways       string
	maxFailures    int32
	syncDeadline   time.Duration
	onUnhealthy    string
	prometheus     string
	watch          time.Duration
}

func (p *paceFlags) add(f *pflag.FlagSet) {
	f.Int32Var(&p.perNamespace, "parallelism-per-namespace", 0, "How many workloads of one namespace move at the same time (0 = no limit)")
	f.StringVar(&p.maxPods, "max-pods", "", "How many pods move at the same time: a number, or a percentage of the pods of the rollout; a larger workload moves alone (default no limit)")
	f.StringSliceVar(&p.namespaceOrder, "namespace-order", nil, "Namespaces that move first, in this order; the others follow by name")
	f.StringVar(&p.gateways, "gateways", "", "When gateways move: Last, First, or Mixed with the sidecars (default Last)")
	f.Int32Var(&p.maxFailures, "max-failures", -1, "With Continue and MoveBackAndContinue: how many failures are tolerated before nothing new starts (-1 = any number)")
	f.DurationVar(&p.syncDeadline, "sync-deadline", 0, "A workload counts as moved only when its new proxies are connected to the new istiod and in sync with it, in this time after they are ready (0 = do not look)")
	f.StringVar(&p.prometheus, "prometheus", "", "A workload counts as moved only when requests to its new pods do not fail more often and are not slower than those to the old ones, by this Prometheus, such as http://prometheus.istio-system:9090")
	f.DurationVar(&p.watch, "watch-metrics", 0, "With --prometheus: how long the requests to new pods are watched after they are ready (default 5m)")
	f.StringVar(&p.onUnhealthy, "on-unhealthy", "", "With --sync-deadline or --prometheus: what happens to a workload that is not well: MoveBack or Pause; no other is touched in either case (default MoveBack)")
}

func gatewayOrders() []string {
	return []string{string(v1alpha1.GatewaysLast), string(v1alpha1.GatewaysFirst), string(v1alpha1.GatewaysMixed)}
}

func (p *paceFlags) check() error {
	known := p.gateways == ""
	for _, g := range gatewayOrders() {
		if strings.EqualFold(g, p.gateways) {
			p.gateways, known = g, true
		}
	}
	switch {
	case !known:
		return exit.Usagef("unknown order of gateways %q: use %s", p.gateways, strings.Join(gatewayOrders(), ", "))
	case p.perNamespace < 0:
		return exit.Usagef("--parallelism-per-namespace must not be negative; 0 means no limit")
	case p.maxFailures < -1:
		return exit.Usagef("--max-failures must not be negative; -1 means any number")
	case p.syncDeadline < 0:
		return exit.Usagef("--sync-deadline must not be negative; 0 does not look")
	case p.watch < 0:
		return exit.Usagef("--watch-metrics must not be negative")
	case p.watch > 0 && p.prometheus == "":
		return exit.Usagef("--watch-metrics needs --prometheus, for example --prometheus http://prometheus.istio-system:9090")
	case p.onUnhealthy != "" && p.syncDeadline == 0 && p.prometheus == "":
		return exit.Usagef("--on-unhealthy needs --sync-deadline or --prometheus, for example --sync-deadline 2m")
	case !p.knowsAction():
		return exit.Usagef("unknown action %q: use %s or %s", p.onUnhealthy, v1alpha1.HealthMoveBack, v1alpha1.HealthPause)
	case p.maxPods != "":
		v := intstr.Parse(p.maxPods)
		if n, err := intstr.GetScaledValueFromIntOrPercent(&v, 100, false); err != nil || n < 1 || v.Type == intstr.String && n > 100 {
			return exit.Usagef("--max-pods %q: give a number of at least 1, or a percentage from 1%% to 100%%", p.maxPods)
		}
	}
	return nil
}

// knowsAction spells the action as the API does.
func (p *paceFlags) knowsAction() bool {
	known := p.onUnhealthy == ""
	for _, a := range []v1alpha1.HealthAction{v1alpha1.HealthMoveBack, v1alpha1.HealthPause} {
		if strings.EqualFold(string(a), p.onUnhealthy) {
			p.onUnhealthy, known = string(a), true
		}
	}
	return known
}

// apply writes what was said into the spec.
func (p *paceFlags) apply(s *v1alpha1.DataPlaneRolloutSpec) {
	s.ParallelismPerNamespace, s.NamespaceOrder, s.Gateways = p.perNamespace, p.namespaceOrder, v1alpha1.GatewayOrder(p.gateways)
	if p.maxPods != "" {
		s.MaxPods = new(intstr.Parse(p.maxPods))
	}
	if p.maxFailures >= 0 {
		s.MaxFailures = new(p.maxFailures)
	}
	if p.syncDeadline > 0 || p.prometheus != "" {
		s.Health = &v1alpha1.Health{
			SyncDeadline: &metav1.Duration{Duration: p.syncDeadline},
			OnFailure:    cmp.Or(v1alpha1.HealthAction(p.onUnhealthy), v1alpha1.HealthMoveBack),
		}
	}
	if p.prometheus != "" {
		s.Health.Metrics = &v1alpha1.Metrics{
			Prometheus: p.prometheus, Watch: &metav1.Duration{Duration: cmp.Or(p.watch, v1alpha1.DefaultWatch)},
			OnInconclusive: v1alpha1.InconclusivePass,
		}
	}
}

// checkFile refuses flags and targets beside a file that says the same.
func (o *options) checkFile(cmd *cobra.Command, args []string) error {
	if o.filename == "" {
		return nil
	}
	if len(args) > 0 {
		return exit.Usagef("--filename says what moves: leave %s out, or write it into spec.targets", strings.Join(args, " "))
	}
	for _, name := range []string{
		"namespace", "parallelism", "parallelism-per-namespace", "max-pods", "namespace-order", "gateways", "failure-policy", "max-failures", "timeout", "back",
		"sync-deadline", "on-unhealthy", "prometheus", "watch-metrics",
	} {
		if cmd.Flags().Changed(name) {
			return exit.Usagef("--filename says how the rollout is: write --%s into the file instead", name)
		}
	}
	if o.filename == "-" && !o.noPrompt && !o.dryRun {
		return exit.Usagef("the rollout is read from standard input, so nobody can be asked: add --no-prompt")
	}
	return nil
}

// readFile reads the rollout of --filename, with the defaults of the API; nil without.
func (o *options) readFile() (*v1alpha1.DataPlaneRollout, error) {
	if o.filename == "" {
		return nil, nil
	}
	var b []byte
	var err error
	if o.filename == "-" {
		b, err = io.ReadAll(o.env.In)
	} else {
		b, err = os.ReadFile(o.filename)
	}
	if err != nil {
		return nil, exit.Usagef("read the rollout: %v", err)
	}
	r := &v1alpha1.DataPlaneRollout{Spec: v1alpha1.DataPlaneRolloutSpec{
		Direction: v1alpha1.Forward, Parallelism: new(int32(v1alpha1.DefaultParallelism)), Gateways: v1alpha1.GatewaysLast,
		FailurePolicy: v1alpha1.FailureStop, Timeout: metav1.Duration{Duration: 10 * time.Minute},
	}}
	if err := yaml.UnmarshalStrict(b, r); err != nil {
		return nil, exit.Usagef("%s is not a DataPlaneRollout: %v", o.filename, err)
	}
	if kind := r.GroupVersionKind(); kind != v1alpha1.GroupVersion.WithKind("DataPlaneRollout") {
		return nil, exit.Usagef("%s holds a %s of %q: give a DataPlaneRollout of %s", o.filename, kind.Kind, kind.GroupVersion(), v1alpha1.GroupVersion)
	}
	return r, nil
}

// planned is the plan of a rollout that would be created.
func (s *session) planned(inv *mesh.Inventory, r *v1alpha1.DataPlaneRollout) (view.RolloutPlan, error) {
	from, to := s.revisions()
	waves, err := rollout.Waves(&r.Spec, inv, from, to)
	if err != nil {
		return view.RolloutPlan{}, exit.Refusedf("%v", err)
	}
	state := window.State{Open: true}
	if s.direction() != v1alpha1.Back {
		calendar, err := window.Of(&r.Spec, s.cluster)
		if err != nil {
			return view.RolloutPlan{}, exit.Refusedf("%v", err)
		}
		state = calendar.At(s.env.Now())
	}
	goal := s.upgrade.Status.To
	if s.direction() == v1alpha1.Back {
		goal = s.upgrade.Status.From
	}
	plan := view.NewRolloutPlan(r, *goal, waves, s.cluster, state)
	plan.Expect(rollout.Foresee(&r.Spec, inv, from, to).API())
	return plan, nil
}

// preview shows the plan and changes nothing. That the rollout would be refused is the exit code.
func (s *session) preview(inv *mesh.Inventory, groups []view.Group, v gate.Verdict) error {
	r := s.object(spec(groups, everything(groups), s.named))
	p, err := s.planned(inv, r)
	if err != nil {
		return err
	}
	p.Refusal = v.Message
	if s.format != printer.Text {
		err = s.format.Write(s.env.Out, p)
	} else {
		_, err = fmt.Fprint(s.env.Out, p.Render(s.env.Terminal.View()))
	}
	if err == nil && !v.Passed() {
		return exit.Silent(exit.Refused)
	}
	return err
}

// startFile shows the plan of the file, asks when there is somebody to ask, and creates the rollout.
func (s *session) startFile(ctx context.Context, inv *mesh.Inventory, groups []view.Group) (*v1alpha1.DataPlaneRollout, error) {
	p, err := s.planned(inv, s.object(nil))
	if err != nil {
		return nil, err
	}
	_, _ = io.WriteString(s.text(), p.Render(s.env.Terminal.View()))
	if !s.noPrompt && s.env.Terminal.CanAsk() {
		switch ok, err := s.env.Confirm("Move " + inWords(groups, everything(groups)) + "? Long connections are cut once."); {
		case err != nil:
			return nil, err
		case !ok:
			return nil, exit.Refusedf("Nothing was changed.")
		}
	}
	return s.create(ctx, s.file.Spec.Targets)
}
