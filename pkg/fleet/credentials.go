// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// MaxKubeconfigSize is the largest kubeconfig that is parsed, in bytes. It is
// what a Secret can hold, so that nothing legitimate is refused, and it bounds
// what a hostile document can cost.
const MaxKubeconfigSize = 1 << 20

// CredentialSource reads the kubeconfig of a cluster from the host.
type CredentialSource interface {
	// Kubeconfig returns the kubeconfig's bytes and a version, which differs
	// whenever the bytes may (a Secret's UID and resourceVersion, say). It is shown
	// to people, and so carries nothing of the bytes.
	//
	// A *CredentialsError says that there is none to be had (ReasonMissing):
	// the user has to act, and the cluster's CredentialsInvalid is set. Any
	// other error says that the host could not be asked; it is no verdict on
	// the cluster, and the question is repeated.
	Kubeconfig(ctx context.Context, ref Ref) (data []byte, version string, err error)
}

// CredentialsReason is why credentials are unusable, in CamelCase, fit for a
// condition's reason.
type CredentialsReason string

// The reasons of a CredentialsError.
const (
	// ReasonMissing: the Secret or its key does not exist.
	ReasonMissing CredentialsReason = "KubeconfigMissing"
	// ReasonEmpty: there are no bytes, or nothing but white space.
	ReasonEmpty CredentialsReason = "KubeconfigEmpty"
	// ReasonTooLarge: more than MaxKubeconfigSize bytes.
	ReasonTooLarge CredentialsReason = "KubeconfigTooLarge"
	// ReasonUnparsable: not a kubeconfig, or a truncated one.
	ReasonUnparsable CredentialsReason = "KubeconfigUnparsable"
	// ReasonNoContext: no context is current and there isn't exactly one.
	ReasonNoContext CredentialsReason = "NoCurrentContext"
	// ReasonDanglingContext: the context, its cluster or its user is not there.
	ReasonDanglingContext CredentialsReason = "DanglingContext"
	// ReasonForbiddenField: a field that would run a program, read a file,
	// use a proxy, impersonate, or skip the check of the server's identity.
	ReasonForbiddenField CredentialsReason = "ForbiddenField"
	// ReasonInvalid: a field's value cannot be used.
	ReasonInvalid CredentialsReason = "KubeconfigInvalid"
)

// CredentialsError says why a cluster's kubeconfig cannot be used. It never
// carries a part of the kubeconfig that could be secret, nor the parser's own
// error, which may quote the document.
type CredentialsError struct {
	Reason CredentialsReason
	// Message is for the user: what is wrong and what to do about it.
	Message string
}

// Error returns the message.
func (e *CredentialsError) Error() string { return e.Message }

