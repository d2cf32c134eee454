// Command deploy brings the whole system up, in containers or natively, and shows it: see README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"example.com/fourfold/deploy/local/stack"
	"example.com/fourfold/deploy/progress"
)

const usage = `usage: deploy COMMAND [-data FOLDER]

  demo        up, and a sign-up, a payment, a shipment and a refund, shown in numbers; with -outage
              the broker is killed in the middle of shopping instead
  up          bring everything up, with members and a catalogue
  signup      sign one more shopper up, and show what follows
  pay         pay one more order, shown in numbers
  ship        pay and ship one more order, shown in numbers
  refund      pay and refund one more order, shown in numbers
  status      what runs, healthy or why not
  logs        follow the log of -service, or of all
  generation  in which generation -service numbers its events; -new begins one
  down        stop everything
  install     for tests: install MariaDB, Redis, Java, Maven, HAProxy and nginx where they are missing, and fetch RocketMQ
  images      build the programs and the images of the containers
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "\n  %s\n\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	data := flags.String("data", "var", "data folder")
	service := flags.String("service", "", "whose log, or whose events")
	begin := flags.Bool("new", false, "of generation: begin a new one")
	replicas := flags.Int("replicas", 0, "how many of each process of ours, 1 or 2; 0 leaves it at what runs, or takes 1")
	outage := flags.Bool("outage", false, "of demo: show an outage of the broker instead")
	temporary := flags.Bool("temporary", false, "of watch: remove the data folder behind the stack")
	_ = flags.Parse(args[1:]) // exits on an error

	switch args[0] {
	case "demo":
		return runDemo(ctx, *data, *replicas, *outage)
	case "up":
		_, err := up(ctx, *data, *replicas, false)
		return err
	case "signup", "pay", "ship", "refund":
		return live(ctx, *data, args[0])
	case "status":
		return status(ctx, *data)
	case "logs":
		return logs(ctx, *data, *service)
	case "generation":
		return showGeneration(ctx, *data, *service, *begin)
	case "down":
		return down(ctx, *data)
	case "images":
		return images(ctx, *data)
	case "install":
		return stack.Install(ctx, progress.New(os.Stdout))
	case "watch":
		return stack.Watch(ctx, *data, *temporary, os.Stdin)
	}
	return fmt.Errorf("there is no command %q\n\n%s", args[0], usage)
}
