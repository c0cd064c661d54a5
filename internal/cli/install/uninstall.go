package install

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/gate"
)

type uninstallOptions struct {
	env       *env.Env
	releases  func() (Releases, error)
	namespace string
	crds      bool
	timeout   time.Duration
}

// NewUninstallCommand returns the command "uninstall".
func NewUninstallCommand(e *env.Env, releases func() (Releases, error)) *cobra.Command {
	o := &uninstallOptions{env: e, releases: releases}
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove the agent from this cluster",
		Long: `Remove the agent from this cluster. The mesh stays as it is. It is refused while an upgrade is not finished, because
nobody would look after the data planes that have moved.

The kinds (CRDs) and with them the history of upgrades stay, unless --crds is given.

` + exit.Help,
		Example:           strings.ReplaceAll("  {} uninstall", "{}", e.Program),
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().StringVarP(&o.namespace, "namespace", "n", Namespace, "Namespace of the agent")
	cmd.Flags().BoolVar(&o.crds, "crds", false, "Delete the kinds of Meshlift too, with all objects of them")
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "How long to wait, with --crds, until the agent has let the objects go")
	env.CompleteFlag(cmd, "namespace", e.CompleteNamespaces)
	return cmd
}

func (o *uninstallOptions) run(ctx context.Context) error {
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	if err := refuseDuringUpgrade(ctx, c); err != nil {
		return o.env.API(err)
	}
	helm, err := o.releases()
	if err != nil {
		return o.env.API(err)
	}
	if o.crds {
		if err := o.deleteUpgrades(ctx, c); err != nil {
			return o.env.API(err)
		}
	}
	name, _, err := agent.release(ctx, helm, o.namespace)
	if err != nil {
		return o.env.API(err)
	}
	if err := helm.Uninstall(ctx, o.namespace, name); err != nil {
		return o.env.API(err)
	}
	if o.crds {
		if err := deleteCRDs(ctx, c); err != nil {
			return o.env.API(err)
		}
	}
	_, err = fmt.Fprintf(o.env.Out, "Meshlift was removed from namespace %s. The mesh is as it was.\n", o.namespace)
	return err
}

func refuseDuringUpgrade(ctx context.Context, c client.Client) error {
	var upgrades v1alpha1.ClusterUpgradeList
	if err := c.List(ctx, &upgrades); err != nil && !noKind(err) {
		return fmt.Errorf("list upgrades: %w", err)
	}
	if u := gate.Unfinished(upgrades.Items, ""); u != nil {
		return exit.Refusedf("Meshlift cannot be removed while ClusterUpgrade %q is not finished: finish it, or move back with `meshlift rollout --back` and delete it", u.Name)
	}
	return nil
}

// noKind tells whether the kinds of Meshlift are not there.
func noKind(err error) bool { return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) }

// deleteUpgrades deletes the finished upgrades while the agent is there: it holds them by a finalizer, and without it
// neither they nor their kind would ever go.
func (o *uninstallOptions) deleteUpgrades(ctx context.Context, c client.Client) error {
	if err := c.DeleteAllOf(ctx, &v1alpha1.ClusterUpgrade{}); err != nil {
		if noKind(err) {
			return nil
		}
		return fmt.Errorf("delete upgrades: %w", err)
	}
	var left v1alpha1.ClusterUpgradeList
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, o.timeout, true, func(ctx context.Context) (bool, error) {
		err := c.List(ctx, &left)
		return err == nil && len(left.Items) == 0, err
	})
	if wait.Interrupted(err) && len(left.Items) > 0 {
		return exit.Unfinishedf("ClusterUpgrade %q is not gone, so nothing was removed: the agent has to let it go, see kubectl -n %s logs deploy/%s", left.Items[0].Name, o.namespace, Deployment)
	}
	return err
}

func deleteCRDs(ctx context.Context, c client.Client) error {
	crds, err := CRDs()
	if err != nil {
		return err
	}
	for _, crd := range crds {
		if err := client.IgnoreNotFound(c.Delete(ctx, crd)); err != nil {
			return fmt.Errorf("delete CustomResourceDefinition %q: %w", crd.GetName(), err)
		}
	}
	return nil
}
