// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"

	"github.com/muster-project/muster/pkg/storage/identity"
)

// defaultNamespace is where Muster lives unless it was told otherwise.
const defaultNamespace = "projectsveltos"

// storageConfirmation is what "confirm-storage" is asked for.
type storageConfirmation struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags

	yes     bool
	timeout time.Duration
}

func newConfirmStorage(streams genericiooptions.IOStreams) *cobra.Command {
	c := &storageConfirmation{IOStreams: streams, flags: hostFlags()}
	command := &cobra.Command{
		Use:   "confirm-storage [--yes]",
		Short: "Accept storage that Muster holds because it is not what it was",
		Long: "Show how Muster's storage differs from what it was, and accept it as it is. " +
			"Muster holds storage that was wiped, restored from a backup, or that belongs to another installation: " +
			"until somebody accepts it, nothing is served, and nothing is changed anywhere. " +
			"What is accepted is exactly what is shown; if the storage changes once more, it is held once more.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			clients, err := connect(c.flags)
			if err != nil {
				return err
			}
			return c.run(command.Context(), clients.host, func(ctx context.Context) error { return askStorage(ctx, clients) })
		},
	}
	flags := command.Flags()
	c.flags.AddFlags(flags)
	flags.BoolVar(&c.yes, "yes", false, "do not ask")
	flags.DurationVar(&c.timeout, "timeout", time.Minute, "how long to wait until Muster goes on")
	return command
}

// askStorage returns what Muster answers to a question that needs its storage.
func askStorage(ctx context.Context, clients *clients) error {
	_, err := clients.muster.LibV1beta1().SveltosClusters(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 1})
	return err
}

// installationNamespace is where Muster lives.
func installationNamespace(flags *genericclioptions.ConfigFlags) string {
	if *flags.Namespace != "" {
		return *flags.Namespace
	}
	return defaultNamespace
}

func (c *storageConfirmation) run(ctx context.Context, host kubernetes.Interface, ask func(context.Context) error) error {
	answer := ask(ctx)
	if answer == nil {
		fmt.Fprintln(c.Out, "Muster trusts its storage; there is nothing to confirm.")
		return nil
	}
	reason, found, held := identity.FromStatus(answer)
	if !held {
		return fmt.Errorf("there is no answer about the storage of Muster; the log of its Pods says more: %w", answer)
	}
	namespace := installationNamespace(c.flags)
	configMap, err := host.CoreV1().ConfigMaps(namespace).Get(ctx, identity.ConfigMapName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		configMap, err = nil, nil
	}
	if err != nil {
		return fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, identity.ConfigMapName, err)
	}
	c.show(reason, found, configMap)
	if err := c.permit(); err != nil {
		return err
	}
	if err := writeConfirmation(ctx, host, namespace, configMap, found); err != nil {
		return err
	}
	return c.await(ctx, ask)
}

// show prints what was expected, what was found, and what follows.
func (c *storageConfirmation) show(reason identity.Reason, found identity.Found, configMap *corev1.ConfigMap) {
	expected := "nothing is recorded of this installation"
	if configMap != nil {
		stored, err := identity.Parse(configMap.Data)
		switch {
		case err != nil:
			expected = "the record is damaged: " + err.Error()
		case stored.Record != nil:
			expected = stored.Record.String()
		}
	}
	fmt.Fprintf(c.Out, "Muster's storage is held: %s\n  expected: %s\n  found:    %s\n\n%s\n", reason, expected, found, consequence(found))
}

// consequence says what accepting storage leads to.
func consequence(found identity.Found) string {
	if found.Empty {
		return "If you accept it, Muster begins with an empty fleet. Clusters keep what was deployed to them, and nothing of it is known to Muster any more: " +
			"what you register and apply again adopts it. If there is a backup, restore it first."
	}
	return "If you accept it, Muster takes what is stored there for the truth: it deploys, moves and withdraws add-ons as the profiles say that are in it, " +
		"and what was changed since is undone. Another installation that uses this storage is held from then on."
}

// permit asks on a terminal, unless --yes was given.
func (c *storageConfirmation) permit() error {
	if c.yes {
		return nil
	}
	if !isTerminal(c.In) {
		return errors.New("nothing was confirmed: there is nobody to ask; pass --yes to accept what is shown above")
	}
	fmt.Fprint(c.Out, "Accept it? Type yes: ")
	line, err := bufio.NewReader(c.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading your answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was confirmed")
	}
	return nil
}

func isTerminal(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// writeConfirmation adds to the ConfigMap, at the resourceVersion that was read,
// that found is accepted.
func writeConfirmation(ctx context.Context, host kubernetes.Interface, namespace string, read *corev1.ConfigMap, found identity.Found) error {
	data, err := identity.Stored{Confirmed: &identity.Confirmation{Found: found, As: string(uuid.NewUUID())}}.Encode()
	if err != nil {
		return err
	}
	configMaps := host.CoreV1().ConfigMaps(namespace)
	if read == nil {
		_, err = configMaps.Create(ctx, identity.NewConfigMap(namespace, data), metav1.CreateOptions{})
	} else {
		updated := read.DeepCopy()
		if updated.Data == nil {
			updated.Data = map[string]string{}
		}
		maps.Copy(updated.Data, data)
		_, err = configMaps.Update(ctx, updated, metav1.UpdateOptions{})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("nothing was confirmed: ConfigMap %s/%s was changed meanwhile; run this again", namespace, identity.ConfigMapName)
	}
	if err != nil {
		return fmt.Errorf("writing the confirmation to ConfigMap %s/%s: %w", namespace, identity.ConfigMapName, err)
	}
	return nil
}

// await returns when Muster goes on. A server may start anew before it does.
func (c *storageConfirmation) await(ctx context.Context, ask func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 500*time.Millisecond, c.timeout, true, func(ctx context.Context) (bool, error) {
		last = ask(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the storage is confirmed, but Muster does not go on after %s: %w", c.timeout, last)
	}
	fmt.Fprintln(c.Out, "The storage is confirmed, and Muster goes on.")
	return nil
}
