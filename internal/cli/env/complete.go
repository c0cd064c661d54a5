package env

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/view"
)

// completionTimeout keeps a shell from hanging when the cluster does not answer.
const completionTimeout = 3 * time.Second

// CompleteFlag offers values for a flag.
func CompleteFlag(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	// It fails only for a flag that does not exist, which the tests of the commands would show.
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}

// names connects, lets list read names, and leaves out what is on the command line already.
func (e *Env) names(cmd *cobra.Command, args []string, list func(context.Context, client.Client) []string) ([]string, cobra.ShellCompDirective) {
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completionTimeout)
	defer cancel()
	c, err := e.Connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	out := list(ctx, c)
	out = slices.DeleteFunc(out, func(s string) bool { return slices.Contains(args, s) })
	return out, cobra.ShellCompDirectiveNoFileComp
}

// CompleteUpgrades offers the names of upgrades.
func (e *Env) CompleteUpgrades(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return e.names(cmd, args, func(ctx context.Context, c client.Client) []string {
		all, _ := e.Upgrades(ctx, c) // Completion has no way to show an error.
		var out []string
		for _, u := range all {
			out = append(out, u.Name)
		}
		return out
	})
}

// CompleteUpgrade offers the names of upgrades for the first argument only.
func (e *Env) CompleteUpgrade(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.CompleteUpgrades(cmd, args, prefix)
}

// CompleteCluster offers the names of the clusters of the hub for the first argument.
func (e *Env) CompleteCluster(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.names(cmd, args, func(ctx context.Context, c client.Client) []string {
		var list hub.MemberClusterList
		_ = c.List(ctx, &list) // Completion has no way to show an error.
		var out []string
		for _, m := range list.Items {
			out = append(out, m.Name)
		}
		return out
	})
}

// CompleteRollouts offers the names of rollouts that are not complete.
func (e *Env) CompleteRollouts(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return e.names(cmd, args, func(ctx context.Context, c client.Client) []string {
		all, _ := e.Rollouts(ctx, c)
		var out []string
		for n := range all {
			if !view.Complete(&all[n]) {
				out = append(out, all[n].Name)
			}
		}
		return out
	})
}

// CompleteNamespaces offers namespaces, by metadata alone.
func (e *Env) CompleteNamespaces(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return e.names(cmd, args, func(ctx context.Context, c client.Client) []string {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
		_ = c.List(ctx, list)
		var out []string
		for _, n := range list.Items {
			out = append(out, n.Name)
		}
		return out
	})
}

// CompleteEnvoyFilters offers the EnvoyFilters of the running upgrade, acknowledged or not.
func (e *Env) CompleteEnvoyFilters(acknowledged bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return e.names(cmd, args, func(ctx context.Context, c client.Client) []string {
			u, err := e.Upgrade(ctx, c, "")
			if err != nil {
				return nil
			}
			var out []string
			for _, f := range u.Status.EnvoyFilters {
				if f.Acknowledged == acknowledged {
					out = append(out, f.Namespace+"/"+f.Name)
				}
			}
			return out
		})
	}
}

// CompleteVersions offers the versions to which a revision can be upgraded.
func (e *Env) CompleteVersions(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return e.revisions(cmd, func(r v1alpha1.RevisionStatus) []string { return r.UpgradeTo })
}

// CompleteRevisions offers the revisions of the cluster.
func (e *Env) CompleteRevisions(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return e.revisions(cmd, func(r v1alpha1.RevisionStatus) []string { return []string{r.Name} })
}

func (e *Env) revisions(cmd *cobra.Command, pick func(v1alpha1.RevisionStatus) []string) ([]string, cobra.ShellCompDirective) {
	return e.names(cmd, nil, func(ctx context.Context, c client.Client) []string {
		cp, err := e.ControlPlane(ctx, c)
		if err != nil || cp == nil {
			return nil
		}
		var out []string
		for _, r := range cp.Status.Revisions {
			out = append(out, pick(r)...)
		}
		slices.Sort(out)
		return slices.Compact(out)
	})
}
