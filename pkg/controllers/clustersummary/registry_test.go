// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/render"
)

const hidden = "hunter2-hunter2"

func hostSecret(namespace, name, kind string, data map[string]string) *corev1.Secret {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: corev1.SecretType(kind), Data: map[string][]byte{}}
	for key, value := range data {
		secret.Data[key] = []byte(value)
	}
	return secret
}

// publicParts are an authority, a keyring and a key to compare signatures with.
func publicParts(t *testing.T) (authority, keyring, key string) {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	entity, err := openpgp.NewEntity("tests", "", "tests@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var ring bytes.Buffer
	if err := entity.Serialize(&ring); err != nil {
		t.Fatal(err)
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})), ring.String(),
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: encoded}))
}

func newRegistryBuilder(t *testing.T, tenant string) (*requestBuilder, *[]sourceRef) {
	authority, keyring, key := publicParts(t)
	const config = `{"auths": {"registry.example": {"username": "robot", "password": "` + hidden + `"}}}`
	host := hostObjects{}
	for _, secret := range []*corev1.Secret{
		hostSecret("civo", "login", render.SecretType, map[string]string{"username": "robot", "password": hidden}),
		hostSecret("civo", "half", render.SecretType, map[string]string{"password": hidden}),
		hostSecret("civo", "docker", "kubernetes.io/dockerconfigjson", map[string]string{".dockerconfigjson": config, "other": config}),
		hostSecret("civo", "plain", render.SecretType, map[string]string{"config.json": config}),
		hostSecret("civo", "broken", "kubernetes.io/dockerconfigjson", map[string]string{".dockerconfigjson": hidden}),
		hostSecret("civo", "opaque", "Opaque", map[string]string{"username": "robot", "password": hidden}),
		hostSecret("civo", "token", "kubernetes.io/service-account-token", map[string]string{"token": hidden, "ca.crt": authority}),
		hostSecret("civo", "ca", render.SecretType, map[string]string{"ca.crt": authority}),
		hostSecret("civo", "tls", "kubernetes.io/tls", map[string]string{"ca.crt": authority, "tls.key": hidden}),
		hostSecret("civo", "keyring", render.SecretType, map[string]string{"pubring.gpg": keyring}),
		hostSecret("civo", "cosign", render.SecretType, map[string]string{"cosign.pub": key}),
		hostSecret("civo", "empty", render.SecretType, nil),
		hostSecret("other", "login", render.SecretType, map[string]string{"username": "robot", "password": hidden}),
	} {
		host["Secret/"+secret.Namespace+"/"+secret.Name] = secret
	}
	return newBuilder(t, tenant, host)
}

func secretRef(name string) *libv1beta1.SecretReference {
	return &libv1beta1.SecretReference{Name: name}
}

func TestChartAccess(t *testing.T) {
	b, read := newRegistryBuilder(t, "civo")
	chart := configv1beta1.HelmChart{
		RepositoryURL: "oci://registry.example", ChartName: "app", ReleaseName: "r", ReleaseNamespace: "n",
		Options: &configv1beta1.HelmOptions{PassCredentialsAll: true},
		RegistryCredentialsConfig: &configv1beta1.RegistryCredentialsConfig{
			Credentials: &libv1beta1.SecretReference{Namespace: "{{ .ClusterNamespace }}", Name: "{{ print `login` }}"}, CA: secretRef("ca"), InsecureSkipTLSVerify: true, PlainHTTP: true,
		},
		ProvenanceVerification: &configv1beta1.ProvenanceVerification{KeyringSecretRef: *secretRef("keyring")},
		SignatureVerification:  &configv1beta1.SignatureVerification{Provider: "PublicKey", SecretRef: secretRef("cosign")},
	}
	list := b.charts(t.Context(), []configv1beta1.HelmChart{chart})
	if list.Err != nil {
		t.Fatal(list.Err)
	}
	got := list.Charts[0]
	access := got.Ref.Access
	if access.Username != "robot" || access.Password != hidden || !access.PassAll || !access.InsecureSkipTLSVerify || !access.PlainHTTP || len(access.CA) == 0 {
		t.Error("the access is not what the profile says")
	}
	if !slices.Contains(got.Sensitive, hidden) {
		t.Error("errors may carry the password")
	}
	if len(got.Ref.Verify.Keyrings) != 1 || len(got.Ref.Verify.PublicKeys) != 1 {
		t.Errorf("verification %+v", got.Ref.Verify)
	}
	for _, name := range []string{"login", "ca", "keyring", "cosign"} {
		if !slices.ContainsFunc(*read, func(s sourceRef) bool { return s.kind == "Secret" && s.Name == name && s.Namespace == "civo" }) {
			t.Errorf("a change of Secret %s is not noticed", name)
		}
	}
	for name, key := range map[string]string{"docker": "", "plain": "config.json"} {
		chart.RegistryCredentialsConfig = &configv1beta1.RegistryCredentialsConfig{Credentials: secretRef(name), Key: key, CA: secretRef("tls")}
		list := b.charts(t.Context(), []configv1beta1.HelmChart{chart})
		if list.Err != nil || len(list.Charts[0].Ref.Access.DockerConfig) == 0 || list.Charts[0].Ref.Access.Username != "" {
			t.Errorf("%s: %v", name, list.Err)
		}
	}
	chart.HelmChartAction = configv1beta1.HelmChartActionUninstall
	chart.RegistryCredentialsConfig.Credentials = secretRef("none")
	if list := b.charts(t.Context(), []configv1beta1.HelmChart{chart}); list.Err != nil {
		t.Errorf("what is uninstalled needs no credentials: %v", list.Err)
	}
}

