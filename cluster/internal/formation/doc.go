// Package formation decides who becomes a cluster and who stays one: which new replicas form a cluster, what a replica
// has promised, whether one that expects nobody else may begin alone, how long a server has been absent, and who may
// lose its place. It only decides. It knows no consensus library, no network, no clock and no file: the time, what is
// known about the others, and the writing of decisions are handed in, so that models of many replicas run in no time.
//
// Why two clusters that share a replica can never both form is told in DESIGN.md, beside this file.
package formation
