// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// adminGroup bypasses authorization on every Kubernetes API server.
const adminGroup = "system:masters"

// User is an identity that a control plane's client CA vouches for.
type User struct {
	Name   string
	Groups []string
	// NotAfter ends the certificate's validity; far away if zero.
	NotAfter time.Time
}

// kubeconfig builds a kubeconfig with everything inside it, as users hand it
// to Muster.
func kubeconfig(cluster, address string, ca []byte, user *clientcmdapi.AuthInfo) *clientcmdapi.Config {
	config := clientcmdapi.NewConfig()
	config.Clusters[cluster] = &clientcmdapi.Cluster{
		Server:                   "https://" + address,
		CertificateAuthorityData: ca,
	}
	config.AuthInfos[cluster] = user
	config.Contexts[cluster] = &clientcmdapi.Context{Cluster: cluster, AuthInfo: cluster}
	config.CurrentContext = cluster
	return config
}

// Kubeconfig makes a kubeconfig for a user with a client certificate. It
// leads through the proxy where the control plane has one.
func (c *ControlPlane) Kubeconfig(user User) ([]byte, error) {
	return c.kubeconfigAt(c.Address(), user)
}

func (c *ControlPlane) kubeconfigAt(address string, user User) ([]byte, error) {
	pair, err := c.clientCA.Issue(Certificate{CommonName: user.Name, Organizations: user.Groups, NotAfter: user.NotAfter})
	if err != nil {
		return nil, err
	}
	data, err := clientcmd.Write(*kubeconfig(c.name, address, c.servingCA.PEM(), &clientcmdapi.AuthInfo{
		ClientCertificateData: pair.Cert,
		ClientKeyData:         pair.Key,
	}))
	if err != nil {
		return nil, fmt.Errorf("encoding the kubeconfig of %s: %w", user.Name, err)
	}
	return data, nil
}

// KubeconfigFile is an administrator's kubeconfig. It leads through the proxy
// where the control plane has one.
func (c *ControlPlane) KubeconfigFile() string { return filepath.Join(c.dir, "kubeconfig") }

// DirectKubeconfigFile is an administrator's kubeconfig that leads past the
// proxy, for looking at a cluster that nobody else reaches.
func (c *ControlPlane) DirectKubeconfigFile() string {
	return filepath.Join(c.dir, "direct.kubeconfig")
}

// RESTConfig is an administrator's client configuration that leads past the
// proxy. Its client-side rate limit is off.
func (c *ControlPlane) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.DirectKubeconfigFile())
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig of %s: %w", c.name, err)
	}
	config.QPS = -1
	return config, nil
}

// UserRESTConfig is RESTConfig as somebody else, through the proxy where there
// is one.
func (c *ControlPlane) UserRESTConfig(user User) (*rest.Config, error) {
	data, err := c.Kubeconfig(user)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig of %s: %w", user.Name, err)
	}
	config.QPS = -1
	return config, nil
}

// Kubectl is kubectl as administrator, past the proxy.
func (c *ControlPlane) Kubectl() *Kubectl { return c.kubectlWith(c.DirectKubeconfigFile()) }

// KubectlAs is kubectl as somebody else.
func (c *ControlPlane) KubectlAs(user User) (*Kubectl, error) {
	data, err := c.Kubeconfig(user)
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(c.dir, "user-*.kubeconfig")
	if err != nil {
		return nil, fmt.Errorf("writing the kubeconfig of %s: %w", user.Name, err)
	}
	defer file.Close()
	if _, err := file.Write(data); err != nil {
		return nil, fmt.Errorf("writing the kubeconfig of %s: %w", user.Name, err)
	}
	return c.kubectlWith(file.Name()), nil
}

func (c *ControlPlane) kubectlWith(kubeconfig string) *Kubectl {
	return &Kubectl{program: filepath.Join(c.bin, "kubectl"), kubeconfig: kubeconfig, home: filepath.Join(c.dir, "home")}
}
