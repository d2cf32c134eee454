package compose

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"example.com/fourfold/deploy/prepare"
	"example.com/fourfold/deploy/system"
)

// file is what is read of a compose file.
type file struct {
	Services map[string]service
	Volumes  map[string]any
}

type service struct {
	Image       string
	Build       struct{ Args map[string]string }
	Command     []string
	Environment map[string]string
	Volumes     []string
	Ports       []string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	Limit       string   `yaml:"mem_limit"`
	Healthcheck struct{ Test []string }
	DependsOn   map[string]any `yaml:"depends_on"`
}

func read(t *testing.T, name string) (f file) {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &f))
	return f
}

// jobs run once, or wait: they are no processes of the system.
var jobs = []string{"prepare", "users", "topics", "grants", "seed"}

// TestFiles: compose.yaml has the processes and ports of the list, each with its own secrets only, with a health check, and bounded.
func TestFiles(t *testing.T) {
	t.Parallel()
	f, debug := read(t, "compose.yaml"), read(t, "compose.debug.yaml")
	assert.ElementsMatch(t, append(system.Names(), jobs...), slices.Collect(maps.Keys(f.Services)))
	files := prepare.Secrets{MySQL: map[string]string{}}.Files("")
	for _, p := range system.Processes {
		s := f.Services[p.Name]
		assert.True(t, s.ReadOnly, p.Name)
		assert.Equal(t, []string{"ALL"}, s.CapDrop, p.Name)
		assert.NotEmpty(t, s.Healthcheck.Test, p.Name)
		text, err := yaml.Marshal(map[string]any{"command": s.Command, "environment": s.Environment})
		require.NoError(t, err)
		open := strings.Join(append(s.Ports, debug.Services[p.Name].Ports...), " ")
		for role, port := range p.Ports {
			assert.Contains(t, string(text), strconv.Itoa(port), "%s listens on its port %s", p.Name, role)
			if p.Healthy.Path != "" && role == p.Healthy.Role {
				assert.Contains(t, open, fmt.Sprintf("127.0.0.1:${%s:-%d}:%d", system.PortVariable(p.Name, role), port, port))
			}
		}
		if p.Name == "gateway" {
			assert.Equal(t, []string{"127.0.0.1:${PORT_GATEWAY:-8080}:8080"}, s.Ports)
		} else {
			assert.Empty(t, s.Ports, "%s can be reached from outside", p.Name)
		}
		for _, port := range debug.Services[p.Name].Ports {
			assert.True(t, strings.HasPrefix(port, "127.0.0.1:"), port)
		}
		for role, port := range p.Ports {
			listen := system.Variable(p.Name) + map[string]string{"": "_LISTEN", system.Admin: "_ADMIN_LISTEN"}[role]
			if p.Database || p.Name == "gateway" {
				assert.Equal(t, fmt.Sprintf("0.0.0.0:%d", port), s.Environment[listen], listen)
			}
		}
		assert.NotEmpty(t, s.Limit, p.Name)
		if p.Database {
			assert.Contains(t, f.Services["grants"].DependsOn, p.Name, "the reader's tables must be there")
		}
		if p.Healthy.Path != "" && p.Name != "gateway" {
			assert.Contains(t, f.Services["gateway"].DependsOn, p.Name)
		}
		secrets := slices.DeleteFunc(slices.Clone(s.Volumes), func(v string) bool { return !strings.HasPrefix(v, "secrets-") })
		if files[p.Name] == nil {
			assert.Empty(t, secrets, p.Name)
			continue
		}
		assert.Equal(t, []string{"secrets-" + p.Name + ":/secrets:ro"}, secrets, p.Name)
		assert.Contains(t, f.Services["prepare"].Volumes, "secrets-"+p.Name+":/secrets/"+p.Name)
		var read, written []string
		for variable, value := range s.Environment {
			if file, ok := strings.CutPrefix(value, "/secrets/"); ok && strings.HasSuffix(variable, "_FILE") {
				read = append(read, file)
			}
		}
		for file := range files[p.Name] {
			written = append(written, file)
		}
		assert.ElementsMatch(t, written, read, p.Name)
	}
}

