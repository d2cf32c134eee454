// Command topics creates all topics of api/event/v1, with four queues each, and prints them. It waits for the broker, and for its replica to
// have them too. Existing topics stay as they are. MQ_ACCESS_KEY and MQ_SECRET_KEY are for a broker that asks who sends, as the services' are.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/env"
	"example.com/fourfold/chassis/mq/rocketmq"
)

const queues = 4

// replicaWait is how long a replica may take to have the topics. One that is sick keeps nobody from starting.
const replicaWait = 30 * time.Second

func main() {
	names := flag.String("name-servers", "127.0.0.1:9876", "host:port,…")
	list := flag.Bool("list", false, "only say which")
	flag.Parse()
	if *list {
		fmt.Println(strings.Join(eventv1.Topics(), " "))
		return
	}
	cfg := rocketmq.Config{NameServers: *names}
	for name, value := range map[string]*string{"MQ_ACCESS_KEY": &cfg.AccessKey, "MQ_SECRET_KEY": &cfg.SecretKey} {
		var err error
		if *value, err = env.Get(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	for _, topic := range eventv1.Topics() {
		if err := rocketmq.CreateTopic(ctx, cfg, topic, queues); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1) //nolint:gocritic // stop need not run: the process ends
		}
	}
	waiting, cancel := context.WithTimeout(ctx, replicaWait)
	defer cancel()
	if err := rocketmq.AwaitReplicas(waiting, cfg, eventv1.Topics()...); err != nil {
		fmt.Fprintln(os.Stderr, "a broker does not have all topics:", err)
	}
	fmt.Println(strings.Join(eventv1.Topics(), " "))
}
