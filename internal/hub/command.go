package hub

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// NewCommand returns "meshlift hub".
func NewCommand(version string) *cobra.Command {
	c := Config{Version: version}
	verbose := false
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Run the hub of several clusters (in the cluster, as deploy/meshlift-hub)",
		Long: `Run the hub: the controllers and admission webhooks that know the meshes of several clusters. It connects to every
registered cluster (see "cluster add"), and never the other way round.

Several replicas may run: one leads, all serve admission. The hub keeps no state of its own; it can be killed at any moment,
and the clusters go on without it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			cfg, err := ctrl.GetConfig()
			if err != nil {
				return err
			}
			cfg.QPS = -1 // the API server's priority and fairness does the limiting
			c.REST, c.Log = cfg, zap.New(zap.UseDevMode(verbose), zap.WriteTo(cmd.ErrOrStderr()))
			cmd.SilenceUsage = true
			return Run(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Namespace, "hub-namespace", env("POD_NAMESPACE", "cpaas-system"), "namespace of the hub itself, with the Secrets of kubeconfigs")
	f.BoolVar(&c.LeaderElect, "leader-elect", true, "let one of several replicas lead")
	f.DurationVar(&c.LeaseDuration, "leader-elect-lease-duration", 15*time.Second, "how long a leader that died without a word is waited for")
	f.StringVar(&c.MetricsAddress, "metrics-bind-address", ":8080", "address of the metrics; 0 serves none")
	f.StringVar(&c.HealthAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 serves none")
	f.IntVar(&c.WebhookPort, "webhook-port", 9443, "port of the admission webhooks; 0 serves none")
	f.StringVar(&c.WebhookService, "webhook-service", "meshlift-hub", "Service in front of the admission webhooks")
	f.StringVar(&c.WebhookSecret, "webhook-secret", "meshlift-hub-cert", "Secret that holds the certificate of the admission webhooks")
	c.API.flags(f)
	f.BoolVarP(&verbose, "verbose", "v", false, "log for people, with more detail")
	return cmd
}

// minLease leaves a leader time to renew its lease before another one takes it.
const minLease = time.Second

// check says which flag cannot be right.
func (c *Config) check() error {
	switch {
	case c.Namespace == "":
		return errors.New("say in which namespace the hub runs: --hub-namespace, or POD_NAMESPACE in the environment")
	case c.LeaderElect && c.LeaseDuration < minLease:
		return fmt.Errorf("--leader-elect-lease-duration is %s: want %s or more", c.LeaseDuration, minLease)
	case c.WebhookPort < 0 || c.WebhookPort > 65535:
		return fmt.Errorf("--webhook-port is %d: want 1 to 65535, or 0 to serve no admission", c.WebhookPort)
	case c.WebhookPort != 0 && (c.WebhookService == "" || c.WebhookSecret == ""):
		return errors.New("admission needs --webhook-service and --webhook-secret; --webhook-port=0 serves none")
	}
	return nil
}

func env(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}
