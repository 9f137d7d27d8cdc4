// Package listening says what is wrong with an address on which a process cannot listen, and what can be done about it.
package listening

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

var errNoName = errors.New("the name is not known")

// Fault is what is wrong with an address on which this process cannot listen, without the address and the names
// of system calls.
func Fault(err error) error {
	for _, errno := range []syscall.Errno{syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.EACCES} {
		if strings.HasSuffix(err.Error(), errno.Error()) { // memberlist wraps none
			return errno
		}
	}
	if name := (*net.DNSError)(nil); errors.As(err, &name) {
		return fmt.Errorf("%w: %s: %s", errNoName, name.Name, name.Err)
	}
	if call := (*os.SyscallError)(nil); errors.As(err, &call) {
		return call.Err
	}
	if at := (*net.OpError)(nil); errors.As(err, &at) {
		return at.Err
	}
	return err
}

// Mend is what can be done about it.
func Mend(err error) string {
	err = Fault(err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "stop what listens there, or choose another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "choose an address of this host, or leave the host out to listen on all of them"
	case errors.Is(err, fs.ErrPermission):
		return "choose a port above 1023, or give this process CAP_NET_BIND_SERVICE"
	case errors.Is(err, errNoName):
		return "write an IP address of this host, or a name that resolves to one"
	}
	return "choose another address"
}

// Error is the error of a flag whose address cannot be listened on.
func Error(flag, address string, err error) error {
	return fmt.Errorf("%s=%s: %w: %s", flag, address, Fault(err), Mend(err))
}
