// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package dependency looks at which profiles depend on which: dependsOn, followed as far
// as it leads. The profiles are all of one kind and of one namespace, and known by name.
package dependency

import "slices"

// MaxProfiles bounds how many profiles are followed.
const MaxProfiles = 1000

// Cycle is a way from a profile back to itself along what each depends on, both ends
// included; nil if there is none.
func Cycle(name string, dependsOn func(name string) []string) []string {
	from := map[string]string{}
	for queue := []string{name}; len(queue) > 0 && len(from) < MaxProfiles; queue = queue[1:] {
		for _, next := range dependsOn(queue[0]) {
			if next == name {
				way := []string{name}
				for at := queue[0]; at != name; at = from[at] {
					way = append(way, at)
				}
				way = append(way, name)
				slices.Reverse(way)
				return way
			}
			if _, seen := from[next]; !seen {
				from[next] = queue[0]
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// Dependants are all profiles that depend on one, through others too, in the order of
// their names; it is not among them itself.
func Dependants(dependsOn map[string][]string, name string) []string {
	found := map[string]bool{name: true}
	var out []string
	for queue := []string{name}; len(queue) > 0; queue = queue[1:] {
		for other, names := range dependsOn {
			if !found[other] && slices.Contains(names, queue[0]) {
				found[other] = true
				out, queue = append(out, other), append(queue, other)
			}
		}
	}
	slices.Sort(out)
	return out
}