func TestBadChartAccess(t *testing.T) {
	for name, tt := range map[string]struct {
		config       *configv1beta1.RegistryCredentialsConfig
		keyring      string
		cosign       string
		want, reason string
	}{
		"no Secret":                     {config: &configv1beta1.RegistryCredentialsConfig{Credentials: secretRef("none")}, want: "registryCredentialsConfig.credentials: Secret civo/none of the host: does not exist", reason: configv1beta1.ReasonSourceMissing},
		"another's Secret":              {config: &configv1beta1.RegistryCredentialsConfig{Credentials: &libv1beta1.SecretReference{Namespace: "other", Name: "login"}}, want: "reads from its own namespace"},
		"a Secret of another use":       {config: &configv1beta1.RegistryCredentialsConfig{Credentials: secretRef("opaque")}, want: `Secret civo/opaque: wrong Secret type: it is "Opaque", must be addons.projectsveltos.io/cluster-profile or kubernetes.io/dockerconfigjson`, reason: configv1beta1.ReasonSourceInvalid},
		"half of the credentials":       {config: &configv1beta1.RegistryCredentialsConfig{Credentials: secretRef("half")}, want: "has to have the keys username and password", reason: configv1beta1.ReasonSourceInvalid},
		"a broken docker configuration": {config: &configv1beta1.RegistryCredentialsConfig{Credentials: secretRef("broken")}, want: `key ".dockerconfigjson": is no docker configuration`, reason: configv1beta1.ReasonSourceInvalid},
		"no such key":                   {config: &configv1beta1.RegistryCredentialsConfig{Credentials: secretRef("docker"), Key: "none"}, want: `key "none": is no docker configuration`, reason: configv1beta1.ReasonSourceInvalid},
		"no authority":                  {config: &configv1beta1.RegistryCredentialsConfig{CA: secretRef("empty")}, want: `registryCredentialsConfig.ca: Secret civo/empty, key "ca.crt": holds no certificate`, reason: configv1beta1.ReasonSourceInvalid},
		"an authority of another use":   {config: &configv1beta1.RegistryCredentialsConfig{CA: secretRef("token")}, want: "wrong Secret type", reason: configv1beta1.ReasonSourceInvalid},
		"no keyring":                    {keyring: "login", want: `provenanceVerification.keyringSecretRef: Secret civo/login, key "password": holds no OpenPGP keys`, reason: configv1beta1.ReasonSourceInvalid},
		"an empty keyring":              {keyring: "empty", want: "holds no keys", reason: configv1beta1.ReasonSourceInvalid},
		"no key":                        {cosign: "login", want: `signatureVerification.secretRef: Secret civo/login, key "password": holds no public key`, reason: configv1beta1.ReasonSourceInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := newRegistryBuilder(t, "civo")
			chart := configv1beta1.HelmChart{RepositoryURL: "oci://registry.example", ChartName: "app", ReleaseName: "r", ReleaseNamespace: "n", RegistryCredentialsConfig: tt.config}
			if tt.keyring != "" {
				chart.ProvenanceVerification = &configv1beta1.ProvenanceVerification{KeyringSecretRef: *secretRef(tt.keyring)}
			}
			if tt.cosign != "" {
				chart.SignatureVerification = &configv1beta1.SignatureVerification{Provider: "PublicKey", SecretRef: secretRef(tt.cosign)}
			}
			list := b.charts(t.Context(), []configv1beta1.HelmChart{chart})
			if list.Err == nil || !strings.Contains(list.Err.Error(), "helmCharts[0]: ") || !strings.Contains(list.Err.Error(), tt.want) || strings.Contains(list.Err.Error(), hidden) {
				t.Fatalf("error %v, want %q", list.Err, tt.want)
			}
			if tt.reason != "" && reasonOf(list.Err) != tt.reason {
				t.Errorf("reason %s, want %s", reasonOf(list.Err), tt.reason)
			}
		})
	}
}
