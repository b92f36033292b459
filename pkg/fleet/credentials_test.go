// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

func TestParseKubeconfigCopiesWhatIsAllowed(t *testing.T) {
	a := theAuthority()
	pair := []string{"client-certificate-data: " + b64(a.certPEM), "client-key-data: " + b64(a.keyPEM)}
	for name, test := range map[string]struct {
		kubeconfig []byte
		want       rest.Config
	}{
		"token": {
			kubeconfig("https://c.test:6443", a.caPEM),
			rest.Config{Host: "https://c.test:6443", BearerToken: canaryToken, TLSClientConfig: rest.TLSClientConfig{CAData: a.caPEM}},
		},
		"token with white space around it": {
			kubeconfig("https://c.test:6443", a.caPEM, `token: "`+canaryToken+`\n"`),
			rest.Config{Host: "https://c.test:6443", BearerToken: canaryToken, TLSClientConfig: rest.TLSClientConfig{CAData: a.caPEM}},
		},
		"client certificate": {
			kubeconfig("https://c.test:6443", a.caPEM, pair...),
			rest.Config{Host: "https://c.test:6443", TLSClientConfig: rest.TLSClientConfig{CAData: a.caPEM, CertData: a.certPEM, KeyData: a.keyPEM}},
		},
		"user name and password": {
			kubeconfig("https://c.test:6443", a.caPEM, "username: admin", "password: "+canaryPassword),
			rest.Config{Host: "https://c.test:6443", Username: "admin", Password: canaryPassword, TLSClientConfig: rest.TLSClientConfig{CAData: a.caPEM}},
		},
		"TLS server name and a path": {
			bytes.Replace(kubeconfig("https://rancher.test/k8s/clusters/c-1", a.caPEM),
				[]byte("    server:"), []byte("    tls-server-name: api.test\n    server:"), 1),
			rest.Config{Host: "https://rancher.test/k8s/clusters/c-1", BearerToken: canaryToken,
				TLSClientConfig: rest.TLSClientConfig{CAData: a.caPEM, ServerName: "api.test"}},
		},
		"the system's authorities": {
			bytes.Replace(kubeconfig("https://c.test", nil), []byte("    certificate-authority-data: \n"), nil, 1),
			rest.Config{Host: "https://c.test", BearerToken: canaryToken},
		},
		"a single context needs no current one": {
			bytes.Replace(kubeconfig("https://c.test", a.caPEM), []byte("current-context: it\n"), nil, 1),
			rest.Config{Host: "https://c.test", BearerToken: canaryToken, TLSClientConfig: rest.TLSClientConfig{CAData: a.caPEM}},
		},
		"a forbidden user that is not in use": {
			append(kubeconfig("https://c.test", a.caPEM), "- name: other\n  user: {exec: {command: rm, apiVersion: client.authentication.k8s.io/v1}}\n"...),
			rest.Config{Host: "https://c.test", BearerToken: canaryToken, TLSClientConfig: rest.TLSClientConfig{CAData: a.caPEM}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseKubeconfig(test.kubeconfig)
			if err != nil {
				t.Fatal(err)
			}
			// The fields that may be set at all are compared by value, so that
			// everything else has to be zero.
			if fmt.Sprintf("%#v", *got) != fmt.Sprintf("%#v", test.want) || got.BearerToken != test.want.BearerToken ||
				got.Password != test.want.Password || !bytes.Equal(got.KeyData, test.want.KeyData) {
				t.Errorf("got %v\nwant %v", got, &test.want)
			}
		})
	}
}

