package main

import (
	"errors"
	"time"
)

// allFaults are all that the harness knows, in the order of the table in README.md.
func allFaults() []fault {
	return []fault{
		{"kill", "kill -9 of the leader, of any, of a majority or of all at once", always, kill, 4 * time.Second},
		{
			"pause", "SIGSTOP of the leader, of any, of a majority or of all, for up to 20 s", always, pause,
			20 * time.Second,
		},
		{
			"restart", "a rolling restart: SIGTERM, start, wait until ready, the next one", always, rollingRestart,
			time.Second,
		},
		{
			"addresses", "all replicas stop at once and come back with other addresses", needNetwork, readdress,
			time.Second,
		},
		{"isolate", "one replica, often the leader, is cut off from the others", needLinks, isolate, 6 * time.Second},
		{
			"oneway", "one replica, often the leader, cannot be heard, or cannot hear", needNetwork, oneWay,
			6 * time.Second,
		},
		{
			"flicker", "one replica cannot hear the others for moments, again and again", needNetwork, flicker,
			8 * time.Second,
		},
		{"split", "a majority and a minority that cannot reach each other", needNetwork, split, 6 * time.Second},
		{"apart", "no replica reaches any other", needLinks, apart, 5 * time.Second},
		{"loss", "up to 30 % of the packets are lost", needNetwork, lossy, 6 * time.Second},
		{"delay", "packets take up to 300 ms, and half as much more or less", needNetwork, delayed, 6 * time.Second},
		{"duplicate", "up to half of the packets arrive twice", needNetwork, duplicated, 6 * time.Second},
		{"reorder", "up to half of the packets are overtaken by others", needNetwork, reordered, 6 * time.Second},
		{"slow", "the network carries 50 to 500 kB/s", needNetwork, slowNetwork, 6 * time.Second},
		{
			"diskfull", "the disk of one replica has no space left, all the time or again and again", needDisk,
			fullDisk, 6 * time.Second,
		},
		{"diskslow", "every write and fsync of one disk takes 5 to 200 ms", needDisk, slowDisk, 6 * time.Second},
		{
			"power", "kill -9 of one or all, and what they had not fsynced is lost or torn", needDisk, powerLoss,
			2 * time.Second,
		},
		{
			"lostdisk", "one replica comes back with an empty disk, or all, one after the other", always, lostDisk,
			time.Second,
		},
		{
			"emptied", "one replica comes back with an empty disk again and again, at any moment of being let in",
			always, emptied, time.Second,
		},
		{
			"dying", "a replica is replaced, and its successor ends while it is let in, and stays away for a while",
			always, dying, 12 * time.Second,
		},
		{"deleted", "the directory of a running replica is deleted", needDirectory, deleteDirectory, 4 * time.Second},
		{
			"strangers",
			"another cluster, and one replica of it, or of the one under test, is told of a peer in the wrong one",
			needCommandLine, meetStrangers, 6 * time.Second,
		},
		{
			"forming", "new replicas form a cluster, and one of them is told of the one under test as well",
			needCommandLine, formBeside, time.Second,
		},
		{"members", "two more replicas come, and one or both leave for good", always, changeMembers, 8 * time.Second},
		{
			"namesake", "a replica comes under the name of one that is down, which is restarted when it is back",
			needCommandLine, takeName, time.Second,
		},
		{
			"leaving", "of five replicas two end for good, and then the others are restarted, one after the other",
			always, leaveAndRestart, time.Second,
		},
		{"full", "groups up to the limit: what adds one is refused, all else goes on", always, fill, 6 * time.Second},
		{
			"clock", "the wall clock of one or all jumps by up to a day, forwards or backwards", needClock, clockJump,
			4 * time.Second,
		},
	}
}

func always(*cluster) error { return nil }

func needNetwork(c *cluster) error { return c.machine.network }

func needDisk(c *cluster) error { return c.machine.disk }

func needClock(c *cluster) error { return c.machine.clock }

// needDirectory: of a container it is a volume, which nobody else opens.
func needDirectory(c *cluster) error {
	if c.machine.image != "" {
		return errors.New("the data of a container is in a volume of its own")
	}
	return nil
}

// needCommandLine: a container keeps the arguments that it was made with.
func needCommandLine(c *cluster) error {
	if c.machine.image != "" {
		return errors.New("a container keeps its command line")
	}
	return nil
}

func needLinks(c *cluster) error { return c.machine.links }
