package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Damaged is how every check of the data directory reports what it found: the file first, then what is wrong, then what
// can be done. A file that this user may not read, or for which there is no room, is not damaged: nothing is to be
// deleted for that.
func Damaged(path, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if IsUnwritable(err) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Errorf("%s: %w; restore the file from a backup, or, if other replicas hold the data, delete the whole "+
		"data directory so that this one joins as a new replica", path, err)
}

// DamagedLog is Damaged for a file of the log, of which a part can be given up.
func DamagedLog(path, format string, args ...any) error {
	err := Damaged(path, format, args...)
	if IsUnwritable(err) {
		return err
	}
	return fmt.Errorf("%w; the command recover says what of the log can be read, and can go on without the rest", err)
}

// IsUnwritable tells whether an error is one of a file system that takes nothing more, or nothing from this user.
func IsUnwritable(err error) bool {
	return IsFull(err) || errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
}

// IsFull tells whether an error says that there is no room.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