func TestParseKubeconfigRefuses(t *testing.T) {
	a := theAuthority()
	good := kubeconfig("https://c.test:6443", a.caPEM)
	cluster := func(field string) []byte {
		return bytes.Replace(good, []byte("    server:"), []byte("    "+field+"\n    server:"), 1)
	}
	user := func(fields ...string) []byte { return kubeconfig("https://c.test:6443", a.caPEM, fields...) }
	without := func(line string) []byte { return bytes.Replace(good, []byte(line+"\n"), nil, 1) }
	token := "token: " + canaryToken
	for name, test := range map[string]struct {
		kubeconfig []byte
		reason     CredentialsReason
		// says is part of the message.
		says string
	}{
		"nothing":                  {nil, ReasonEmpty, "empty"},
		"white space":              {[]byte(" \n\t\n"), ReasonEmpty, "empty"},
		"10 MB":                    {bytes.Repeat([]byte("a: b\n"), 2<<20), ReasonTooLarge, "at most 1048576"},
		"one byte too many":        {append(good, bytes.Repeat([]byte("#"), MaxKubeconfigSize-len(good)+1)...), ReasonTooLarge, ""},
		"truncated in a context":   {good[:bytes.Index(good, []byte(", user"))], ReasonUnparsable, "truncated"},
		"truncated before users":   {good[:bytes.Index(good, []byte("users:"))], ReasonDanglingContext, "user"},
		"truncated in base64":      {good[:bytes.Index(good, []byte("users:"))-7], ReasonUnparsable, "truncated"},
		"no YAML":                  {[]byte("\x00\x01\x02"), ReasonUnparsable, ""},
		"another document":         {[]byte("apiVersion: v1\nkind: Pod\n"), ReasonUnparsable, ""},
		"a list":                   {[]byte("- a\n- b\n"), ReasonUnparsable, ""},
		"a bare secret":            {[]byte(canaryToken), ReasonUnparsable, ""},
		"a secret where none goes": {[]byte("apiVersion: v1\nkind: Config\nclusters: " + canaryToken + "\n"), ReasonUnparsable, ""},
		"no context":               {[]byte("apiVersion: v1\nkind: Config\n"), ReasonNoContext, "0 contexts"},
		"two contexts, none current": {bytes.Replace(without("current-context: it"), []byte("clusters:"),
			[]byte("- {name: b, context: {cluster: it, user: me}}\nclusters:"), 1), ReasonNoContext, "2 contexts"},
		"current context missing": {bytes.Replace(good, []byte("current-context: it"), []byte("current-context: else"), 1),
			ReasonDanglingContext, `"else"`},
		"cluster missing": {bytes.Replace(good, []byte("cluster: it, user"), []byte("cluster: gone, user"), 1), ReasonDanglingContext, `"gone"`},
		"user missing":    {bytes.Replace(good, []byte("user: me}"), []byte("user: gone}"), 1), ReasonDanglingContext, `"gone"`},

		"exec":                 {user("exec: {command: id, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}"), ReasonForbiddenField, "exec"},
		"exec beside a token":  {user(token, "exec: {command: id, apiVersion: client.authentication.k8s.io/v1}"), ReasonForbiddenField, "exec"},
		"auth-provider":        {user(token, "auth-provider: {name: gcp}"), ReasonForbiddenField, "auth-provider"},
		"CA file":              {cluster("certificate-authority: /etc/passwd"), ReasonForbiddenField, "certificate-authority"},
		"certificate file":     {user(token, "client-certificate: /etc/passwd"), ReasonForbiddenField, "client-certificate"},
		"key file":             {user(token, "client-key: /etc/passwd"), ReasonForbiddenField, "client-key"},
		"token file":           {user("tokenFile: /var/run/secrets/token"), ReasonForbiddenField, "tokenFile"},
		"proxy":                {cluster("proxy-url: http://169.254.169.254"), ReasonForbiddenField, "proxy-url"},
		"insecure":             {cluster("insecure-skip-tls-verify: true"), ReasonForbiddenField, "insecure-skip-tls-verify"},
		"impersonation":        {user(token, "as: admin"), ReasonForbiddenField, "impersonation"},
		"impersonation of UID": {user(token, "as-uid: x"), ReasonForbiddenField, "impersonation"},
		"impersonated groups":  {user(token, "as-groups: [system:masters]"), ReasonForbiddenField, "impersonation"},
		"impersonated extra":   {user(token, "as-user-extra: {a: [b]}"), ReasonForbiddenField, "impersonation"},

		"http":                     {kubeconfig("http://c.test", a.caPEM), ReasonInvalid, "https"},
		"no scheme":                {kubeconfig("c.test:6443", a.caPEM), ReasonInvalid, "https"},
		"a file":                   {kubeconfig("file:///etc/passwd", a.caPEM), ReasonInvalid, "https"},
		"no server":                {kubeconfig(`""`, a.caPEM), ReasonInvalid, "https"},
		"a password in the server": {kubeconfig("https://me:"+canaryPassword+"@c.test", a.caPEM), ReasonInvalid, "https"},
		"a query in the server":    {kubeconfig("https://c.test/?x="+canaryPassword, a.caPEM), ReasonInvalid, "path at most"},
		"CA that is none":          {kubeconfig("https://c.test", []byte(canaryToken)), ReasonInvalid, "certificate-authority-data"},
		"no credentials":           {user("{}"), ReasonInvalid, "no credentials"},
		"token and password":       {user(token, "username: me", "password: "+canaryPassword), ReasonInvalid, "both"},
		"password without user":    {user("password: " + canaryPassword), ReasonInvalid, "user name"},
		"header injection": {user(`token: "` + canaryToken + `\r\nImpersonate-User: admin"`), ReasonInvalid,
			"white space"},
		"certificate without key": {user("client-certificate-data: " + b64(a.certPEM)), ReasonInvalid, "client-key-data"},
		"key without certificate": {user("client-key-data: " + b64(a.keyPEM)), ReasonInvalid, "client-key-data"},
		"another's key": {user("client-certificate-data: "+b64(a.certPEM),
			"client-key-data: "+b64(makeAuthority("other").keyPEM)), ReasonInvalid, "client-key-data"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := ParseKubeconfig(test.kubeconfig)
			var refused *CredentialsError
			if !errors.As(err, &refused) {
				t.Fatalf("got config %v, error %v; want a CredentialsError", config, err)
			}
			if refused.Reason != test.reason || !strings.Contains(refused.Message, test.says) {
				t.Errorf("got %s: %s\nwant %s: …%s…", refused.Reason, refused.Message, test.reason, test.says)
			}
			for _, secret := range []string{canaryToken, canaryPassword, "canary"} {
				if strings.Contains(refused.Message, secret) {
					t.Errorf("the message holds a secret: %s", refused.Message)
				}
			}
		})
	}
}

