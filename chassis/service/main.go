package service

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"example.com/fourfold/chassis/probe"
)

// Command is something that the program of a service does besides serving.
type Command[C any] struct {
	// Name is the word on the command line.
	Name string
	// Run is called with the arguments that follow the name.
	Run func(ctx context.Context, cfg C, args []string) error
}

// Main is the program of the service called name:
//
//	name [-conf FILE]                  serves, until it is told to stop
//	name [-conf FILE] health           asks the process that serves with this configuration whether it is ready: 0, or 1 and why not
//	name [-conf FILE] COMMAND …        runs one of commands
//
// defaults is the configuration when there is no FILE. An error is written to stderr, and the program exits with code 1.
func Main[C any](name string, defaults []byte, serve func(context.Context, C) error, commands ...Command[C]) {
	if err := command(context.Background(), name, os.Args[1:], defaults, serve, commands); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func command[C any](ctx context.Context, name string, args []string, defaults []byte, serve func(context.Context, C) error,
	commands []Command[C]) error {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	conf := flags.String("conf", "", "configuration file; the built-in one when empty")
	_ = flags.Parse(args) // exits on an error
	run := func(ctx context.Context, cfg C, _ []string) error { return serve(ctx, cfg) }
	if flags.NArg() > 0 {
		commands = append(slices.Clone(commands), health[C]())
		i := slices.IndexFunc(commands, func(c Command[C]) bool { return c.Name == flags.Arg(0) })
		if i < 0 {
			return fmt.Errorf("there is no command %q: leave it out to serve%s", flags.Arg(0), others(commands))
		}
		run = commands[i].Run
		args = flags.Args()[1:]
	}
	var cfg C
	if err := Load(*conf, defaults, &cfg); err != nil {
		return err
	}
	return run(ctx, cfg, args)
}

// health is the command that container engines run.
func health[C any]() Command[C] {
	return Command[C]{Name: "health", Run: func(ctx context.Context, cfg C, _ []string) error {
		return probe.AskSelf(ctx, any(cfg).(interface{ adminAddr() string }).adminAddr(), "/readyz")
	}}
}

func (c Config) adminAddr() string { return c.Admin.Addr }

func others[C any](commands []Command[C]) string {
	var names strings.Builder
	for _, c := range commands {
		names.WriteString(", or " + c.Name)
	}
	return names.String()
}
