// Package golden holds what the tests of error texts share: the rule that each text keeps, and the files that show all
// texts at a glance. `go test ./api ./cluster ./cmd/pushquorum -run Golden -update` writes these files anew; they are
// reviewed like code.
package golden
