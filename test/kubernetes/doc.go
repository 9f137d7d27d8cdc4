// Command kubernetes installs the Helm chart on a real Kubernetes that it brings up by itself, disturbs the replicas
// while clients push and scrape through the Service, and looks for every acknowledged push. See README.md.
package main