func credentialsErrorf(reason CredentialsReason, format string, args ...any) *CredentialsError {
	return &CredentialsError{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// ParseKubeconfig returns the connection that a kubeconfig's current context
// describes. Fields are copied one by one from an allow-list into a new
// config: the server (https), its CA and TLS server name, the client
// certificate and key, the token, the user name and password. A context that
// uses anything that would make Muster run, read or trust something else is
// refused rather than stripped, because what is left would not be what its
// author meant. Contexts that are not used are not looked at.
//
// Errors are of type *CredentialsError.
func ParseKubeconfig(data []byte) (*rest.Config, error) {
	parsed, err := loadKubeconfig(data)
	if err != nil {
		return nil, err
	}
	cluster, user, err := currentContext(parsed)
	if err != nil {
		return nil, err
	}
	if field := forbiddenField(cluster, user); field != "" {
		return nil, credentialsErrorf(ReasonForbiddenField,
			"kubeconfig uses %s, which is not allowed: use the server's https address and certificate-authority-data"+
				" with a token, client-certificate-data and client-key-data, or a user name and password", field)
	}
	config := &rest.Config{
		Host:               strings.TrimSpace(cluster.Server),
		BearerToken:        strings.TrimSpace(user.Token),
		Username:           user.Username,
		Password:           user.Password,
		DisableCompression: cluster.DisableCompression,
		TLSClientConfig: rest.TLSClientConfig{
			ServerName: cluster.TLSServerName,
			CAData:     cluster.CertificateAuthorityData,
			CertData:   user.ClientCertificateData,
			KeyData:    user.ClientKeyData,
		},
	}
	if err := validateServer(config.Host); err != nil {
		return nil, err
	}
	if err := validateUser(config); err != nil {
		return nil, err
	}
	if err := validateTLS(config); err != nil {
		return nil, err
	}
	return config, nil
}

// yamlLine finds the line number in an error of the YAML parser: the one part
// of such an error that helps and cannot quote the document.
var yamlLine = regexp.MustCompile(`\bline (\d+)`)

func loadKubeconfig(data []byte) (*clientcmdapi.Config, error) {
	if len(data) > MaxKubeconfigSize {
		return nil, credentialsErrorf(ReasonTooLarge, "kubeconfig has %d bytes; at most %d are read", len(data), MaxKubeconfigSize)
	}
	if strings.TrimSpace(string(data)) == "" {
		return nil, credentialsErrorf(ReasonEmpty, "kubeconfig is empty")
	}
	parsed, err := clientcmd.Load(data)
	if err != nil {
		where := ""
		if line := yamlLine.FindStringSubmatch(err.Error()); line != nil {
			where = " (near line " + line[1] + ")"
		}
		return nil, credentialsErrorf(ReasonUnparsable, "kubeconfig cannot be parsed%s: it is truncated or no kubeconfig", where)
	}
	return parsed, nil
}

// currentContext resolves the context to use. One that is the only one needs
// no current-context to name it.
func currentContext(parsed *clientcmdapi.Config) (*clientcmdapi.Cluster, *clientcmdapi.AuthInfo, error) {
	name := parsed.CurrentContext
	if name == "" {
		if len(parsed.Contexts) != 1 {
			return nil, nil, credentialsErrorf(ReasonNoContext,
				"kubeconfig has no current-context and %d contexts: set current-context", len(parsed.Contexts))
		}
		for only := range parsed.Contexts {
			name = only
		}
	}
	selected := parsed.Contexts[name]
	if selected == nil {
		return nil, nil, credentialsErrorf(ReasonDanglingContext, "kubeconfig's current-context %.80q does not exist in it", name)
	}
	cluster := parsed.Clusters[selected.Cluster]
	if cluster == nil {
		return nil, nil, credentialsErrorf(ReasonDanglingContext,
			"kubeconfig's context %.80q names cluster %.80q, which does not exist in it", name, selected.Cluster)
	}
	user := parsed.AuthInfos[selected.AuthInfo]
	if user == nil {
		return nil, nil, credentialsErrorf(ReasonDanglingContext,
			"kubeconfig's context %.80q names user %.80q, which does not exist in it", name, selected.AuthInfo)
	}
	return cluster, user, nil
}

// forbiddenField returns the kubeconfig's name of the first field in use that
// is not to be obeyed, or "".
func forbiddenField(cluster *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) string {
	for _, check := range []struct {
		field string
		used  bool
	}{
		{"exec", user.Exec != nil},
		{"auth-provider", user.AuthProvider != nil},
		{"certificate-authority (a file)", cluster.CertificateAuthority != ""},
		{"client-certificate (a file)", user.ClientCertificate != ""},
		{"client-key (a file)", user.ClientKey != ""},
		{"tokenFile", user.TokenFile != ""},
		{"proxy-url", cluster.ProxyURL != ""},
		{"insecure-skip-tls-verify", cluster.InsecureSkipTLSVerify},
		{"impersonation (as)", user.Impersonate != "" || user.ImpersonateUID != "" ||
			len(user.ImpersonateGroups) > 0 || len(user.ImpersonateUserExtra) > 0},
	} {
		if check.used {
			return check.field
		}
	}
	return ""
}

func validateServer(server string) error {
	// The address is not quoted: one with a password in it would be.
	parsed, err := url.Parse(server)
	if err != nil || parsed.Hostname() == "" {
		return credentialsErrorf(ReasonInvalid, "kubeconfig's server is no URL: write https://host:port")
	}
	if parsed.Scheme != "https" {
		return credentialsErrorf(ReasonInvalid, "kubeconfig's server is not https: credentials are sent over TLS only")
	}
	if parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" || parsed.Opaque != "" {
		return credentialsErrorf(ReasonInvalid, "kubeconfig's server must be https://host:port, with a path at most")
	}
	return nil
}

func validateUser(config *rest.Config) error {
	token, basic := config.BearerToken != "", config.Username != "" || config.Password != ""
	certificate := len(config.CertData) > 0 || len(config.KeyData) > 0
	switch {
	case !token && !basic && !certificate:
		// Anonymous requests may read /readyz, so that the cluster would look
		// healthy while nothing could ever be done with it.
		return credentialsErrorf(ReasonInvalid,
			"kubeconfig's user has no credentials: it needs a token, a client certificate and key, or a user name and password")
	case token && basic:
		return credentialsErrorf(ReasonInvalid, "kubeconfig's user has both a token and a user name: keep one")
	case basic && (config.Username == "" || strings.Contains(config.Username, ":")):
		return credentialsErrorf(ReasonInvalid, "kubeconfig's user name is empty or contains a colon")
	case strings.ContainsFunc(config.BearerToken, func(r rune) bool { return r <= ' ' || r > '~' }):
		return credentialsErrorf(ReasonInvalid, "kubeconfig's token contains white space or other characters that no token has")
	}
	return nil
}

func validateTLS(config *rest.Config) error {
	if _, err := certPool(config.CAData); err != nil {
		return err
	}
	_, err := clientCertificates(config.TLSClientConfig)
	return err
}

// certPool returns the roots to verify the server with; nil means the
// system's, as in every Kubernetes client.
func certPool(caData []byte) (*x509.CertPool, error) {
	if len(caData) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(caData) {
		return nil, credentialsErrorf(ReasonInvalid, "kubeconfig's certificate-authority-data holds no PEM certificate")
	}
	return pool, nil
}

func clientCertificates(config rest.TLSClientConfig) ([]tls.Certificate, error) {
	if len(config.CertData) == 0 && len(config.KeyData) == 0 {
		return nil, nil
	}
	pair, err := tls.X509KeyPair(config.CertData, config.KeyData)
	if err != nil {
		return nil, credentialsErrorf(ReasonInvalid,
			"kubeconfig's client-certificate-data and client-key-data are no PEM certificate and its key")
	}
	return []tls.Certificate{pair}, nil
}

// asCredentialsError finds the *CredentialsError in err's chain, or nil.
func asCredentialsError(err error) *CredentialsError {
	var credentials *CredentialsError
	errors.As(err, &credentials)
	return credentials
}