// TestEnvironment: what a service is told is what its config.yaml asks for, others are where they listen, and Go's heap fits into the container.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	f := read(t, "compose.yaml")
	ours := append([]string{"gateway"}, system.Databases()...)
	known := map[string]bool{"GOMEMLIMIT": true, "GOMAXPROCS": true}
	asked := map[string]string{}
	for _, name := range ours {
		text, err := os.ReadFile("../../" + name + "/config.yaml")
		require.NoError(t, err)
		asked[name] = string(text)
		for _, match := range regexp.MustCompile(`\$\{(\w+):`).FindAllStringSubmatch(string(text), -1) {
			known[match[1]] = true
		}
	}
	for _, name := range append(ours, "dtm") {
		s := f.Services[name]
		heap := number(t, strings.TrimSuffix(s.Environment["GOMEMLIMIT"], "MiB"))
		limit := number(t, strings.TrimSuffix(s.Limit, "m"))
		assert.InDelta(t, 0.85, float64(heap)/float64(limit), 0.06, "%s: %d of %d", name, heap, limit)
	}
	for _, name := range ours {
		s := f.Services[name]
		assert.Equal(t, "fourfold/"+name, s.Image)
		assert.Equal(t, name, s.Build.Args["SERVICE"])
		for variable, value := range s.Environment {
			setting := strings.TrimSuffix(variable, "_FILE")
			assert.True(t, known[setting], "no service reads %s", variable)
			process, isAddr := strings.CutSuffix(variable, "_ADDR")
			if !isAddr || value == "" {
				continue
			}
			host, port, _ := strings.Cut(value, ":")
			p := system.Find(host)
			assert.Equal(t, process, system.Variable(p.Name), variable)
			assert.Contains(t, slices.Collect(maps.Values(p.Ports)), number(t, port), variable)
		}
		// What is neither told nor passed on from outside would be its default, whatever a person sets.
		for _, match := range regexp.MustCompile(`(?m)^[^#\n]*\$\{(\w+):`).FindAllStringSubmatch(asked[name], -1) {
			value, named := s.Environment[match[1]]
			_, file := s.Environment[match[1]+"_FILE"]
			assert.True(t, named || file || match[1] == "FAULTS", "%s is neither told %s nor passed it on", name, match[1])
			if regexp.MustCompile(`_DSN$|_KEYS$|_ADDR$|_LISTEN$|NAME_SERVERS$`).MatchString(match[1]) {
				assert.True(t, value != "" || file || match[1] == "SMTP_ADDR", "%s is not told %s", name, match[1])
			}
		}
	}
	env, err := Chosen("../..", []string{"LIMIT_CALLS=0", "LOG_LEVEL=debug", "PORT_OFFSET=7", "SMTP_FROM=shop@example.com", "LANG=C", "ORDER_DSN="})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"LIMIT_CALLS": "0", "LOG_LEVEL": "debug", "PORT_OFFSET": "7", "SMTP_FROM": "shop@example.com"}, env)
	_, err = Chosen("../..", []string{"ORDER_DSN=x", "GATEWAY_LISTEN=:1", "SMTP_PASSWORD_FILE=/x", "MQ_KEYS=k"})
	for _, name := range []string{"ORDER_DSN is set", "PORT_GATEWAY chooses", "SMTP_PASSWORD_FILE is set", "MQ_KEYS is set"} {
		require.ErrorContains(t, err, name)
	}
	extras := read(t, "compose.extras.yaml")
	assert.Empty(t, extras.Services, "it is a fork's")
}

// override is what is read of a layer whose services extend those of another file.
type override struct {
	Services map[string]struct {
		Extends      struct{ File, Service string }
		Environment  map[string]string
		Volumes      []string
		Build, Ports yaml.Node // with tags that say what becomes of what the layers before have
	}
}

func readOverride(t *testing.T, name string) (o override) {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &o))
	return o
}

