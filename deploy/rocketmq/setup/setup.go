// Package setup says how the name server and the broker of deploy/rocketmq are started: by the stack on one machine and by tests.
package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The two processes, as java's main classes. Each starts as java @Args(name).
const (
	NameServer = "namesrv"
	Broker     = "broker"
)

var processes = []struct{ name, class, heap string }{
	{NameServer, "org.apache.rocketmq.namesrv.NamesrvStartup", "64m"},
	{Broker, "org.apache.rocketmq.broker.BrokerStartup", "256m"},
}

// Settings are what is different from one place to another.
type Settings struct {
	// Root is the repository's.
	Root string
	// Dir is the folder of both: their settings, and what the broker stores. It has no quote and no backslash in its name.
	Dir string
	// The ports on 127.0.0.1. The broker also listens on its port - 2.
	NameServerPort, BrokerPort, MetricsPort string
	// BrokerMore is added to broker.conf.
	BrokerMore string
}

// Source is the folder with the settings that are filled in.
func Source(root string) string { return filepath.Join(root, "deploy/rocketmq") }

// Args is the file that java is started with.
func Args(dir, name string) string { return filepath.Join(dir, name+".args") }

// Files gives the text of each file in s.Dir by its name.
func Files(s Settings) (map[string]string, error) {
	options, err := os.ReadFile(filepath.Join(Source(s.Root), "java.options"))
	if err != nil {
		return nil, err
	}
	values := map[string]string{"NAMESRV_PORT": s.NameServerPort, "BROKER_PORT": s.BrokerPort, "BROKER_METRICS_PORT": s.MetricsPort,
		"ROCKETMQ_STORE": s.Dir}
	home := filepath.Join(s.Root, ".cache/rocketmq-5.3.3")
	files := map[string]string{}
	for _, p := range processes {
		conf, err := os.ReadFile(filepath.Join(Source(s.Root), p.name+".conf"))
		if err != nil {
			return nil, err
		}
		files[p.name+".conf"] = os.Expand(string(conf), func(name string) string { return values[name] })
		files[p.name+".args"] = fmt.Sprintf(`%s
-Xmx%s
-Duser.home="%s"
-Drocketmq.home.dir="%[3]s"
-Drmq.logback.configurationFile="%[4]s"
-cp "%[5]s/classes:%[5]s/lib/*"
%[6]s -c "%[3]s/%[7]s.conf"
`, strings.TrimSpace(string(options)), p.heap, s.Dir, filepath.Join(Source(s.Root), "logback.xml"), home, p.class, p.name)
	}
	files["broker.conf"] += s.BrokerMore
	return files, nil
}

// Write makes s.Dir with its files; what the broker stored there stays.
func Write(s Settings) error {
	files, err := Files(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
