package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stageVariable says which of three processes this one is. The first, outside, starts the second in namespaces of its
// own and removes what no namespace takes with it: control groups. The second is process 1 there: it reaps orphans, and
// its end is that of every process inside, whatever has become of them. The third does the work.
const (
	stageVariable = "PUSHQUORUM_KUBERNETES_STAGE"
	stageReaper   = "reaper"
	stageWork     = "work"
)

// groupVariable names the control group above those of the pods.
const groupVariable = "PUSHQUORUM_KUBERNETES_GROUP"

// endWithin is how long the work may take to end after a signal; then its namespaces are ended around it.
const endWithin = 10 * time.Second

// hidden are the directories where a cluster's programs write whatever they are told: inside they are empty file
// systems in memory.
var hidden = []string{state, "/var/log", "/var/lib/cni", "/var/lib/kubelet"}

// pretended are settings of the whole machine that a kubelet changes: inside it changes files that look like them.
var pretended = []string{"/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/panic", "/proc/sys/kernel/panic_on_oops"}

// resolverInside makes the names of Services known to the programs inside, a Prometheus say, as they are to pods.
const resolverInside = "nameserver " + nodeAddress + "\nsearch svc.cluster.local cluster.local\noptions ndots:5\n"

// enter runs this program once more in namespaces of its own, with the image in a file because the docker engine's
// socket is hidden there, and returns the exit code.
func enter(o options) int {
	fail := func(err error) int {
		fmt.Fprintf(os.Stderr, "kubernetes: %v\n", err)
		return 2
	}
	if err := o.machine(); err != nil {
		return fail(err)
	}
	if err := o.prepare(); err != nil {
		return fail(err)
	}
	group := groupPrefix + strconv.Itoa(os.Getpid())
	if err := makeGroups(group); err != nil {
		return fail(fmt.Errorf("a control group of its own: %w", err))
	}
	defer removeGroups(group)
	defer placesToHide()()
	runtime.LockOSThread() // the kernel ends the cluster with the thread that started it
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), stageVariable+"="+stageReaper, groupVariable+"="+group)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true, Pdeathsig: syscall.SIGKILL,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		return fail(fmt.Errorf("namespaces of its own: %w", err))
	}
	go func() {
		for range signals {
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
			time.AfterFunc(endWithin, func() { _ = cmd.Process.Kill() })
		}
	}()
	if err := cmd.Wait(); err != nil {
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			return fail(err)
		}
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	return 2
}

// placesToHide makes those directories that do not exist, and returns what removes them.
func placesToHide() (remove func()) {
	var made []string
	for _, dir := range hidden {
		if os.Mkdir(dir, 0o755) == nil {
			made = append(made, dir)
		}
	}
	return func() {
		for _, dir := range made {
			_ = os.Remove(dir) // it is empty out here, or somebody else's by now
		}
	}
}

// reap is process 1: it makes the mounts that belong to the namespaces, starts the work, and waits for whoever ends.
func reap() int {
	if err := mountInside(); err != nil {
		fmt.Fprintf(os.Stderr, "kubernetes: %v\n", err)
		return 2
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	if err := os.Setenv(stageVariable, stageWork); err != nil {
		fmt.Fprintf(os.Stderr, "kubernetes: %v\n", err)
		return 2
	}
	work, err := os.StartProcess("/proc/self/exe",
		os.Args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintf(os.Stderr, "kubernetes: start the work: %v\n", err)
		return 2
	}
	go func() {
		for s := range signals {
			_ = work.Signal(s) // it may have ended already
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Fprintf(os.Stderr, "kubernetes: wait for the work: %v\n", err)
			return 2
		case pid == work.Pid && status.Exited():
			return status.ExitStatus()
		case pid == work.Pid && status.Signaled():
			fmt.Fprintf(os.Stderr, "kubernetes: the work was killed by %s\n", status.Signal())
			return 2
		}
	}
}

func mountInside() error {
	resolver, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return err
	}
	settings := map[string][]byte{resolver: []byte(resolverInside)}
	for _, path := range pretended {
		value, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		settings[path] = value
	}
	// Nothing goes out, and inside the kubelet's mounts are seen by the containers' runtime.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to itself: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, dir := range hidden {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("hide %s: %w", dir, err)
		}
	}
	for path, value := range settings {
		if err := pretend(path, value); err != nil {
			return fmt.Errorf("pretend %s: %w", path, err)
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts inside: %w", err)
	}
	return nil
}

// pretend makes a file another one. Where it was in a directory that is hidden now, there is nothing to cover.
func pretend(path string, content []byte) error {
	if strings.HasPrefix(path, state+"/") {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, content, 0o644)
	}
	file := filepath.Join(state, "pretended-"+filepath.Base(path))
	if err := os.WriteFile(file, content, 0o644); err != nil {
		return err
	}
	return unix.Mount(file, path, "", unix.MS_BIND, "")
}