// TestFilesHA: compose.ha.yaml and compose.ha.debug.yaml have the second instances of the list, each like the first, everybody knows both, and
// the name servers and brokers agree on where the others are.
func TestFilesHA(t *testing.T) {
	t.Parallel()
	base, ha, debug := read(t, "compose.yaml"), readOverride(t, "compose.ha.yaml"), read(t, "compose.ha.debug.yaml")
	servers := []string{"namesrv", "namesrv-2", "namesrv-3"}
	others := append([]string{"topics", "broker", "broker-2"}, servers...) // dtm itself needs to know nobody
	for _, p := range system.Processes {
		if p.Single {
			continue
		}
		for _, instance := range p.Instances(2) {
			if instance != "dtm" {
				others = append(others, instance)
			}
			for variable, first := range base.Services[p.Name].Environment {
				process := system.Find(strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(variable, "_ADDR"), "_ADMIN")))
				told := ha.Services[instance].Environment[variable]
				switch {
				case variable == "MQ_NAME_SERVERS":
					assert.Equal(t, first+",namesrv-2:9876,namesrv-3:9876", told, instance)
				case process.Name != "" && !process.Single && !strings.HasSuffix(variable, "_LISTEN"):
					assert.Equal(t, first+","+strings.Replace(first, process.Name, process.Name+"-2", 1), told, "%s of %s", variable, instance)
				default:
					assert.Empty(t, told, "%s of %s", variable, instance)
				}
			}
		}
		second := ha.Services[p.Instances(2)[1]]
		assert.Equal(t, struct{ File, Service string }{"compose.yaml", p.Name}, second.Extends)
		assert.Equal(t, "!reset", second.Build.Tag, "the image is the first one's")
		for role, port := range p.Ports {
			if role != p.Healthy.Role {
				continue
			}
			name := system.PortVariable(p.Instances(2)[1], role)
			assert.Equal(t, []string{fmt.Sprintf("127.0.0.1:${%s:-%d}:%d", name, system.Ports(2)[name], port)}, debug.Services[p.Instances(2)[1]].Ports)
		}
	}
	assert.ElementsMatch(t, others, slices.Collect(maps.Keys(ha.Services)))
	var gateway []string
	gatewayPorts := ha.Services["gateway-2"].Ports
	require.NoError(t, gatewayPorts.Decode(&gateway))
	assert.Equal(t, []string{fmt.Sprintf("127.0.0.1:${PORT_GATEWAY_2:-%d}:8080", system.Ports(2)["PORT_GATEWAY_2"])}, gateway)
	var peers, names, controllers []string
	for i, server := range servers {
		id := fmt.Sprint("n", i+1)
		peers, names, controllers = append(peers, id+"-"+server+":9878"), append(names, server+":9876"), append(controllers, server+":9878")
		assert.Equal(t, id, ha.Services[server].Environment["CONTROLLER_ID"])
	}
	for _, server := range servers {
		assert.Equal(t, strings.Join(peers, ";"), ha.Services[server].Environment["CONTROLLER_PEERS"])
		assert.Equal(t, []string{server + ":/data"}, ha.Services[server].Volumes)
	}
	for _, broker := range []string{"broker", "broker-2"} {
		assert.Equal(t, strings.Join(names, ";"), ha.Services[broker].Environment["NAME_SERVERS"])
		assert.Equal(t, strings.Join(controllers, ";"), ha.Services[broker].Environment["CONTROLLERS"])
	}
	assert.Equal(t, "broker-2", ha.Services["broker-2"].Environment["BROKER_HOST"])
	assert.Equal(t, []string{"broker-2:/data"}, ha.Services["broker-2"].Volumes)
}

// TestSettings: every variable in the settings of name server and broker is one that the containers have.
func TestSettings(t *testing.T) {
	t.Parallel()
	base, ha := read(t, "compose.yaml"), readOverride(t, "compose.ha.yaml")
	for _, name := range []string{"namesrv", "broker"} {
		told := base.Services[name].Environment
		for _, more := range []map[string]string{nil, ha.Services[name].Environment} {
			maps.Copy(told, more)
			file := name + map[bool]string{true: ".ha.conf", false: ".conf"}[more != nil]
			text, err := os.ReadFile("../rocketmq/" + file)
			require.NoError(t, err)
			for _, match := range regexp.MustCompile(`\$\{(\w+)}`).FindAllStringSubmatch(string(text), -1) {
				assert.NotEmpty(t, told[match[1]], "%s: %s", file, match[1])
			}
		}
	}
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}
