package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.com/fourfold/deploy/system"
)

// numbering are the services that number their events, so that groups keep them in order (mq.Numbered).
var numbering = []string{"order", "inventory", "wms"}

// Generation returns the generation in which a service numbers its events: empty in the first, and the id of a later one.
func (s *Stack) Generation(ctx context.Context, service string) (string, error) {
	if err := s.numbers(ctx, service); err != nil {
		return "", err
	}
	return s.generation(ctx, service)
}

// NewGeneration begins a new generation of a service's events, after its database was restored from a backup, and returns its id. All instances
// of the service are stopped for that, and run and are healthy when NewGeneration returns; after an error they are started too.
func (s *Stack) NewGeneration(ctx context.Context, service string) (id string, err error) {
	if err := s.numbers(ctx, service); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, s.dir, nil) // a `make up` meanwhile would start them
	if err != nil {
		return "", err
	}
	defer unlock()
	instances := s.Instances(service)
	for _, name := range instances {
		err = errors.Join(err, s.Stop(ctx, name))
	}
	if err == nil {
		id, err = s.generation(ctx, service, "new")
	}
	ctx = context.WithoutCancel(ctx)
	for _, name := range instances {
		err = errors.Join(err, s.Start(ctx, name))
	}
	return id, errors.Join(err, s.WaitHealthy(ctx, instances...))
}

// numbers returns an error unless the stack runs and service numbers its events.
func (s *Stack) numbers(ctx context.Context, service string) error {
	choice := "SERVICE is one of " + strings.Join(numbering, ", ")
	switch {
	case slices.Contains(system.Databases(), service) && !slices.Contains(numbering, service):
		return fmt.Errorf("%s does not number its events, so it has no generation: %s", service, choice)
	case !slices.Contains(numbering, service):
		return fmt.Errorf("there is no service %q: %s", service, choice)
	case !s.super.alive(ctx):
		return ErrDown
	}
	return nil
}

func (s *Stack) generation(ctx context.Context, service string, args ...string) (string, error) {
	dsn := system.Variable(service) + "_DSN"
	return s.command(ctx, map[string]string{dsn: s.vars[dsn]}, service, append([]string{"generation"}, args...)...)
}
