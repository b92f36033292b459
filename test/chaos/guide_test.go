// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"

	"github.com/muster-project/muster/test/fleet"
)

// guide is what docs/operations.md tells to do, word by word.
type guide struct {
	// backup and restore are arguments of the program in a member's Pod.
	backup, restore []string
	// job is the manifest that restore is of, confirm the command of kubectl.
	job     string
	confirm []string
}

var (
	// execInMember is a command in a member's Pod, with its output in a file.
	execInMember = regexp.MustCompile(`(?s)kubectl [^\n]*exec muster-etcd-0 -- /usr/local/bin/muster (.*?) >\S+\n`)
	yamlBlock    = regexp.MustCompile("(?s)```yaml\n(.*?)```")
)

func readGuide(t *testing.T) *guide {
	t.Helper()
	root, err := fleet.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	backups, errBackups := section(string(page), "## Backups")
	restore, errRestore := section(string(page), "## Restore")
	if err := errors.Join(errBackups, errRestore); err != nil {
		t.Fatal(err)
	}
	g := &guide{confirm: []string{"muster", "confirm-storage"}}
	command := execInMember.FindStringSubmatch(backups)
	if command == nil || !strings.Contains(restore, "kubectl "+strings.Join(g.confirm, " ")+"\n") {
		t.Fatal("docs/operations.md does not say how to make a backup on one's own machine, or to confirm what was restored")
	}
	g.backup = strings.Fields(strings.ReplaceAll(command[1], "\\\n", " "))
	if g.job, g.restore, err = restoreJob(restore); err != nil {
		t.Fatal(err)
	}
	return g
}

// section is the text below a heading, up to the next one.
func section(page, heading string) (string, error) {
	_, rest, found := strings.Cut(page, "\n"+heading+"\n")
	if !found {
		return "", fmt.Errorf("docs/operations.md has no section %q", heading)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return text, nil
}

// restoreJob is the Job that restores a member. It is indented, as part of a list.
func restoreJob(text string) (manifest string, args []string, err error) {
	text = strings.ReplaceAll(text, "\n   ", "\n")
	for _, block := range yamlBlock.FindAllStringSubmatch(text, -1) {
		var job batchv1.Job
		if err := yaml.UnmarshalStrict([]byte(block[1]), &job); err != nil {
			return "", nil, fmt.Errorf("docs/operations.md: %w", err)
		}
		if containers := job.Spec.Template.Spec.Containers; job.Kind == "Job" && len(containers) == 1 {
			return block[1], containers[0].Args, nil
		}
	}
	return "", nil, errors.New("docs/operations.md has no Job that restores")
}
