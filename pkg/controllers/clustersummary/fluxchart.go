// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/release"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/archive"
	"github.com/muster-project/muster/pkg/render/flux"
)

// chartFile is what makes a directory a chart.
const chartFile = "Chart.yaml"

// fluxChart finds the chart that a URL names in a source of Flux: in its path, or in the
// directory there that has the chart's name.
func (b *requestBuilder) fluxChart(ctx context.Context, out *deploy.Chart) error {
	parsed, err := flux.ParseURL(out.Ref.RepositoryURL)
	if err != nil {
		return &render.SourceError{Kind: kindURL, Name: out.Ref.RepositoryURL, Err: err}
	}
	if err := b.mayRead(parsed.Namespace); err != nil {
		return err
	}
	found, err := b.fluxNamed(ctx, parsed.Kind, types.NamespacedName{Namespace: parsed.Namespace, Name: parsed.Name})
	if err != nil {
		return err
	}
	directory := parsed.Path
	files, err := flux.At(found.files, directory)
	if err != nil {
		return found.broken(err)
	}
	if packed, isFile := files[path.Base(directory)]; isFile && len(files) == 1 && archive.IsGzip(packed) {
		out.Ref.Files = &release.Files{Digest: digestOfFiles(files), Archive: packed}
	} else {
		if _, isChart := files[chartFile]; !isChart && out.Ref.ChartName != "" {
			directory = path.Join(directory, path.Base(out.Ref.ChartName))
			if files, err = flux.At(found.files, directory); err != nil {
				return found.broken(err)
			}
		}
		if _, isChart := files[chartFile]; !isChart {
			return found.broken(fmt.Errorf("path %q holds no chart, there is no %s", directory, chartFile))
		}
		out.Ref.Files = &release.Files{Digest: digestOfFiles(files), Content: files}
	}
	if out.Ref.ChartName == "" {
		out.Ref.ChartName = path.Base(path.Join("/", parsed.Name, directory))
	}
	// A chart in a source changes without its version, and a release is upgraded only
	// if something of it says that it is another. Changes to what is rendered are
	// known by this hash; those to what it is rendered from are from here on too.
	sum := sha256.Sum256([]byte(out.PostRenderHash + " " + out.Ref.Files.Digest))
	out.PostRenderHash = hex.EncodeToString(sum[:hashBytes])
	return nil
}

// hashBytes is how much of a hash fits into the value of a label, in hexadecimal.
const hashBytes = 16

// digestOfFiles is of the files' names and content.
func digestOfFiles(files map[string][]byte) string {
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(all, "%q %x\n", name, sha256.Sum256(files[name]))
	}
	return hex.EncodeToString(all.Sum(nil))
}
