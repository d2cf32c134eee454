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

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}
