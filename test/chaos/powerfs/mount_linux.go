package powerfs

import (
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount is a disk that is in use.
type Mount struct {
	dir    string
	server *fuse.Server
}

// Mount makes the disk appear at dir. It needs /dev/fuse and the right to mount.
func (d *Disk) Mount(dir string) (*Mount, error) {
	server, err := fuse.NewServer(&files{RawFileSystem: fuse.NewDefaultRawFileSystem(), disk: d}, dir,
		&fuse.MountOptions{
			DirectMountStrict: true, FsName: "powerfs-" + filepath.Base(dir), Name: "powerfs", DisableXAttrs: true,
			DisableReadDirPlus: true,
		})
	if err != nil {
		return nil, fmt.Errorf("mount a file system that can lose power at %s: %w", dir, err)
	}
	go server.Serve() // ends with Unmount
	if err := server.WaitMount(); err != nil {
		return nil, fmt.Errorf("mount a file system that can lose power at %s: %w", dir, err)
	}
	return &Mount{dir: dir, server: server}, nil
}

// Unmount takes the disk away, and with it what the kernel remembered of it. No process may be using it.
func (m *Mount) Unmount() error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := syscall.Unmount(m.dir, 0)
		if err == nil {
			m.server.Wait()
			return nil
		}
		if time.Now().After(deadline) {
			_ = syscall.Unmount(m.dir, syscall.MNT_DETACH)
			return fmt.Errorf("unmount %s: %w", m.dir, err)
		}
		time.Sleep(10 * time.Millisecond) // a process that was killed is still being taken down
	}
}
