package mesh

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/intent"
)

type upgradeOptions struct {
	env         *env.Env
	to, name    string
	waves       []string
	approve     []string
	parallelism int32
	soak        time.Duration
	rollout     bool
	yes         bool
}

func newUpgrade(e *env.Env) *cobra.Command {
	o := &upgradeOptions{env: e}
	cmd := &cobra.Command{
		Use: "upgrade MESH --to VERSION", Short: "Upgrade the clusters of a mesh, wave by wave", Args: cobra.ExactArgs(1), ValidArgsFunction: completeMesh(e),
		Long: `Upgrade the clusters of a mesh, wave by wave: the clusters of a wave start when those of the wave before have moved their data planes.
Without --wave there is one wave of all clusters, one after the other. In each cluster the new istiod is installed beside the
old one; with --rollout the data planes move by themselves, else people move them there.

` + exit.Help,
		Example: strings.ReplaceAll(`  # One cluster first, then two at a time after an approval
  {} mesh upgrade prod --to 1.31 --wave canary=test --wave rest=east,west --parallelism 2 --soak 1h --approve rest --rollout`, "{}", e.Program),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "Version of Istio, for example 1.31")
	f.StringVar(&o.name, "name", "", "Name of the MeshUpgrade (default: made from mesh and version)")
	f.StringArrayVar(&o.waves, "wave", nil, "A wave of clusters, `NAME=CLUSTER,...` (can be given several times, in order)")
	f.StringSliceVar(&o.approve, "approve", nil, "Waves that wait for \"mesh approve\" before they start")
	f.Int32Var(&o.parallelism, "parallelism", 1, "Clusters of a wave that are upgraded at the same time; 0 means all")
	f.DurationVar(&o.soak, "soak", 0, "How long to wait after a wave before the next one starts")
	f.BoolVar(&o.rollout, "rollout", false, "Move the data planes of each cluster by itself when its steps 1 to 3 are done")
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	return cmd
}

func (o *upgradeOptions) run(ctx context.Context, mesh string) error {
	if o.to == "" {
		return exit.Usagef("say which version: --to VERSION")
	}
	if o.soak < 0 || o.parallelism < 0 {
		return exit.Usagef("--soak and --parallelism cannot be negative")
	}
	waves, err := o.parse()
	if err != nil {
		return err
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	m, err := choose(ctx, o.env, c, []string{mesh})
	if err != nil {
		return err
	}
	page, err := look(ctx, o.env, c, m)
	if err != nil {
		return err
	}
	u := &hub.MeshUpgrade{ObjectMeta: metav1.ObjectMeta{Name: o.name}, Spec: hub.MeshUpgradeSpec{Mesh: mesh, Version: o.to, Waves: waves}}
	if len(waves) == 0 && (o.soak > 0 || o.parallelism != 1 || len(o.approve) > 0) {
		u.Spec.Waves = []hub.ClusterWave{o.wave("all", names(page.Clusters))}
	}
	if u.Name == "" {
		u.Name = intent.MeshUpgrade(mesh, o.to)
	}
	if o.rollout {
		u.Spec.Rollout = &hub.RolloutTemplate{}
	}
	if err := o.confirm(mesh, names(page.Clusters), u); err != nil {
		return err
	}
	if err := c.Create(ctx, u); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return exit.Refusedf("MeshUpgrade %q exists already: see %q, or give another --name", u.Name, o.env.Program+" mesh status "+mesh)
		}
		return o.env.API(fmt.Errorf("create MeshUpgrade %q: %w", u.Name, err))
	}
	_, err = fmt.Fprintf(o.env.Out, "MeshUpgrade %s created. Watch it with: %s mesh status %s\n", u.Name, o.env.Program, mesh)
	return err
}

func names(clusters []hub.MemberCluster) []string {
	var out []string
	for _, c := range clusters {
		out = append(out, c.Name)
	}
	return out
}

func (o *upgradeOptions) parse() ([]hub.ClusterWave, error) {
	var out []hub.ClusterWave
	for _, w := range o.waves {
		name, list, ok := strings.Cut(w, "=")
		clusters := slices.DeleteFunc(strings.Split(list, ","), func(s string) bool { return s == "" })
		if !ok || name == "" || len(clusters) == 0 {
			return nil, exit.Usagef("--wave %q is not NAME=CLUSTER,CLUSTER", w)
		}
		if slices.ContainsFunc(out, func(o hub.ClusterWave) bool { return o.Name == name }) {
			return nil, exit.Usagef("there are two waves %q", name)
		}
		out = append(out, o.wave(name, clusters))
	}
	for _, a := range o.approve {
		if !slices.ContainsFunc(out, func(w hub.ClusterWave) bool { return w.Name == a }) && (len(out) > 0 || a != "all") {
			return nil, exit.Usagef("--approve %q names no wave", a)
		}
	}
	return out, nil
}

func (o *upgradeOptions) wave(name string, clusters []string) hub.ClusterWave {
	w := hub.ClusterWave{Name: name, Clusters: clusters, Parallelism: &o.parallelism, Approval: slices.Contains(o.approve, name)}
	if o.soak > 0 {
		w.Soak = &metav1.Duration{Duration: o.soak}
	}
	return w
}

