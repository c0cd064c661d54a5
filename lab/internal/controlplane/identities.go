package controlplane

import (
	"crypto/x509/pkix"
	"fmt"
	"net/netip"
	"path/filepath"
)

// masters is the group that may do everything.
const masters = "system:masters"

// writePKI makes the authorities and certificates of the cluster and the kubeconfigs of its components.
func (c *Cluster) writePKI() error {
	ca, err := newAuthority(c.cfg.Dir, "ca")
	if err != nil {
		return err
	}
	c.ca = ca.pem
	frontProxy, err := newAuthority(c.cfg.Dir, "front-proxy-ca")
	if err != nil {
		return err
	}
	local := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	server := names{
		ips: []netip.Addr{c.addresses.Gateway, local, c.addresses.Kubernetes()},
		dns: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + Domain},
	}
	kubelet := names{ips: []netip.Addr{c.addresses.Gateway, local}, dns: []string{"localhost", ProcessNode}}
	for _, cert := range []struct {
		by      *authority
		name    string
		subject pkix.Name
		san     names
	}{
		{ca, "apiserver", pkix.Name{CommonName: "kube-apiserver"}, server},
		{ca, "kubelet", pkix.Name{CommonName: "kubelet"}, kubelet},
		{ca, "sa", pkix.Name{CommonName: "service-accounts"}, names{}},
		{ca, "apiserver-kubelet-client", pkix.Name{CommonName: "kube-apiserver-kubelet-client", Organization: []string{masters}}, names{}},
		{frontProxy, "front-proxy-client", pkix.Name{CommonName: "front-proxy-client"}, names{}},
	} {
		if _, err := cert.by.issue(cert.name, cert.subject, cert.san); err != nil {
			return err
		}
	}
	return c.writeClients(ca)
}

// writeClients writes the kubeconfigs of the components and keeps the administrator's certificate.
func (c *Cluster) writeClients(ca *authority) error {
	for name, subject := range map[string]pkix.Name{
		"kube-controller-manager": {CommonName: "system:kube-controller-manager"},
		"kube-scheduler":          {CommonName: "system:kube-scheduler"},
		"kwok":                    {CommonName: "kwok", Organization: []string{masters}},
	} {
		client, err := ca.issue(name, subject, names{})
		if err != nil {
			return err
		}
		path := filepath.Join(c.cfg.Dir, name+".kubeconfig")
		if err := writeKubeconfig(path, c.cfg.Name, c.addresses.Server(), ca.pem, client); err != nil {
			return err
		}
	}
	admin, err := ca.issue("admin", pkix.Name{CommonName: "admin", Organization: []string{masters}}, names{})
	if err != nil {
		return fmt.Errorf("administrator: %w", err)
	}
	c.admin = admin
	return nil
}
