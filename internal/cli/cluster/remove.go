package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/follow"
)

type remover struct {
	env        *env.Env
	yes, force bool
	breakGlass string
	timeout    time.Duration
}

func newRemove(e *env.Env) *cobra.Command {
	o := &remover{env: e}
	cmd := &cobra.Command{
		Use: "remove NAME", Aliases: []string{"rm", "delete"}, Short: "Remove a cluster from the hub",
		Long: `Remove a cluster from the hub. The hub takes its word (spec.hub of the ControlPlane) and its account out of the cluster, and
forgets the credentials. Istio, its configuration and the agent stay as they are; "uninstall" removes the agent.

A cluster that does not answer is waited for. With --force the hub forgets it at once, and the cluster keeps what the hub said
last.

` + exit.Help,
		Example: strings.ReplaceAll("  {} cluster remove east", "{}", e.Program),
		Args:    cobra.ExactArgs(1), ValidArgsFunction: e.CompleteCluster,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	f.BoolVar(&o.force, "force", false, "Forget a cluster that does not answer")
	f.StringVar(&o.breakGlass, "break-glass", "", "Override a refusal, with the reason in a sentence, which is recorded")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "How long to wait until it is gone")
	return cmd
}

func (o *remover) run(ctx context.Context, name string) error {
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	m, err := read(ctx, o.env, c, name)
	if err != nil {
		return err
	}
	if m == nil {
		_, err := fmt.Fprintf(o.env.Out, "There is no cluster %s in this hub.\n", name)
		return err
	}
	if go_, err := o.confirm(m); err != nil || !go_ {
		return err
	}
	if o.breakGlass != "" {
		if err := annotate(ctx, c, m, hub.BreakGlassAnnotation, o.breakGlass); err != nil {
			return hubError(o.env, err)
		}
	}
	if err := c.Delete(ctx, m, client.Preconditions{UID: &m.UID}); client.IgnoreNotFound(err) != nil {
		return hubError(o.env, fmt.Errorf("delete MemberCluster %q: %w", name, err))
	}
	if o.force {
		// Not before: what is refused must not be forgotten later.
		if err := annotate(ctx, c, m, hub.ForgetAnnotation, "meshlift cluster remove --force"); client.IgnoreNotFound(err) != nil {
			return hubError(o.env, err)
		}
	}
	return o.gone(ctx, c, name)
}

func (o *remover) confirm(m *hub.MemberCluster) (bool, error) {
	if o.yes {
		return true, nil
	}
	if !o.env.Terminal.CanAsk() {
		return false, exit.Usagef("nobody can be asked whether to remove cluster %q: add --yes", m.Name)
	}
	from := "the hub"
	if m.Spec.Mesh != "" {
		from = fmt.Sprintf("mesh %s and from the hub", m.Spec.Mesh)
	}
	ok, err := o.env.Confirm(fmt.Sprintf("Remove cluster %s from %s? Istio and the agent stay there.", m.Name, from))
	if err == nil && !ok {
		_, err = fmt.Fprintln(o.env.Out, "Nothing was changed.")
	}
	return ok, err
}

func annotate(ctx context.Context, c client.Client, m *hub.MemberCluster, key, value string) error {
	err := c.Get(ctx, client.ObjectKeyFromObject(m), m)
	if err == nil {
		err = env.Edit(ctx, c, m, func(m *hub.MemberCluster) (bool, error) {
			if m.Annotations == nil {
				m.Annotations = map[string]string{}
			}
			m.Annotations[key] = value
			return true, nil
		})
	}
	if err != nil {
		return fmt.Errorf("annotate MemberCluster %q: %w", m.Name, err)
	}
	return nil
}

// gone waits until the hub has let the object go, and says why not.
func (o *remover) gone(ctx context.Context, c client.WithWatch, name string) error {
	wait, cancel := env.Deadline(ctx, o.timeout)
	defer cancel()
	last := "the hub has not let it go: is it running?"
	for u := range follow.Object(wait, c, &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}, &hub.MemberClusterList{}, o.env.Resync) {
		switch {
		case u.Gone:
			_, err := fmt.Fprintf(o.env.Out, "Cluster %s is removed from the hub.\n", name)
			return err
		case u.Fatal:
			return hubError(o.env, u.Err)
		case u.Err != nil:
			last = u.Err.Error()
		default:
			if o.force {
				continue // what it waits for does not matter any more
			}
			if r := meta.FindStatusCondition(u.Object.Status.Conditions, hub.ConditionReady); r != nil && r.Status != metav1.ConditionTrue && strings.Contains(r.Message, "is being removed") {
				return exit.Unfinishedf("%s", r.Message)
			}
		}
	}
	return exit.Unfinishedf("cluster %q is being removed: %s", name, last)
}
