package controlplane

import (
	"fmt"
	"os"
	"path/filepath"
)

// auditPolicy keeps who asked for what, and how that was answered, of the service accounts of one namespace
// (https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/).
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts:%s"]
- level: None
`

// AuditLog is the file in the directory of a cluster that the API server writes, one audit.k8s.io/v1 Event on each line. The
// newest events are at most a second late.
const AuditLog = "audit.log"

func writeAuditPolicy(cfg Config) error {
	if cfg.Audit == "" {
		return nil
	}
	if err := os.WriteFile(policyFile(cfg), fmt.Appendf(nil, auditPolicy, cfg.Audit), 0o644); err != nil {
		return fmt.Errorf("audit policy: %w", err)
	}
	return nil
}

func policyFile(cfg Config) string { return filepath.Join(cfg.Dir, "audit-policy.yaml") }

func auditFlags(cfg Config) []string {
	if cfg.Audit == "" {
		return nil
	}
	return []string{
		"--audit-policy-file=" + policyFile(cfg), "--audit-log-path=" + filepath.Join(cfg.Dir, AuditLog), "--audit-log-maxsize=1000",
		"--audit-log-mode=batch", "--audit-log-batch-max-wait=1s",
	}
}
