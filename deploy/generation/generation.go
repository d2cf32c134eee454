// Package generation begins a new generation of a service's events, after its database was restored from a backup.
package generation

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

// System is a system that is up.
type System interface {
	Stop(ctx context.Context, process string) error
	Start(ctx context.Context, process string) error
	WaitHealthy(ctx context.Context, processes ...string) error
	// Instances returns the names of all instances of a process.
	Instances(process string) []string
	// Run runs the program of a service to its end, with the service's login at its database, and returns its output.
	Run(ctx context.Context, service string, args ...string) (string, error)
}

// Of returns the generation in which a service numbers its events: empty in the first, and the id of a later one.
func Of(ctx context.Context, s System, service string) (string, error) {
	if err := numbers(service); err != nil {
		return "", err
	}
	return s.Run(ctx, service, "generation")
}

// Begin begins a new generation of a service's events and returns its id. All instances of the service are stopped for that, and run and are
// healthy when it returns; after an error they are started too. Nobody else may start them meanwhile.
func Begin(ctx context.Context, s System, service string) (id string, err error) {
	if err := numbers(service); err != nil {
		return "", err
	}
	instances := s.Instances(service)
	for _, name := range instances {
		err = errors.Join(err, s.Stop(ctx, name))
	}
	if err == nil {
		id, err = s.Run(ctx, service, "generation", "new")
	}
	ctx = context.WithoutCancel(ctx)
	for _, name := range instances {
		err = errors.Join(err, s.Start(ctx, name))
	}
	return id, errors.Join(err, s.WaitHealthy(ctx, instances...))
}

// numbers returns an error unless service numbers its events.
func numbers(service string) error {
	choice := "SERVICE is one of " + strings.Join(numbering, ", ")
	switch {
	case slices.Contains(numbering, service):
		return nil
	case slices.Contains(system.Databases(), service):
		return fmt.Errorf("%s does not number its events, so it has no generation: %s", service, choice)
	}
	return fmt.Errorf("there is no service %q: %s", service, choice)
}
