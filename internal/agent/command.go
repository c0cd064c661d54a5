package agent

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"meshlift.dev/meshlift/internal/handover"
)

// NewCommand returns "meshlift agent".
func NewCommand() *cobra.Command {
	c := Config{}
	verbose, mode := false, ""
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent of this cluster (in the cluster, as deploy/asm-controller)",
		Long: `Run the agent: the controllers and admission webhooks that discover the mesh of this cluster and carry its upgrades.

Several replicas may run: one leads, all serve admission. The agent keeps no state of its own; it can be killed at any
moment.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if mode != "" {
				var err error
				if c.Handover, err = handover.ParseMode(mode); err != nil {
					return err
				}
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
	f.StringVar(&c.Namespace, "agent-namespace", env("POD_NAMESPACE", "cpaas-system"), "namespace of the agent itself")
	f.StringVar(&c.IstioNamespace, "istio-namespace", "istio-system", "namespace of the Istio control planes, unless the ControlPlane object says otherwise")
	f.BoolVar(&c.LeaderElect, "leader-elect", true, "let one of several replicas lead")
	f.DurationVar(&c.LeaseDuration, "leader-elect-lease-duration", 15*time.Second, "how long a leader that died without a word is waited for")
	f.StringVar(&c.MetricsAddress, "metrics-bind-address", ":8080", "address of the metrics; 0 serves none")
	f.StringVar(&c.HealthAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 serves none")
	f.IntVar(&c.WebhookPort, "webhook-port", 9443, "port of the admission webhooks; 0 serves none")
	f.StringVar(&c.WebhookService, "webhook-service", "asm-controller", "Service in front of the admission webhooks")
	f.StringVar(&c.WebhookSecret, "webhook-secret", "meshlift-webhook-cert", "Secret that holds the certificate of the admission webhooks")
	f.StringVar(&mode, "handover", "", "how admission is handed over: match-conditions or object-selectors (default: match-conditions from Kubernetes 1.30 on)")
	f.DurationVar(&c.InstallTimeout, "install-timeout", 5*time.Minute, "how long a new istiod may take to become ready before it is removed again")
	f.BoolVarP(&verbose, "verbose", "v", false, "log for people, with more detail")
	return cmd
}

func env(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}
