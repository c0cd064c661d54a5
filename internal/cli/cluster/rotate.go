package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/install"
)

type rotator struct {
	env              *env.Env
	member           Member
	source           source
	hubNamespace     string
	components, keep bool
	timeout          time.Duration
}

func newRotate(e *env.Env, m Member) *cobra.Command {
	o := &rotator{env: e, member: m}
	cmd := &cobra.Command{
		Use: "rotate NAME --kubeconfig FILE", Short: "Give the hub new credentials for a cluster, and end the old ones",
		Long: `Make a new token for the hub's account in the cluster, store it in the hub, wait until the hub is connected, and delete the old
tokens. The hub goes on without a restart.

` + exit.Help,
		Example: strings.ReplaceAll("  {} cluster rotate east --kubeconfig east.kubeconfig", "{}", e.Program),
		Args:    cobra.ExactArgs(1), ValidArgsFunction: e.CompleteCluster,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	f := cmd.Flags()
	o.source.addFlags(f, m)
	f.StringVar(&o.hubNamespace, "hub-namespace", install.Namespace, "Namespace of the hub, for the Secret")
	f.BoolVar(&o.components, "components", true, "Let the hub upgrade components, for which its account may do everything in the cluster")
	f.BoolVar(&o.keep, "keep-credentials", false, "Store the credentials that are given, instead of a new token of the hub's account")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "How long to wait for the connection")
	return cmd
}

func (o *rotator) run(ctx context.Context, name string) error {
	admin, err := o.source.load()
	if err != nil {
		return err
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	m, err := registered(ctx, o.env, c, name)
	if err != nil {
		return err
	}
	there, err := o.member.Connect(admin)
	if err != nil {
		return err
	}
	clusters, err := all(ctx, o.env, c)
	if err != nil {
		return err
	}
	if err := reach(ctx, there, name, o.source.file, o.components && !o.keep); err != nil {
		return err
	}
	if err := notAnother(ctx, there, name, o.source.address(admin), clusters); err != nil {
		return err
	}
	add := &adder{env: o.env, member: o.member, source: o.source, keep: o.keep}
	var kubeconfig []byte
	var token *corev1.Secret
	if o.keep {
		kubeconfig, err = add.credentials(ctx, there, name, admin)
	} else {
		namespace := m.Spec.AgentNamespace
		if namespace == "" {
			namespace = install.Namespace
		}
		if err := ensureNamespace(ctx, there, namespace); err != nil {
			return err
		}
		if token, err = account(ctx, there, namespace, o.components, true); err != nil {
			return fmt.Errorf("make a token for the hub in cluster %q: %w", name, err)
		}
		kubeconfig, err = o.source.withToken(admin, name, token.Data[corev1.ServiceAccountRootCAKey], string(token.Data[corev1.ServiceAccountTokenKey]))
	}
	if err != nil {
		return err
	}
	return o.replace(ctx, c, there, m, kubeconfig, token)
}

// replace stores the new kubeconfig, and ends the old tokens when the hub is connected.
func (o *rotator) replace(ctx context.Context, c client.WithWatch, there client.Client, m *hub.MemberCluster, kubeconfig []byte, token *corev1.Secret) error {
	if err := store(ctx, c, o.hubNamespace, m.Spec.KubeconfigSecret, kubeconfig, m); err != nil {
		return hubError(o.env, err)
	}
	if err := connected(ctx, o.env, c, m.Name, false, o.timeout); err != nil {
		return err
	}
	if token != nil {
		if err := forgetTokens(ctx, there, token); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(o.env.Out, "The hub uses new credentials for %s; its old tokens are not valid any more.\n", m.Name)
	return err
}
