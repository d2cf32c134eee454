// Package setup says how the name server and the broker of deploy/rocketmq are started: by the stack on one machine and by tests.
package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The names of the two processes. Each is started as java @Args(name).
const (
	NameServer = "namesrv"
	Broker     = "broker"
)

var processes = []struct{ name, class, heap string }{
	{NameServer, "org.apache.rocketmq.namesrv.NamesrvStartup", "64m"},
	{Broker, "org.apache.rocketmq.broker.BrokerStartup", "256m"},
}

// Settings are what differs between installations.
type Settings struct {
	// Root is the folder of the repository.
	Root string
	// Dir is the folder of both processes: their settings, and the broker's store. Its name must have no quote and no backslash.
	Dir string
	// The ports on 127.0.0.1. The broker also listens on BrokerPort - 2.
	NameServerPort, BrokerPort, MetricsPort string
	// BrokerMore is added to broker.conf.
	BrokerMore string
}

// Source returns the folder with the settings that are filled in.
func Source(root string) string { return filepath.Join(root, "deploy/rocketmq") }

// Args returns the file with java's arguments.
func Args(dir, name string) string { return filepath.Join(dir, name+".args") }

// Files returns the text of each file in s.Dir by its name.
func Files(s Settings) (map[string]string, error) {
	options, err := os.ReadFile(filepath.Join(Source(s.Root), "java.options"))
	if err != nil {
		return nil, err
	}
	values := map[string]string{"LISTEN": "127.0.0.1", "NAMESRV_HOST": "127.0.0.1", "BROKER_HOST": "127.0.0.1", "NAMESRV_PORT": s.NameServerPort, "BROKER_PORT": s.BrokerPort, "BROKER_METRICS_PORT": s.MetricsPort,
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

// Write creates s.Dir with its files. The broker's store stays.
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
