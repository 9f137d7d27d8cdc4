package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// trial is what the steps have in common.
type trial struct {
	*cluster
	*table
	chart string
}

// step is one thing that is tried. Steps run in the order of the table, each on what the one before has left.
type step struct {
	name   string
	take   func(ctx context.Context, t *trial) error
	needed bool // by those that follow: if it fails, nothing is learned from them
}

func takeSteps(ctx context.Context, t *trial, like *regexp.Regexp) {
	for _, s := range steps() {
		if ctx.Err() != nil {
			return
		}
		if !like.MatchString(s.name) {
			continue
		}
		began := time.Now()
		err := s.take(ctx, t)
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w%s%s", err, t.died(), t.scene(ctx))
		}
		t.step(s.name, time.Since(began), err)
		if s.needed && err != nil {
			return
		}
	}
}

// scene is what was there when a step failed.
func (t *trial) scene(ctx context.Context) string {
	pods, err := t.kubectl(ctx, "", "get", "pods,pvc", "--all-namespaces", "--output=wide")
	if err != nil {
		return "\n" + err.Error()
	}
	events, err := t.kubectl(ctx, "", "get", "events", "--all-namespaces", "--sort-by=.lastTimestamp",
		"--field-selector=type=Warning")
	if err != nil {
		return "\n" + err.Error()
	}
	last := strings.Split(strings.TrimSpace(events), "\n")
	return "\n" + pods + "last warnings:\n" + strings.Join(last[max(0, len(last)-15):], "\n")
}

// tool runs kubectl or helm as a user would, and fails with what it said.
func (t *trial) tool(ctx context.Context, input, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+t.kubeconfig(), "HELM_CACHE_HOME="+state+"/helm",
		"HELM_CONFIG_HOME="+state+"/helm",
		"HELM_DATA_HOME="+state+"/helm", "HOME="+state+"/home")
	cmd.Stdin = strings.NewReader(input)
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out.String() + warnings(said.String()), nil
}

// warnings are what the API server says of objects that it takes all the same.
func warnings(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "Warning:") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func (t *trial) kubectl(ctx context.Context, input string, args ...string) (string, error) {
	return t.tool(ctx, input, t.program("kubectl"), args...)
}

func (t *trial) helm(ctx context.Context, args ...string) (string, error) {
	return t.tool(ctx, "", t.program("helm"), args...)
}
