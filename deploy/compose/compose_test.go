//go:build compose

package compose

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/port"
	"example.com/fourfold/deploy/demo"
	"example.com/fourfold/deploy/system"
)

// TestCompose runs the system in containers for real: test.sh makes the images before. It is built with the tag compose only, because it needs a
// Docker engine.
func TestCompose(t *testing.T) {
	ctx := t.Context()
	s := open(t, Options{})
	began := time.Now()
	require.NoError(t, s.Up(ctx))
	healthy := time.Since(began)
	_, err := s.Seed(ctx)
	require.NoError(t, err)
	d, err := demo.New(ctx, s.dir, s)
	require.NoError(t, err)
	defer func() { _ = d.Close() }()

	t.Run("the numbers of the demo", func(t *testing.T) {
		var said strings.Builder
		require.NoError(t, d.Tell(ctx, &said, false), "%s", &said)
		golden, err := os.ReadFile("../demo/testdata/demo.txt")
		require.NoError(t, err)
		varies := regexp.MustCompile(`\bN\b|\bID\b`)
		same := 0
		for line := range strings.Lines(string(golden)) {
			if !varies.MatchString(line) {
				assert.Contains(t, said.String(), line)
				same++
			}
		}
		assert.Greater(t, same, 50)
	})
	t.Run("open on this machine only", func(t *testing.T) { // compose.debug.yaml opens private ports too
		text, err := exec.CommandContext(ctx, "docker", "ps", "--filter", "label=com.docker.compose.project="+s.project, "--format", "{{.Ports}}").Output()
		require.NoError(t, err)
		open := regexp.MustCompile(`([\d.:\[\]]+):\d+->`).FindAllStringSubmatch(string(text), -1)
		assert.Len(t, open, 12)
		for _, at := range open {
			assert.Equal(t, "127.0.0.1", at[1])
		}
	})
	t.Run("a service is killed and comes back by itself", func(t *testing.T) {
		for _, name := range []string{"order", "credit"} {
			pid := s.pid(t, name)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			require.Eventually(t, func() bool {
				now := s.pid(t, name)
				return now != 0 && now != pid && s.healthy(t, name)
			}, time.Minute, 200*time.Millisecond)
		}
		s.pays(t, d)
	})
	t.Run("the name server has another address", func(t *testing.T) {
		before := s.inspect(t, "namesrv", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
		_, err := s.run(ctx, "rm", "--stop", "--force", "namesrv")
		require.NoError(t, err)
		// Somebody else takes the address.
		other, err := exec.CommandContext(ctx, "docker", "run", "--detach", "--network", s.project+"_default", "--entrypoint", "sleep",
			"fourfold/redis:7.0", "600").Output()
		require.NoError(t, err)
		defer func() { _ = exec.Command("docker", "rm", "--force", strings.TrimSpace(string(other))).Run() }()
		_, err = s.run(ctx, "up", "--detach", "--no-deps", "--no-build", "namesrv")
		require.NoError(t, err)
		after := s.inspect(t, "namesrv", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
		require.NotEqual(t, before, after)
		require.Eventually(t, func() bool { return s.healthy(t, "namesrv") }, time.Minute, 200*time.Millisecond)
		joined, err := d.SignUp(ctx) // and what follows by message
		require.NoError(t, err)
		assert.EqualValues(t, 100, joined.Points)
		s.pays(t, d)
	})
	t.Run("the end-to-end tests that need no process of their own", func(t *testing.T) {
		maps.Copy(s.chosen, map[string]string{"LIMIT_CALLS": "0", "LIMIT_STRANGERS": "0", "LIMIT_ADDRESSES": "0", "REGISTRATION_POINTS": "0"}) // as `LIMIT_CALLS=0 make up`
		require.NoError(t, s.Up(ctx))
		cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout", "10m", "./e2e")
		cmd.Dir = s.root
		cmd.Env = append(os.Environ(), "TARGET="+s.dir)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	t.Run("measured", func(t *testing.T) { s.measure(t, healthy, 1500) })
	require.NoError(t, d.Close())
	s.end(t)
}

// end removes the system with its data, and requires that nothing of it is left.
func (s *System) end(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, s.Down(ctx, true))
	for _, what := range [][]string{{"ps", "--all"}, {"volume", "ls"}, {"network", "ls"}} {
		out, err := exec.CommandContext(ctx, "docker", append(what, "--quiet", "--filter", "label=com.docker.compose.project="+s.project)...).Output()
		require.NoError(t, err)
		assert.Empty(t, string(out), "docker %s", what[0])
	}
}

// open returns a system of the test's own, on random ports.
func open(t *testing.T, o Options) *System {
	env := map[string]string{system.Faults: "true"}
	for name := range system.Ports(max(1, o.Replicas)) {
		claim, err := port.Take()
		require.NoError(t, err)
		t.Cleanup(claim.Close)
		env[name] = strconv.Itoa(claim.Port)
	}
	o.Dir, o.Project, o.Env = t.TempDir(), "fourfold-"+strings.ToLower(rand.Text()[:8]), env
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := s.run(context.Background(), "logs", "--tail", "15", "--no-color")
			t.Log(out)
		}
		_ = s.Down(context.Background(), true)
	})
	return s
}

