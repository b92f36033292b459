// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package installation is what has to be done in the host cluster around the
// life of an installation: before the first Pod starts and before the last one
// goes. The chart runs it in Jobs, because what is made once must be made where
// it can be seen whether it exists, which no template can.
package installation