func (o *upgradeOptions) confirm(mesh string, clusters []string, u *hub.MeshUpgrade) error {
	if o.yes {
		return nil
	}
	if !o.env.Terminal.CanAsk() {
		return exit.Usagef("nobody can be asked here: add --yes")
	}
	if len(u.Spec.Waves) > 0 {
		clusters = nil
		for _, w := range u.Spec.Waves {
			clusters = append(clusters, w.Name+": "+strings.Join(w.Clusters, ", "))
		}
	}
	ok, err := o.env.Confirm(fmt.Sprintf("Upgrade mesh %s to Istio %s (%s)?", mesh, u.Spec.Version, strings.Join(clusters, "; ")))
	if err == nil && !ok {
		err = exit.Refusedf("Nothing was changed.")
	}
	return err
}

func newApprove(e *env.Env) *cobra.Command {
	wave := ""
	cmd := &cobra.Command{
		Use: "approve UPGRADE --wave WAVE", Short: "Let a wave start", Args: cobra.ExactArgs(1), ValidArgsFunction: completeMesh(e),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wave == "" {
				return exit.Usagef("say which wave: --wave WAVE")
			}
			return edit(cmd.Context(), e, args[0], "Wave "+wave+" of upgrade %s is approved.", func(c client.Client, u *hub.MeshUpgrade) (bool, error) {
				if !slices.ContainsFunc(u.Spec.Waves, func(w hub.ClusterWave) bool { return w.Name == wave }) {
					return false, exit.Refusedf("there is no wave %q in upgrade %s", wave, u.Name)
				}
				return intent.Approve(u, wave, e.User(cmd.Context(), c), instant(e)), nil
			})
		},
	}
	cmd.Flags().StringVar(&wave, "wave", "", "Wave to approve")
	return cmd
}

func instant(e *env.Env) metav1.Time { return metav1.NewTime(e.Now().UTC().Truncate(time.Second)) }

func newPause(e *env.Env, pause bool) *cobra.Command {
	use, short, said := "resume", "Go on with an upgrade that was paused", "Upgrade %s goes on."
	if pause {
		use, short, said = "pause", "Start nothing new, and pause what the upgrade started in clusters", "Upgrade %s is paused; moves in flight finish."
	}
	return &cobra.Command{
		Use: use + " UPGRADE", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: completeMesh(e),
		RunE: func(cmd *cobra.Command, args []string) error {
			return edit(cmd.Context(), e, args[0], said, func(_ client.Client, u *hub.MeshUpgrade) (bool, error) {
				return intent.Set(&u.Spec.Paused, pause), nil
			})
		},
	}
}

func newDecommission(e *env.Env) *cobra.Command {
	soak, yes, withdraw := 5*time.Minute, false, false
	cmd := &cobra.Command{
		Use: "decommission UPGRADE", Short: "Remove the old istiods of a mesh, one cluster after the other", Args: cobra.ExactArgs(1), ValidArgsFunction: completeMesh(e),
		Long: `Ask for the removal of the old istiods of all clusters of the upgrade. It happens when the data planes of every cluster of the mesh
have moved, one cluster after the other; "mesh status" shows what is in the way. Each cluster proves by itself that nothing
uses its old istiod.

` + exit.Help,
		RunE: func(cmd *cobra.Command, args []string) error {
			if soak < 0 {
				return exit.Usagef("--soak cannot be negative")
			}
			if withdraw {
				return edit(cmd.Context(), e, args[0], "The decommission of upgrade %s is withdrawn.", func(_ client.Client, u *hub.MeshUpgrade) (bool, error) {
					return intent.Withdraw(&u.Spec.Decommission), nil
				})
			}
			if !yes {
				if !e.Terminal.CanAsk() {
					return exit.Usagef("nobody can be asked here: add --yes")
				}
				ok, err := e.Confirm("Remove the old istiods of " + args[0] + ", one cluster after the other, when every cluster has moved?")
				if err != nil {
					return err
				}
				if !ok {
					return exit.Refusedf("Nothing was changed.")
				}
			}
			return edit(cmd.Context(), e, args[0], "The removal of the old istiods of upgrade %s is asked for.", func(c client.Client, u *hub.MeshUpgrade) (bool, error) {
				return intent.Decommission(&u.Spec.Decommission, e.User(cmd.Context(), c), instant(e), metav1.Duration{Duration: soak}), nil
			})
		},
	}
	f := cmd.Flags()
	f.DurationVar(&soak, "soak", soak, "How long each old istiod stays scaled to zero, ready to come back")
	f.BoolVarP(&yes, "yes", "y", false, "Do not ask")
	f.BoolVar(&withdraw, "withdraw", false, "Take the request back; what is not uninstalled yet comes back")
	return cmd
}

// edit changes an upgrade and says so.
func edit(ctx context.Context, e *env.Env, name, said string, change func(client.Client, *hub.MeshUpgrade) (bool, error)) error {
	c, err := e.Client()
	if err != nil {
		return err
	}
	u, err := find(ctx, e, c, name)
	if err != nil {
		return err
	}
	err = env.Edit(ctx, c, u, func(u *hub.MeshUpgrade) (bool, error) { return change(c, u) })
	if err != nil {
		return e.API(err)
	}
	_, err = fmt.Fprintf(e.Out, said+" See: %s mesh status %s\n", u.Name, e.Program, u.Spec.Mesh)
	return err
}
