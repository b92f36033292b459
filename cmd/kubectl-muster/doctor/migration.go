// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package doctor

// Migration is the way from Sveltos to Muster by which no add-on is withdrawn.
// The order is what makes it safe: Sveltos' controllers stop before anything is
// deleted, and finalizers go before the definitions, so that nobody is left who
// would withdraw anything. What is indented by six is for a shell: a test runs it.
const Migration = `From Sveltos to Muster, without withdrawing any add-on

Everything happens in the cluster that Sveltos runs in. Keep the order.

1. Export what you have written, and keep the file:

      for kind in sveltosclusters.lib clustersets.lib sets.lib clusterprofiles.config profiles.config; do
        kubectl get $kind.projectsveltos.io --all-namespaces -o yaml --ignore-not-found
        echo ---
      done | sed '/^ *- [a-z]*finalizer\.projectsveltos\.io$/d' > fleet.yaml

   Status, UIDs and resourceVersions in it are ignored when it is applied.
   Sveltos' finalizers are left out: nobody would remove them. Secrets with
   kubeconfigs and the ConfigMaps that profiles name stay where they are.
   ClusterSummaries are not exported: Muster makes its own.

2. Stop Sveltos' controllers, and wait until none runs. From here on nothing is
   deployed or withdrawn:

      kubectl -n projectsveltos scale deployment --all --replicas=0
      kubectl -n projectsveltos wait pod --all --for=delete --timeout=5m

   If something else keeps them running (Helm through GitOps, an operator), stop
   that first. Agents in managed clusters only report; they may stay for now.
   Remove Sveltos' admission webhooks, or the next steps are refused:

      kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations -o name |
        { grep -i sveltos || true; } | xargs -r kubectl delete

3. Remove the finalizers, so that a deletion withdraws nothing and waits for
   nobody. That is for all of Sveltos' kinds, also those that Muster does not
   serve:

      for group in config lib; do
        kubectl api-resources --api-group=$group.projectsveltos.io --verbs=patch -o name
      done | while read -r kind; do
        kubectl get "$kind" --all-namespaces --ignore-not-found --no-headers \
          -o custom-columns=NS:.metadata.namespace,NAME:.metadata.name |
        while read -r ns name; do
          [ "$ns" = "<none>" ] && ns=default
          kubectl -n "$ns" patch "$kind" "$name" --type=merge -p '{"metadata":{"finalizers":null}}' < /dev/null
        done
      done

4. Delete the definitions, which deletes their objects and nothing else:

      kubectl get crds -o name | { grep -E '\.(lib|config)\.projectsveltos\.io$' || true; } | xargs -r kubectl delete

5. Install Muster, and wait until it answers:

      helm install muster CHART --namespace projectsveltos
      kubectl -n projectsveltos rollout status deployment/muster
      kubectl muster doctor

6. Apply what was exported, clusters first:

      kubectl apply -f fleet.yaml

   Muster finds the objects and releases that Sveltos has deployed by their
   annotations, and adopts them. Compare with: kubectl muster show addons
`
