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
	found, directory, err := b.fluxChartFiles(ctx, parsed, out.Ref.ChartName)
	if err != nil {
		return err
	}
	if packed := packedChart(found.files, directory); packed != nil {
		out.Ref.Files = &release.Files{Digest: digestOfFiles(found.files), Archive: packed}
	} else {
		if _, isChart := found.files[chartFile]; !isChart {
			return found.broken(fmt.Errorf("path %q holds no chart, there is no %s", directory, chartFile))
		}
		out.Ref.Files = &release.Files{Digest: digestOfFiles(found.files), Content: found.files}
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

// fluxChartFiles are the files of a chart, and the directory that they are in, as the source
// has them or as the revision has pinned them.
func (b *requestBuilder) fluxChartFiles(ctx context.Context, from flux.Reference, chart string) (*fluxFiles, string, error) {
	name := types.NamespacedName{Namespace: from.Namespace, Name: from.Name}
	directories := []string{from.Path}
	if chart != "" {
		directories = append(directories, path.Join(from.Path, path.Base(chart)))
	}
	for _, directory := range directories {
		if kept, restored, err := b.fluxKept(ctx, from.Kind, name, directory); restored {
			return kept, directory, err
		}
	}
	whole, err := b.fluxArtifact(ctx, from.Kind, name)
	if err != nil {
		return nil, "", err
	}
	directory := directories[0]
	files, err := flux.At(whole.files, directory)
	if err != nil {
		return nil, "", whole.broken(err)
	}
	if _, isChart := files[chartFile]; !isChart && packedChart(files, directory) == nil {
		directory = directories[len(directories)-1]
	}
	part, err := b.fluxPart(whole, directory)
	return part, directory, err
}

// packedChart is the archive that a directory of a source is instead, nil if it is none.
func packedChart(files map[string][]byte, directory string) []byte {
	if packed, isFile := files[path.Base(directory)]; isFile && len(files) == 1 && archive.IsGzip(packed) {
		return packed
	}
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
