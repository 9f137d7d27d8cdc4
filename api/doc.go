// Package api is the HTTP surface of a replica. It serves everything that the Prometheus Pushgateway 1.11 serves, on
// the same paths and with the same status codes, and the few endpoints that are this project's own (/-/metrics,
// /api/v1/cluster).
//
// It decodes and checks what comes in, hands commands to a Replica, and answers reads from an immutable fsm.View. It
// stores no metrics, and decides nothing that other replicas must agree on, because that is the work of package fsm.
// DESIGN.md says why the parts are as they are, and where they differ from the Pushgateway on purpose.
package api
