package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/prometheus/exporter-toolkit/web"

	"pushquorum/api"
	"pushquorum/cluster"
	"pushquorum/cmd/pushquorum/internal/pgfile"
)

// preflight returns the errors that would otherwise end the process after it has opened its data, formed a cluster or
// answered somebody, because a directory that a failed start leaves behind looks like that of a replica.
//
// A port that is taken is no error yet, because a process that is just ending holds its port as long as its data
// directory, for which the replica waits.
func (o *options) preflight() error {
	if err := checkWebConfig(*o.web.WebConfigFile); err != nil {
		return err
	}
	if err := checkListenAddresses(o.web); err != nil {
		return err
	}
	if err := api.Check(o.apiConfig()); err != nil {
		return err
	}
	return o.checkPersistenceFile()
}

const webConfigManual = "https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md"

// checkWebConfig reads what is read again for each connection.
func checkWebConfig(file string) error {
	err := web.Validate(file)
	if err == nil {
		return nil
	}
	is := given("web.config.file", file)
	text := strings.TrimPrefix(strings.TrimPrefix(oneLine(err), "yaml: "), "unmarshal errors: ")
	switch at := (*fs.PathError)(nil); {
	case errors.As(err, &at) && at.Path == file:
		return unreadable("web.config.file", file, err, "to serve without TLS and without passwords")
	case strings.HasPrefix(text, "crypto/bcrypt: "):
		return fmt.Errorf("%s: under basic_auth_users is a password that is no bcrypt hash (%s): "+
			"make one with htpasswd -nBC 10 '' | tr -d ':'",
			is, strings.TrimPrefix(text, "crypto/bcrypt: "))
	}
	return fmt.Errorf("%s: %s: mend the file as %s says", is, text, webConfigManual)
}

// unreadable is the error of a file that was named and cannot be read.
func unreadable(flag, file string, err error, without string) error {
	is := given(flag, file)
	reason := err
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		reason = at.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: there is no such file: write it, or leave the flag out %s", is, without)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s cannot be read: %w: this process runs as user %d, group %d: "+
			"give it the file (chown %d %s), or in Kubernetes set fsGroup: %d",
			is, reason, os.Geteuid(), os.Getegid(), os.Geteuid(), shown(file), os.Getegid())
	}
	return fmt.Errorf("%s cannot be read: %w: name a file, or leave the flag out %s", is, reason, without)
}

// checkListenAddresses refuses what this process could never listen on.
func checkListenAddresses(config *web.FlagConfig) error {
	if *config.WebSystemdSocket {
		if os.Getenv("LISTEN_FDS") == "" {
			return errors.New("--web.systemd-socket: systemd has given this process no socket " +
				"(LISTEN_FDS is not set): start it by a socket unit, or write --web.listen-address instead")
		}
		return nil
	}
	for _, address := range *config.WebListenAddresses {
		is := given("web.listen-address", address)
		rest, vsock := strings.CutPrefix(address, "vsock://")
		_, port, err := net.SplitHostPort(rest)
		if err != nil || port == "" {
			return fmt.Errorf("%s has no port: write host:port, or :port for all addresses, "+
				"such as --web.listen-address=:9091", is)
		}
		if vsock {
			continue
		}
		if _, err := net.LookupPort("tcp", port); err != nil {
			return fmt.Errorf("%s: there is no port %s: write one between 1 and 65535, "+
				"such as --web.listen-address=:9091", is, shown(port))
		}
		listener, err := net.Listen("tcp", address)
		switch {
		case err == nil:
			_ = listener.Close() // nobody was told of it
		case !errors.Is(err, syscall.EADDRINUSE):
			return cannotListen(address, err)
		}
	}
	return nil
}

// serveError names the flag of what has ended the HTTP server.
func serveError(config *web.FlagConfig, err error) error {
	addresses := strings.Join(*config.WebListenAddresses, " and ")
	if at := (*net.OpError)(nil); errors.As(err, &at) && at.Op == "listen" {
		if len(*config.WebListenAddresses) == 1 || at.Addr == nil {
			return cannotListen(addresses, err)
		}
		return cannotListen(at.Addr.String(), err)
	}
	return fmt.Errorf("serving HTTP on --web.listen-address=%s: %w", addresses, err)
}

func cannotListen(address string, err error) error {
	is := given("web.listen-address", address)
	return fmt.Errorf("%s: %w: %s", is, cluster.ListenFault(err), cluster.ListenMend(err))
}

// checkPersistenceFile reads the file of a standalone replica that starts for the first time. It does not read that of
// a cluster's replica, because the file may come too late to be imported, and must not keep a replica from replacing
// another one.
func (o *options) checkPersistenceFile() error {
	file := o.persistenceFile
	if file == "" || o.cluster.ListenAddress != "" || cluster.HoldsReplica(o.cluster.DataDir) {
		return nil
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // there was never a push
	}
	if err == nil {
		defer func() { _ = f.Close() }() // it was only read
		_, _, err = pgfile.Read(f)
	}
	if err != nil {
		return cannotImport(file, err)
	}
	return nil
}

// cannotImport is the error of a persistence file that is there: to go on would be to lose what is in it.
func cannotImport(file string, err error) error {
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		return unreadable("persistence.file", file, err, "to start without what is in it")
	}
	return fmt.Errorf("%s cannot be imported: %w; or leave the flag out to start without what is in it",
		given("persistence.file", file), err)
}

// oneLine is the text of an error, which may have several lines, in one line.
func oneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "; "), ":; ", ": ")
}