// A document that grows when it is expanded ("billion laughs") has to be
// refused by the work it makes, since it is small. Obeyed, none of these would
// end before the test's deadline, or the memory.
func TestParseKubeconfigBoundsBombs(t *testing.T) {
	var laughs strings.Builder
	laughs.WriteString("apiVersion: v1\nkind: Config\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := range 9 {
		fmt.Fprintf(&laughs, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","))
	}
	for name, bomb := range map[string]string{
		"aliases":         laughs.String(),
		"depth of lists":  strings.Repeat("[", MaxKubeconfigSize-1),
		"depth of maps":   strings.Repeat("{a: ", MaxKubeconfigSize/4-1),
		"depth of blocks": strings.Repeat("- ", MaxKubeconfigSize/2-1),
		"many keys":       strings.Repeat("a:\n", MaxKubeconfigSize/3-1),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseKubeconfig([]byte(bomb)); asCredentialsError(err) == nil {
				t.Errorf("got error %v, want a CredentialsError", err)
			}
		})
	}
}

func FuzzParseKubeconfig(f *testing.F) {
	a := theAuthority()
	f.Add(kubeconfig("https://c.test:6443", a.caPEM))
	f.Add(kubeconfig("https://c.test:6443", a.caPEM, "exec: {command: id, apiVersion: client.authentication.k8s.io/v1}"))
	f.Add(kubeconfig("https://c.test:6443", nil, "token: x", "tokenFile: /etc/passwd"))
	f.Add(kubeconfig("https://c.test", a.caPEM, "client-certificate-data: "+b64(a.certPEM), "client-key-data: "+b64(a.keyPEM)))
	f.Add([]byte(`{"apiVersion":"v1","kind":"Config","current-context":"a"}`))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := ParseKubeconfig(data)
		if err != nil {
			if config != nil || asCredentialsError(err) == nil || err.Error() == "" {
				t.Fatalf("got config %v with error %#v", config, err)
			}
			return
		}
		if config.ExecProvider != nil || config.AuthProvider != nil || config.AuthConfigPersister != nil || config.Proxy != nil ||
			config.CAFile+config.CertFile+config.KeyFile+config.BearerTokenFile != "" || config.Insecure ||
			config.Impersonate.UserName+config.Impersonate.UID != "" || len(config.Impersonate.Groups)+len(config.Impersonate.Extra) > 0 ||
			!strings.HasPrefix(strings.ToLower(config.Host), "https://") {
			t.Fatalf("unsafe config %v", config)
		}
		if _, err := newConnection(ref("fuzz"), config, "", &Options{}, func() {}); err != nil {
			t.Fatalf("accepted and then unusable: %v", err)
		}
	})
}
