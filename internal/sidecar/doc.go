// Package sidecar says how the configuration of sidecars reaches pods: which Helm values of istiod stand for the settings of all
// namespaces, and which annotations, given to pods at admission, for those of single namespaces.
//
// Istio has no values for one namespace. It has annotations for one pod, which beat the values
// (https://istio.io/latest/docs/reference/config/annotations/), and mutating admission policies, which come before mutating
// webhooks, can write them (https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/).
//
// The package is pure.
package sidecar
