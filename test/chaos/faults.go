package main

import "time"

// allFaults are all that the harness knows, in the order of the table in README.md.
func allFaults() []fault {
	return []fault{
		{"kill", "kill -9 of the leader, of any, of a majority or of all at once", always, kill, 4 * time.Second},
		{"pause", "SIGSTOP of the leader, of any, of a majority or of all, for up to 20 s", always, pause, 20 * time.Second},
		{"restart", "a rolling restart: SIGTERM, start, wait until ready, the next one", always, rollingRestart, time.Second},
		{"addresses", "all replicas stop at once and come back with other addresses", needNetwork, readdress, time.Second},
		{"isolate", "one replica, often the leader, is cut off from the others", needLinks, isolate, 6 * time.Second},
		{"oneway", "one replica, often the leader, cannot be heard, or cannot hear", needNetwork, oneWay, 6 * time.Second},
		{"split", "a majority and a minority that cannot reach each other", needNetwork, split, 6 * time.Second},
		{"apart", "no replica reaches any other", needLinks, apart, 5 * time.Second},
		{"loss", "up to 30 % of the packets are lost", needNetwork, lossy, 6 * time.Second},
		{"delay", "packets take up to 300 ms, and half as much more or less", needNetwork, delayed, 6 * time.Second},
		{"duplicate", "up to half of the packets arrive twice", needNetwork, duplicated, 6 * time.Second},
		{"reorder", "up to half of the packets are overtaken by others", needNetwork, reordered, 6 * time.Second},
		{"slow", "the network carries 50 to 500 kB/s", needNetwork, slowNetwork, 6 * time.Second},
		{"diskfull", "the disk of one replica has no space left, all the time or again and again", needDisk, fullDisk, 6 * time.Second},
		{"diskslow", "every write and fsync of one disk takes 5 to 200 ms", needDisk, slowDisk, 6 * time.Second},
		{"power", "kill -9 of one or all, and what they had not fsynced is lost or torn", needDisk, powerLoss, 2 * time.Second},
		{"lostdisk", "one replica comes back with an empty disk, or all, one after the other", always, lostDisk, time.Second},
		{"members", "two more replicas come, and one or both leave for good", always, changeMembers, 8 * time.Second},
		{"clock", "the wall clock of one or all jumps by up to a day, forwards or backwards", needClock, clockJump, 4 * time.Second},
	}
}

func always(*cluster) error { return nil }

func needNetwork(c *cluster) error { return c.machine.network }

func needDisk(c *cluster) error { return c.machine.disk }

func needClock(c *cluster) error { return c.machine.clock }

func needLinks(c *cluster) error { return c.machine.links }
