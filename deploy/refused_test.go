package deploy_test

import (
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestValuesThatCannotWorkAreRefusedWithTheReason: what Kubernetes would take, and nobody would understand afterwards.
func TestValuesThatCannotWorkAreRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ set, want string }{
		{"replicaCount=0", "kubectl scale"},
		{"replicaCount=2", "bears the loss of no more replicas than 1 do"},
		{"replicaCount=4", "write 1, 3 or 5"},
		{"replicaCount=9", "more than 5 make pushes slower"},
		{"replicaCount=-1", "minimum"},
		{"image.repository=quay.io/prometheus/pushgateway", "leave image.repository and image.tag out"},
		{"image.repository=prom/pushgateway", "cannot be replicated"},
		{"replicaCount=3,persistentVolume.existingClaim=old", "install with replicaCount=1"},
		{"replicaCount=3,podDisruptionBudget.minAvailable=1", "lets 2 of 3 replicas be evicted"},
		{"replicaCount=3,podDisruptionBudget.maxUnavailable=50%", "lets 2 of 3 replicas be evicted"},
		{"replicaCount=5,podDisruptionBudget.maxUnavailable=3", "lets 3 of 5 replicas be evicted"},
		{"terminationGracePeriodSeconds=20", "25 seconds"},
		{"terminationGracePeriodSeconds=30,cluster.drainDelay=15s", "35 seconds"},
		{"terminationGracePeriodSeconds=60,extraArgs={--push.timeout=1m}", "77 seconds"},
		{"terminationGracePeriodSeconds=30,lifecycle.preStop.sleep.seconds=10", "35 seconds"},
		{"networkPolicy.allowAll=false", "write allowAll: true, or customSelectors"},
		{"persistentVolum.enabled=true", "'persistentVolum' not allowed"},
		{"persistentVolume.enable=true", "'enable' not allowed"},
		{"cluster.drainDelay=5x", "pattern"},
		{"podAntiAffinity=softly", "podAntiAffinity"},
		{"persistentVolume.accessModes={ReadOnlyMany}", "accessModes"},
	} {
		if _, err := render(t, "--set", c.set); err == nil {
			t.Errorf("%s is taken, want it refused because %q", c.set, c.want)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q in what it says:\n%v", c.set, c.want, err)
		}
	}
	for _, set := range []string{
		"replicaCount=1", "replicaCount=3", "replicaCount=5", "replicaCount=7",
		"replicaCount=5,podDisruptionBudget.minAvailable=50%", "replicaCount=1,podDisruptionBudget.maxUnavailable=1",
		"terminationGracePeriodSeconds=25", "enabled=true", "global.storageClass=other-charts-know-this",
	} {
		if _, err := render(t, "--set", set); err != nil {
			t.Errorf("%s: %v", set, err)
		}
	}
}

// TestThePodHasTheTimeToEndThatItsFlagsNeed: drain delay, push timeout and 12 seconds, and never less than 30.
func TestThePodHasTheTimeToEndThatItsFlagsNeed(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]int{
		"replicaCount=3": 30,
		"cluster.drainDelay=15s,cluster.pushTimeout=1m30s":     117,
		"extraArgs={--web.drain-delay=10s,--push.timeout,20s}": 42,
		"extraArgs={--web.drain-delay=1500ms}":                 30,
		"lifecycle.preStop.sleep.seconds=20":                   45,
		"terminationGracePeriodSeconds=300":                    300,
	} {
		sts := one(t, objects(t, mustRender(t, "--set", set)), "StatefulSet", "")
		if got := sts.at("spec", "template", "spec", "terminationGracePeriodSeconds"); got != want {
			t.Errorf("%s: %v seconds, want %d", set, got, want)
		}
	}
}

