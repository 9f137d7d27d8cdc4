// Command load measures PushQuorum beside its peers, on one machine and in one run: it starts every server itself,
// gives all of them the same work, and prints one table of figures, ratios and bars. README.md says what is measured
// and how to read it.
//
//	work      template.go, drive.go, samples.go          what is pushed, by how many at a time, and how long it took
//	wire      http.go, grpc.go                           one request after another over one connection, no more
//	servers   process.go, servers.go, peers.go           what is started, and where its binary comes from
//	figures   bench.go and one file per figure           what is measured of whom
//	report    table.go, details.go, results.go           what is printed, and kept in RESULTS.md
package main
