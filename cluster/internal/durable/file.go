package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Mode is the mode of every file in the data directory.
const Mode fs.FileMode = 0o600

// WriteFile leaves either the old file or the whole new one at the path, whenever the machine stops. It is durable when
// the error is nil. Meanwhile the new one has the name of the old one and ".tmp".
func WriteFile(path string, data []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, Mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Chmod gives a file the mode Mode. It is no error that the file system does not let this user.
func Chmod(path string) error {
	if err := os.Chmod(path, Mode); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
