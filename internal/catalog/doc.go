// Package catalog says which upgrades of Istio are supported on which Kubernetes, as data and pure functions. Only minor
// versions count: "1.31", "v1.31.2" and "1.31.0-distroless" are the same release here.
package catalog
