package test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pushquorum/test/local"
)

// TestContainersFormACluster starts deploy/compose.yaml as it is, on other ports, and removes it again. It needs an
// image, and so runs by `make docker-test` only.
func TestContainersFormACluster(t *testing.T) {
	image := os.Getenv("PUSHQUORUM_DOCKER_IMAGE")
	if image == "" {
		t.Skip("PUSHQUORUM_DOCKER_IMAGE is not set; run this with: make docker-test")
	}
	c := composed(t, image)

	for i, name := range c.names {
		mustDo(t, http.StatusOK, request{
			method: http.MethodPut, url: c.bases[i] + "/metrics/job/" + name, body: gauge("e2e_container", i),
		})
	}
	for _, base := range c.bases {
		for i, name := range c.names {
			mustHave(t, scrape(t, base), `e2e_container{instance="",job="`+name+`"}`, fmt.Sprint(i))
		}
	}

	// One is lost without a word, and the others go on.
	c.run(t, "kill", "-s", "SIGKILL", c.names[0])
	eventually(t, readyWithin, "push without "+c.names[0], func() error {
		a, err := do(
			request{method: http.MethodPut, url: c.bases[1] + "/metrics/job/later", body: gauge("e2e_container", 7)})
		if err != nil || a.status != http.StatusOK {
			return fmt.Errorf("%s (%w)", a, err)
		}
		return nil
	})
	mustHave(t, scrape(t, c.bases[2]), `e2e_container{instance="",job="later"}`, "7")

	// New containers on the same volumes, with addresses that may have moved: the data is there.
	c.run(t, "down")
	c.run(t, "up", "-d")
	c.awaitReady(t)
	for _, base := range c.bases {
		mustHave(t, scrape(t, base), `e2e_container{instance="",job="later"}`, "7")
		mustHave(t, scrape(t, base), `e2e_container{instance="",job="r1"}`, "0")
	}
}

// TestContainersStandInForThePushgateways: a manifest that names the Pushgateway's command goes on working, and the
// image says what it is.
func TestContainersStandInForThePushgateways(t *testing.T) {
	image := os.Getenv("PUSHQUORUM_DOCKER_IMAGE")
	if image == "" {
		t.Skip("PUSHQUORUM_DOCKER_IMAGE is not set; run this with: make docker-test")
	}
	docker := need(t, "docker")
	code, out, errs := runProcess(t, "", docker, "run", "--rm", "--entrypoint", "/bin/pushgateway", image, "--version")
	if code != 0 || !strings.HasPrefix(out, "pushquorum, version ") {
		t.Errorf("/bin/pushgateway --version: exit code %d, %s%s", code, out, errs)
	}
	said := strings.Fields(strings.TrimPrefix(out, "pushquorum, version "))
	for label, want := range map[string]string{
		"title": "PushQuorum", "licenses": "Apache-2.0", "version": append(said, "")[0],
	} {
		_, got, _ := runProcess(t, "", docker, "inspect", "--format",
			`{{index .Config.Labels "org.opencontainers.image.`+label+`"}}`, image)
		if strings.TrimSpace(got) != want {
			t.Errorf("the label %s is %q, want %q", label, strings.TrimSpace(got), want)
		}
	}
}

// TestContainersRunAsNobodyAlone runs the image as a user of the Pushgateway's would: no arguments, one port.
func TestContainersRunAsNobodyAlone(t *testing.T) {
	image := os.Getenv("PUSHQUORUM_DOCKER_IMAGE")
	if image == "" {
		t.Skip("PUSHQUORUM_DOCKER_IMAGE is not set; run this with: make docker-test")
	}
	docker := need(t, "docker")
	port := freePort(t)
	code, out, errs := runProcess(t, "", docker, "run", "-d", "-p", fmt.Sprintf("%d:9091", port), image)
	if code != 0 {
		t.Fatalf("docker run: %s%s", out, errs)
	}
	container := strings.TrimSpace(out)
	t.Cleanup(func() {
		if out, err := exec.Command(docker, "rm", "--force", "--volumes", container).CombinedOutput(); err != nil {
			t.Errorf("docker rm: %v\n%s", err, out)
		}
	})
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	eventually(t, readyWithin, "get ready", func() error { return isReady(base) })
	mustDo(t, http.StatusOK, request{method: http.MethodPut, url: base + "/metrics/job/a", body: gauge("e2e_container",
		1)})
	if _, user, _ := runProcess(t, "", docker, "top", container, "-eo", "pid,uid"); !strings.Contains(user, " 65534") {
		t.Errorf("the container does not run as nobody: %s", user)
	}
	if code, out, errs := runProcess(t, "", docker, "restart", container); code != 0 {
		t.Fatalf("docker restart: %s%s", out, errs)
	}
	eventually(t, readyWithin, "get ready again", func() error { return isReady(base) })
	mustHave(t, scrape(t, base), `e2e_container{instance="",job="a"}`, "1")
}

func isReady(base string) error {
	a, err := do(request{url: base + "/-/ready"})
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("GET %s/-/ready: %s", base, a)
	}
	return nil
}

// compose is a running deploy/compose.yaml.
type compose struct {
	command []string
	env     []string
	names   []string
	bases   []string
}

// composed starts it under a project name of its own, and takes its containers, networks and volumes away at the end.
func composed(t *testing.T, image string) *compose {
	t.Helper()
	file, err := filepath.Abs("../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := &compose{env: append(os.Environ(), "PUSHQUORUM_IMAGE="+image)}
	for i := range 3 {
		port := freePort(t)
		c.names = append(c.names, fmt.Sprintf("r%d", i+1))
		c.bases = append(c.bases, "http://"+local.Address(port))
		c.env = append(c.env, fmt.Sprintf("PUSHQUORUM_PORT_R%d=%d", i+1, port))
	}
	c.command = append(composeCommand(t), "-f", file, "-p", fmt.Sprintf("pushquorum-e2e-%d", os.Getpid()))
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := c.output("logs", "--no-color", "--tail=60")
			t.Logf("the containers' last lines:\n%s", out)
		}
		if out, err := c.output("down", "--volumes", "--timeout", "10"); err != nil {
			t.Errorf("remove the containers: %v\n%s", err, out)
		}
	})
	c.run(t, "config", "-q")
	c.run(t, "up", "-d")
	c.awaitReady(t)
	return c
}

func (c *compose) awaitReady(t *testing.T) {
	t.Helper()
	for _, base := range c.bases {
		eventually(t, 60*time.Second, "wait for "+base, func() error { return isReady(base) })
	}
}

func (c *compose) run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := c.output(args...); err != nil {
		t.Fatalf("compose %v: %v\n%s", args, err, out)
	}
}

func (c *compose) output(args ...string) (string, error) {
	args = append(c.command[1:len(c.command):len(c.command)], args...)
	cmd := exec.Command(c.command[0], args...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// composeCommand is Docker's plugin or, as Debian has it, a program of its own.
func composeCommand(t *testing.T) []string {
	t.Helper()
	docker := need(t, "docker")
	if code, _, _ := runProcess(t, "", docker, "compose", "version"); code == 0 {
		return []string{docker, "compose"}
	}
	return []string{need(t, "docker-compose")}
}
