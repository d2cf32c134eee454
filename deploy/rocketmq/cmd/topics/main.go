// Command topics creates all topics of api/event/v1, with four queues each, and prints them. It waits for the broker. Existing topics stay as
// they are.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/mq/rocketmq"
)

const queues = 4

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
	fmt.Println(strings.Join(eventv1.Topics(), " "))
}
