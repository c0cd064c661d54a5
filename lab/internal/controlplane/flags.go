package controlplane

import (
	"path/filepath"
)

// The flags below choose speed over safety where nobody can lose anything: no fsync, no leader election, large client
// rates, many workers, long node grace (simulated nodes send a heartbeat every ten minutes).

func etcdFlags(a Addresses, dir string) []string {
	client, peer := "http://"+a.at(portEtcd), "http://"+a.at(portEtcdPeer)
	return []string{
		"--name=default", "--data-dir=" + filepath.Join(dir, "etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=default=" + peer,
		"--unsafe-no-fsync", "--log-level=warn", "--quota-backend-bytes=8589934592",
	}
}

func apiserverFlags(a Addresses, dir string) []string {
	f := func(name string) string { return filepath.Join(dir, name) }
	return []string{
		"--etcd-servers=http://" + a.at(portEtcd),
		"--bind-address=" + a.Gateway.String(), "--advertise-address=" + a.Gateway.String(), a.flag("secure-port", portAPIServer),
		"--tls-cert-file=" + f("apiserver.crt"), "--tls-private-key-file=" + f("apiserver.key"), "--client-ca-file=" + f("ca.crt"),
		"--kubelet-client-certificate=" + f("apiserver-kubelet-client.crt"), "--kubelet-client-key=" + f("apiserver-kubelet-client.key"),
		"--kubelet-certificate-authority=" + f("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--proxy-client-cert-file=" + f("front-proxy-client.crt"), "--proxy-client-key-file=" + f("front-proxy-client.key"),
		"--requestheader-client-ca-file=" + f("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--service-account-issuer=https://kubernetes.default.svc." + Domain,
		"--service-account-key-file=" + f("sa.key"), "--service-account-signing-key-file=" + f("sa.key"),
		"--service-cluster-ip-range=" + a.Services.String(), "--authorization-mode=Node,RBAC", "--allow-privileged=true",
		"--max-requests-inflight=3000", "--max-mutating-requests-inflight=1000", "--event-ttl=1h", "--profiling=false",
		"--min-request-timeout=300", "--shutdown-delay-duration=0s", "--shutdown-send-retry-after=false",
	}
}

func controllerFlags(a Addresses, dir string) []string {
	f := func(name string) string { return filepath.Join(dir, name) }
	kubeconfig := f("kube-controller-manager.kubeconfig")
	return append(componentFlags(a, kubeconfig, portController, f("kcm-certs")),
		"--root-ca-file="+f("ca.crt"), "--service-account-private-key-file="+f("sa.key"), "--use-service-account-credentials=true",
		"--cluster-signing-cert-file="+f("ca.crt"), "--cluster-signing-key-file="+f("ca.key"),
		"--controllers=*,-node-ipam-controller", "--allocate-node-cidrs=false",
		"--node-monitor-grace-period=1h", "--node-monitor-period=30s",
		"--concurrent-deployment-syncs=30", "--concurrent-replicaset-syncs=30", "--concurrent-endpoint-syncs=20",
		"--concurrent-service-endpoint-syncs=20", "--concurrent-gc-syncs=40", "--concurrent-namespace-syncs=20",
		"--concurrent-statefulset-syncs=20", "--concurrent-daemonset-syncs=10", "--concurrent-job-syncs=20",
	)
}

func schedulerFlags(a Addresses, dir string) []string {
	return componentFlags(a, filepath.Join(dir, "kube-scheduler.kubeconfig"), portScheduler, filepath.Join(dir, "scheduler-certs"))
}

// componentFlags are common to the controller manager and the scheduler.
func componentFlags(a Addresses, kubeconfig string, port int, certs string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=" + a.Gateway.String(), a.flag("secure-port", port), "--cert-dir=" + certs,
		"--leader-elect=false", "--kube-api-qps=2000", "--kube-api-burst=4000", "--profiling=false",
	}
}

func kwokFlags(a Addresses, dir string) []string {
	f := func(name string) string { return filepath.Join(dir, name) }
	return []string{
		"--kubeconfig=" + f("kwok.kubeconfig"), "--config=" + f("stages.yaml"),
		"--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=" + simNodeAnnotation + "=fake",
		"--node-ip=" + a.Gateway.String(), a.flag("node-port", portKwok), "--server-address=" + a.at(portKwok),
		"--tls-cert-file=" + f("kubelet.crt"), "--tls-private-key-file=" + f("kubelet.key"),
		"--cidr=" + a.Sim.String(), "--node-lease-duration-seconds=0",
	}
}
