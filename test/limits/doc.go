// Command limits attacks real replicas in real control groups, as small as users make them, while a normal client uses
// them. See README.md.
package main
