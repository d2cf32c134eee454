// Command topics creates all topics of api/event/v1, with four queues each, and prints them. It waits for the broker, and for its replica to have
// them too. Existing topics stay as they are.
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
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	for _, topic := range eventv1.Topics() {
		if err := rocketmq.CreateTopic(ctx, *names, topic, queues); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1) //nolint:gocritic // stop need not run: the process ends
		}
	}
	waiting, cancel := context.WithTimeout(ctx, replicaWait)
	defer cancel()
	if err := rocketmq.AwaitReplicas(waiting, *names, eventv1.Topics()...); err != nil {
		fmt.Fprintln(os.Stderr, "a broker does not have all topics:", err)
	}
	fmt.Println(strings.Join(eventv1.Topics(), " "))
}