// pays pays one more order, and requires that the books add up.
func (s *System) pays(t *testing.T, d *demo.Demo) {
	t.Helper()
	p, err := d.Pay(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "PAID", p.After.Order)
	var said strings.Builder
	require.NoError(t, d.Tell(t.Context(), &said, false))
	assert.Contains(t, said.String(), "Books  every one ok")
}

// inspect returns what docker inspect says of a process' container.
func (s *System) inspect(t *testing.T, process, format string) string {
	t.Helper()
	all, err := s.Containers(t.Context())
	require.NoError(t, err)
	for _, c := range all {
		if c.Process == process {
			return docker(t, format, c.ID)
		}
	}
	t.Fatalf("there is no container of %s", process)
	return ""
}

// docker returns what docker inspect says of a container or an image.
func docker(t *testing.T, format, id string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "inspect", "--format", format, id).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func (s *System) pid(t *testing.T, process string) int {
	pid, err := strconv.Atoi(s.inspect(t, process, "{{.State.Pid}}"))
	require.NoError(t, err)
	return pid
}

func (s *System) healthy(t *testing.T, process string) bool {
	return s.inspect(t, process, "{{.State.Health.Status}}") == "healthy"
}

// measure prints the table of docs/compose.md, and requires that all of it takes at most so many MiB.
func (s *System) measure(t *testing.T, healthy time.Duration, most float64) {
	all, err := s.Containers(t.Context())
	require.NoError(t, err)
	ids, names := []string{}, map[string]string{}
	for _, c := range all {
		if c.State == "running" {
			ids = append(ids, c.ID)
			names[c.ID] = c.Process
		}
	}
	usage, err := Usage(t.Context(), ids)
	require.NoError(t, err)
	var lines []string
	sum := 0.0
	for _, id := range ids {
		bytes, err := strconv.ParseFloat(docker(t, "{{.Size}}", docker(t, "{{.Image}}", id)), 64)
		require.NoError(t, err)
		sum += usage[id].Used / (1 << 20)
		lines = append(lines, fmt.Sprintf("| %s | %.0f | %.0f | %.0f |\n", names[id], usage[id].Used/(1<<20), usage[id].Limit/(1<<20), bytes/1e6))
	}
	slices.Sort(lines)
	t.Logf("healthy after %.0f s, %.0f MiB in all\n| container | memory, MiB | its limit | image, MB |\n|---|---:|---:|---:|\n%s", healthy.Seconds(), sum,
		strings.Join(lines, ""))
	assert.Less(t, sum, most)
}
