package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

const megabyte = 1 << 20

// room is what each replica is given.
type room struct {
	name     string
	replicas int
	memory   int64         // bytes
	cpus     float64       // 0: those of the machine
	disk     int64         // bytes of a file system of its own; 0: the machine's
	within   time.Duration // a normal client must be answered
	ready    time.Duration // a replica must be so after its start
}

// late says that a normal client has waited too long.
func (r room) late(took time.Duration) error {
	if took <= r.within {
		return nil
	}
	return fmt.Errorf("answered only after %s", took.Round(time.Millisecond))
}

// soon is within what time a normal client is to be answered beside three replicas: 2 s where each of them has a
// processor, and one is left for who attacks them. Here they may share fewer, and as much longer it may take; the table
// says how long it did.
func soon() time.Duration {
	const need = 3 + 1
	have := runtime.NumCPU()
	return 2 * time.Second * time.Duration(max(need, have)) / time.Duration(have)
}

// rooms are small, as users make them. A tenth of a processor takes ten times as long for what a whole one does within
// a limit, and is allowed that. The small file system may be made of memory, and a control group is charged for that:
// it has enough.
func rooms() []room {
	return []room{
		{name: "128MB", replicas: 3, memory: 128 * megabyte, within: soon(), ready: 20 * time.Second},
		{name: "256MB", replicas: 3, memory: 256 * megabyte, within: soon(), ready: 20 * time.Second},
		{name: "512MB", replicas: 3, memory: 512 * megabyte, within: soon(), ready: 20 * time.Second},
		{
			name: "100m", replicas: 1, memory: 256 * megabyte, cpus: 0.1, within: 20 * time.Second,
			ready: 60 * time.Second,
		},
		{
			name: "disk64MB", replicas: 3, memory: 512 * megabyte, disk: 64 * megabyte,
			within: soon(), ready: 20 * time.Second,
		},
	}
}

// smallDisk mounts a file system of so many bytes: ext4 in a file where the machine has loop devices, or else one in
// memory.
func smallDisk(path string, size int64, out io.Writer) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	image := path + ".ext4"
	err := os.WriteFile(image, nil, 0o600)
	if err == nil {
		err = os.Truncate(image, size)
	}
	for _, command := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-m", "0", image}, {"mount", "-o", "loop", image, path},
	} {
		if err == nil {
			var said []byte
			if said, err = exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
				err = fmt.Errorf("%s: %w: %s", command[0], err, said)
			}
		}
	}
	if err == nil {
		return nil
	}
	_, _ = fmt.Fprintf(out, "%s is in memory: %v\n", filepath.Base(path), err)
	return mountMemory(path, size)
}
