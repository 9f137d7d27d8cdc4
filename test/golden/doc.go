// Package golden holds what the tests of error texts share: the rule that each of them keeps, and the files that show all
// of them at a glance. Those are written anew by `go test ./api ./cmd/pushquorum -run Golden -update`, and are reviewed like code.
package golden
