package deploy_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// valuesOf are the keys of values.yaml, down to what is no map or an empty one.
func valuesOf(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	var walk func(prefix string, v map[string]any)
	walk = func(prefix string, v map[string]any) {
		for k, value := range v {
			if m, ok := value.(map[string]any); ok && len(m) > 0 && !slices.Contains(leaves, prefix+k) {
				walk(prefix+k+".", m)
			} else {
				out[prefix+k] = value
			}
		}
	}
	walk("", values)
	return out
}

// leaves are maps that are one value for their users.
var leaves = []string{
	"liveness.probe", "readiness.probe", "startupProbe.probe", "securityContext", "containerSecurityContext",
	"updateStrategy",
	"grafanaDashboard.labels",
}

// TestTheReadmeOfTheChartListsEveryValueWithItsDefault, both ways.
func TestTheReadmeOfTheChartListsEveryValueWithItsDefault(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(chart + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `([A-Za-z.]+)` \\| (?:`([^`]*)`)? ?\\|")
	for _, row := range row.FindAllStringSubmatch(string(readme), -1) {
		if _, twice := listed[row[1]]; twice {
			t.Errorf("README.md lists %s twice", row[1])
		}
		listed[row[1]] = row[2]
	}
	for key, value := range valuesOf(t) {
		got, ok := listed[key]
		delete(listed, key)
		if want := shown(t, value); !ok {
			t.Errorf("README.md lacks %s: | `%s` | `%s` |", key, key, want)
		} else if !slices.Contains(leaves, key) && got != want {
			t.Errorf("README.md says that %s is %q by default, and values.yaml %q", key, got, want)
		}
	}
	for key := range listed {
		t.Errorf("README.md lists %s, which values.yaml has not", key)
	}
}

// shown is a default as the table has it: as JSON, strings without quotes, nothing for what is empty.
func shown(t *testing.T, value any) string {
	t.Helper()
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		if len(v) == 0 {
			return ""
		}
	case map[string]any:
		if len(v) == 0 {
			return ""
		}
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// communityKeys are those of prometheus-community/prometheus-pushgateway 3.8.0, by topic.
const communityKeys = `
global.imageRegistry global.imagePullSecrets nameOverride fullnameOverride namespaceOverride
image.registry image.repository image.tag image.pullPolicy imagePullSecrets
service.type service.port service.targetPort service.nodePort service.portName service.clusterIP
service.ipDualStack.enabled
service.ipDualStack.ipFamilies service.ipDualStack.ipFamilyPolicy service.loadBalancerIP
service.loadBalancerSourceRanges
automountServiceAccountToken serviceAccount.create serviceAccount.name
deploymentAnnotations podAnnotations podLabels serviceAnnotations serviceLabels serviceAccountLabels
persistentVolumeLabels
extraVars extraArgs extraInitContainers extraContainers extraVolumes extraVolumeMounts extraManifests lifecycle
hostAliases resources
webConfiguration liveness.enabled liveness.probe readiness.enabled readiness.probe
ingress.enabled ingress.className ingress.path ingress.pathType ingress.extraPaths ingress.annotations ingress.hosts
ingress.tls
route.main.enabled route.main.apiVersion route.main.kind route.main.annotations route.main.labels route.main.parentRefs
route.main.hostnames route.main.additionalRules route.main.filters route.main.matches route.main.httpsRedirect
tolerations nodeSelector affinity podAntiAffinity podAntiAffinityTopologyKey topologySpreadConstraints priorityClassName
replicaCount runAsStatefulSet strategy podDisruptionBudget securityContext containerSecurityContext networkPolicy
serviceMonitor.enabled serviceMonitor.namespace serviceMonitor.telemetryPath serviceMonitor.interval
serviceMonitor.scheme
serviceMonitor.basicAuth serviceMonitor.bearerTokenFile serviceMonitor.tlsConfig serviceMonitor.scrapeTimeout
serviceMonitor.additionalLabels serviceMonitor.honorLabels serviceMonitor.metricRelabelings serviceMonitor.relabelings
persistentVolume.enabled persistentVolume.accessModes persistentVolume.annotations persistentVolume.existingClaim
persistentVolume.mountPath persistentVolume.size persistentVolume.storageClass persistentVolume.subPath
persistentVolume.emptyDir`

// TestTheChartReadsEveryKeyOfTheCommunityChart: each is a value, and read by a template, if only to say that it has no
// effect.
func TestTheChartReadsEveryKeyOfTheCommunityChart(t *testing.T) {
	t.Parallel()
	values := valuesOf(t)
	paths, err := filepath.Glob(chart + "/templates/*")
	if err != nil {
		t.Fatal(err)
	}
	var templates strings.Builder
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil {
			templates.Write(text)
		}
	}
	for _, key := range strings.Fields(communityKeys) {
		if _, ok := values[key]; !ok {
			t.Errorf("values.yaml lacks %s", key)
		}
		last := key[strings.LastIndex(key, ".")+1:]
		if !regexp.MustCompile(`\.` + last + `\b`).MatchString(templates.String()) {
			t.Errorf("no template reads %s", key)
		}
	}
}

// TestTheNotesSayWhatHasNoEffect and how to push, scrape and look.
func TestTheNotesSayWhatHasNoEffect(t *testing.T) {
	t.Parallel()
	notes := func(set string) string {
		t.Helper()
		all := objects(t, mustRender(t, "--set", set, "--set-json",
			`extraManifests=[{"kind": "Notes", "text": "`+
				`{{ include (print .Template.BasePath \"/NOTES.txt\") . | b64enc }}"}]`))
		return decode(t, one(t, all, "Notes", "").text("text"))
	}
	said := notes("runAsStatefulSet=false,strategy.type=Recreate,service.clusterIP=None," +
		"extraArgs={--persistence.interval=5m}")
	for _, want := range []string{
		"runAsStatefulSet=false", "strategy", "service.clusterIP=None", "--persistence.interval", // without effect
		"curl --data-binary @- http://pq-prometheus-pushgateway.batch.svc:9091/metrics/job/", // push
		"pq-prometheus-pushgateway-read.batch.svc:9091", "honor_labels", "port-forward",      // scrape, look
		"emptyDir", "resources.limits.memory",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the notes do not say %q:\n%s", want, said)
		}
	}
	said = notes("replicaCount=3,persistentVolume.enabled=true,resources.limits.memory=1Gi,serviceMonitor.enabled=true")
	for _, not := range []string{"without effect", "NOTE", "honor_labels"} {
		if strings.Contains(said, not) {
			t.Errorf("the notes say %q where all is well:\n%s", not, said)
		}
	}
}
