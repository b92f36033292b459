// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConfigMapName is the ConfigMap, in the installation's namespace, that keeps
// what is known of its storage.
const ConfigMapName = "muster-storage"

// Keys of the ConfigMap.
const (
	prefixKey       = "prefix"
	clusterIDKey    = "clusterID"
	installationKey = "installation"
	revisionKey     = "revision"
	renewedKey      = "renewed"
	confirmedKey    = "confirmed"
)

// Record is what the host knows of an installation's storage.
type Record struct {
	// Prefix, ClusterID and Installation are those of Found.
	Prefix, ClusterID, Installation string
	// Revision is the highest that was seen. It is written at a bounded rate, and
	// only grows as long as the storage is the same.
	Revision int64
	// Renewed is when a server last found its storage to be this one, by its own
	// clock, in whole seconds.
	Renewed time.Time
}

// String says in words what is recorded.
func (r Record) String() string {
	return fmt.Sprintf("installation %s under %s in etcd cluster %s at revision %d or later", r.Installation, r.Prefix, r.ClusterID, r.Revision)
}

// names says whether found is the storage of the record, whatever its revision.
func (r Record) names(found Found) bool {
	return r.Prefix == found.Prefix && r.ClusterID == found.ClusterID && r.Installation == found.Installation
}

// RecordOf is the record of storage that is accepted as it was found.
func RecordOf(found Found, now time.Time) Record {
	return Record{
		Prefix: found.Prefix, ClusterID: found.ClusterID, Installation: found.Installation,
		Revision: found.Revision, Renewed: now,
	}
}

// Confirmation is a person's word that storage is to be used as it was found.
// It names what was found exactly, so that it confirms nothing else later.
type Confirmation struct {
	// Found is what was shown to the person.
	Found Found `json:"found"`
	// As is the installation ID that the storage gets: a new one, so that storage
	// that was given up is not taken for this one when it comes back, and that
	// another installation that still uses the storage is held.
	As string `json:"as"`
}

// covers says whether found is what was confirmed. It may have been written to
// since, but it may not have gone back.
func (c Confirmation) covers(found Found) bool {
	return c.Found.Prefix == found.Prefix && c.Found.ClusterID == found.ClusterID &&
		c.Found.Installation == found.Installation && c.Found.Empty == found.Empty && found.Revision >= c.Found.Revision
}

// claimed says whether found is what was confirmed and has its new mark already.
func (c Confirmation) claimed(found Found) bool {
	return c.As != "" && c.As == found.Installation && c.Found.Prefix == found.Prefix &&
		c.Found.ClusterID == found.ClusterID && found.Revision >= c.Found.Revision
}

// Stored is the content of the ConfigMap. Both fields are nil at first.
type Stored struct {
	Record    *Record
	Confirmed *Confirmation
}

// Parse reads the ConfigMap's data. An error means that somebody has damaged it.
func Parse(data map[string]string) (Stored, error) {
	var stored Stored
	if raw := data[confirmedKey]; raw != "" {
		stored.Confirmed = &Confirmation{}
		if err := json.Unmarshal([]byte(raw), stored.Confirmed); err != nil {
			return Stored{}, fmt.Errorf("key %s does not parse: %w", confirmedKey, err)
		}
	}
	if data[installationKey] == "" && data[clusterIDKey] == "" && data[prefixKey] == "" {
		return stored, nil
	}
	record := Record{Prefix: data[prefixKey], ClusterID: data[clusterIDKey], Installation: data[installationKey]}
	for _, key := range []string{prefixKey, clusterIDKey, installationKey} {
		if data[key] == "" {
			return Stored{}, fmt.Errorf("key %s is missing", key)
		}
	}
	var err error
	if record.Revision, err = strconv.ParseInt(data[revisionKey], 10, 64); err != nil {
		return Stored{}, fmt.Errorf("key %s is not a revision: %w", revisionKey, err)
	}
	if record.Renewed, err = time.Parse(time.RFC3339, data[renewedKey]); err != nil {
		return Stored{}, fmt.Errorf("key %s is not a time: %w", renewedKey, err)
	}
	stored.Record = &record
	return stored, nil
}

// Encode returns the ConfigMap's data.
func (s Stored) Encode() (map[string]string, error) {
	data := map[string]string{}
	if r := s.Record; r != nil {
		data[prefixKey], data[clusterIDKey], data[installationKey] = r.Prefix, r.ClusterID, r.Installation
		data[revisionKey] = strconv.FormatInt(r.Revision, 10)
		data[renewedKey] = r.Renewed.UTC().Format(time.RFC3339)
	}
	if s.Confirmed != nil {
		raw, err := json.Marshal(s.Confirmed)
		if err != nil {
			return nil, fmt.Errorf("encode a confirmation: %w", err)
		}
		data[confirmedKey] = string(raw)
	}
	return data, nil
}

// NewConfigMap is the ConfigMap with data, for a namespace that has none.
func NewConfigMap(namespace string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      ConfigMapName,
			Labels:    map[string]string{"app.kubernetes.io/part-of": "muster"},
		},
		Data: data,
	}
}
