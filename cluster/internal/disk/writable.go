package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"pushquorum/cluster/internal/durable"
)

// ErrCannotWrite is wrapped by the error of [Open] when the data directory cannot be written: a full disk, a file
// system that is read-only, a directory that belongs to another user. What was in it still is; it can be opened with
// [LogOptions].ReadOnly.
var ErrCannotWrite = errors.New("the data directory cannot be written")

// CannotWrite is such an error, in one line with what to do.
func CannotWrite(dir string, err error) error {
	return fmt.Errorf("--storage.path=%s: %w: %w%s", dir, ErrCannotWrite, err, remedy(dir, err))
}

// CannotMake is the error of a data directory that is not there and cannot be made.
func CannotMake(dir string, err error) error {
	if durable.IsUnwritable(err) {
		return CannotWrite(dir, err)
	}
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrExist) {
		at := dir // and then the nearest above it that is there
		for _, serr := os.Lstat(at); serr != nil && filepath.Dir(at) != at; _, serr = os.Lstat(at) {
			at = filepath.Dir(at)
		}
		return fmt.Errorf("--storage.path=%s cannot be made: %s is a file: name a directory, or a path at which one "+
			"can be made", dir, at)
	}
	return fmt.Errorf("--storage.path=%s cannot be made: %w: name a directory, or a path at which one can be made", dir,
		err)
}

// IfRefused makes an error of opening the directory one of those if that is what it says. In any case it names the
// flag.
func IfRefused(dir string, err error) error {
	switch {
	case err == nil, strings.HasPrefix(err.Error(), "--"):
		return err
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("--storage.path=%s: %w; the disk fails: look into the kernel's log, and replace it, or give "+
			"--storage.path another directory", dir, err)
	case !durable.IsUnwritable(err) || errors.Is(err, ErrCannotWrite):
		return fmt.Errorf("--storage.path=%s: %w", dir, err)
	}
	return CannotWrite(dir, err)
}

// remedy is what can be done about an error of a file in, or of, a directory; "" when nothing is known.
func remedy(dir string, err error) string {
	switch {
	case durable.IsFull(err):
		return "; make room on its file system"
	case errors.Is(err, syscall.EROFS):
		return "; its file system is read-only, which the kernel makes it after errors of the disk: look into the " +
			"kernel's log, and mount it to be written; in a container with a read-only root, mount a volume there"
	case !errors.Is(err, fs.ErrPermission):
		return ""
	}
	refused := dir
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		refused = at.Path
	}
	info, serr := os.Lstat(refused)
	for serr != nil && filepath.Dir(refused) != refused { // what does not exist may not be made in the one above
		refused = filepath.Dir(refused)
		info, serr = os.Lstat(refused)
	}
	if serr != nil {
		return ""
	}
	return fmt.Sprintf("; this process runs as user %d, group %d, and %s belongs to %s, with mode %s: give the "+
		"directory to that user (chown -R %d %s), or in Kubernetes set fsGroup: %d",
		os.Geteuid(), os.Getegid(), refused, owner(info), info.Mode(), os.Geteuid(), dir, os.Geteuid())
}

const (
	// probeFile is written and deleted to find out whether the directory can be written.
	probeFile = "probe"
	// ProbeSize is more than what a file system may still hold in the block of something else. Bytes.
	ProbeSize = 16 << 10
)

// ProbeWrite finds out whether a directory can be written: a full or a read-only file system says so at once, without a
// sync, so that the disk need not do anything.
func ProbeWrite(dir string, size int) error {
	path := filepath.Join(dir, probeFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	for piece := make([]byte, min(size, ProbeSize)); size > 0 && err == nil; size -= len(piece) {
		_, err = f.Write(piece)
	}
	return errors.Join(err, f.Close(), os.Remove(path))
}
