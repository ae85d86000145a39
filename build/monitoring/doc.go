// Package monitoring keeps the alarms for Prometheus and the dashboards for Grafana
// true: alarms fire for what they are for and not beside it, and all ask for metrics
// that there are. It has no code of its own.
package monitoring