// TestTheNumberOfReplicasIsWhatFoundsACluster: else an emptied disk could found a second one. From three on nothing but
// that number changes with it, so that nobody is restarted: see templates/_args.tpl.
func TestTheNumberOfReplicasIsWhatFoundsACluster(t *testing.T) {
	t.Parallel()
	templates := map[string]string{}
	for n, set := range map[string]string{
		"1": "replicaCount=1", "3": "replicaCount=3", "5": "replicaCount=5",
		"2": "replicaCount=3,cluster.bootstrapExpect=2",
	} {
		all := objects(t, mustRender(t, "--set", set))
		name := one(t, all, "StatefulSet", "").text("metadata", "name")
		if got := one(t, all, "ConfigMap", name).text("data", "bootstrap-expect"); got != n {
			t.Errorf("%s: %q are expected, want %s", set, got, n)
		}
		sts := one(t, all, "StatefulSet", "")
		if !slices.Contains(args(t, sts), "--cluster.bootstrap-expect=$(BOOTSTRAP_EXPECT)") {
			t.Errorf("%s: the number is not taken from the ConfigMap: %q", set, args(t, sts))
		}
		text, err := yaml.Marshal(sts.at("spec", "template"))
		if err != nil {
			t.Fatal(err)
		}
		templates[n] = string(text)
	}
	if templates["3"] != templates["5"] {
		t.Errorf("going from 3 to 5 restarts everybody:\n%s", firstDifference(templates["3"], templates["5"]))
	}
}

func TestTheCommandLineIsWhatTheValuesSay(t *testing.T) {
	t.Parallel()
	const (
		first = "--cluster.peer=pq-prometheus-pushgateway-0.pq-prometheus-pushgateway-peers.$(POD_NAMESPACE).svc:7946"
		all   = "--cluster.peer=pq-prometheus-pushgateway-peers.$(POD_NAMESPACE).svc:7946"
	)
	for _, c := range []struct {
		name, set  string
		has, hasNo []string
	}{
		{"one serves its own metrics", "replicaCount=1", []string{first, all, "--web.include-self-metrics=true"}, nil},
		{
			"one that podMonitor scrapes does not", "replicaCount=1,podMonitor.enabled=true",
			[]string{"--web.include-self-metrics=false"},
			nil,
		},
		{"three do not", "replicaCount=3", []string{first, all}, []string{"--web.include-self-metrics=true"}},
		{
			"extraArgs win", "replicaCount=3,extraArgs={--web.drain-delay=1s,--storage.path=/x,--no-auto-gomemlimit}",
			[]string{"--web.drain-delay=1s", "--storage.path=/x", "--no-auto-gomemlimit"},
			[]string{"--web.drain-delay=5s", "--storage.path=/data"},
		},
		{
			"a further peer is added", "replicaCount=3,extraArgs={--cluster.peer=r1:7946},additionalPeers={r2:7946}",
			[]string{all, "--cluster.peer=r1:7946", "--cluster.peer=r2:7946"},
			nil,
		},
		{"clusterDomain", "replicaCount=3,clusterDomain=cluster.local", []string{strings.Replace(all, ".svc:",
			".svc.cluster.local:", 1)}, []string{all}},
		{
			"an existing claim is beside the data",
			"persistentVolume.existingClaim=old,persistentVolume.persistenceFile=/data/f",
			[]string{"--storage.path=/var/lib/pushquorum", "--persistence.file=/data/f"},
			[]string{"--storage.path=/data"},
		},
		{
			"web configuration", "webConfiguration.existingSecret.name=s",
			[]string{"--web.config.file=/etc/config/web-config.yaml"},
			nil,
		},
	} {
		got := args(t, one(t, objects(t, mustRender(t, "--set", c.set)), "StatefulSet", ""))
		for _, want := range c.has {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %s is not among %q", c.name, want, got)
			}
		}
		for _, not := range c.hasNo {
			if slices.Contains(got, not) {
				t.Errorf("%s: %s is among %q", c.name, not, got)
			}
		}
	}
}

// TestTheChartShrinksToOneOnlyWhenTold: the first container recovers, and no volume is left that could found the old
// cluster again.
func TestTheChartShrinksToOneOnlyWhenTold(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]bool{
		"replicaCount=1": false,
		"replicaCount=1,cluster.shrinkToOne=true": true,
		"replicaCount=3,cluster.shrinkToOne=true": false,
	} {
		sts := one(t, objects(t, mustRender(t, "--set", set, "--set", "persistentVolume.enabled=true")), "StatefulSet",
			"")
		spec := asMap(sts.at("spec", "template", "spec"))
		recovers := object(spec).text("initContainers", 0, "args", 0) == "recover"
		deletes := sts.text("spec", "persistentVolumeClaimRetentionPolicy", "whenScaled") == "Delete"
		if recovers != want || deletes != want {
			t.Errorf("%s: recovers %t, deletes the volumes of the others %t, want %t", set, recovers, deletes, want)
		}
	}
}
