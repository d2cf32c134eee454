package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"example.com/fourfold/deploy/system"
)

func status(ctx context.Context, data string) error {
	s, err := find(ctx, data)
	if errors.Is(err, errDown) {
		fmt.Printf("\n  %s\n\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	if err := writeStatus(ctx, s); err != nil {
		return err
	}
	if err := s.Current(ctx); err != nil {
		fmt.Printf("\n  %s\n", err)
	}
	if _, err := s.Seed(ctx); err != nil {
		return err
	}
	return writeAddresses(data)
}

// writeStatus writes what runs, and how full the broker's disk is.
func writeStatus(ctx context.Context, s running) error {
	all, err := s.Status(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("\n  %-18s%8s   %-10s%8s%10s\n  %s\n", "process", "pid", "healthy", "restarts", "memory", strings.Repeat("─", 55))
	var sum int64
	for _, p := range all {
		healthy := "yes"
		if p.Err != nil {
			healthy = "no"
		}
		fmt.Printf("  %-18s%8d   %-10s%8d%7d MB\n", p.Name, p.PID, healthy, p.Restarts, p.Memory>>20)
		if p.Err != nil {
			fmt.Printf("    %s\n", p.Err)
		}
		sum += p.Memory
	}
	fmt.Printf("  %s\n  %-47s%7d MB\n", strings.Repeat("─", 55), fmt.Sprintf("%d processes", len(all)), sum>>20)
	disk, err := s.Disk(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("  %-47s%7.0f %%\n", "the broker's disk", 100*disk.Used)
	if warning := disk.Warning(); warning != "" {
		fmt.Printf("    %s\n", warning)
	}
	if err := disk.Err(); err != nil {
		fmt.Printf("    %s\n", err)
	}
	return nil
}

// writeAddresses writes the addresses and logins of the system in a data folder.
func writeAddresses(data string) error {
	t, err := system.ReadTarget(data)
	if err != nil {
		return err
	}
	var databases []string
	for _, service := range system.Databases() {
		databases = append(databases, "shop_"+service)
	}
	fmt.Printf(`
  API         %s
  its pages   %s/docs   %[2]s/openapi.yaml
  sign in as  %-20s  %s
              %-20s  %s
  databases   %s:%d  user %s  password %s
              %s

  make signup   make pay   make ship   make refund    one more, live
  make status   make logs SERVICE=order   make conserve   make down

`, strings.Join(t.Gateways, "   "), t.Gateway, t.Shopper.Login, t.Shopper.Password, t.Operator.Login, t.Operator.Password,
		t.MySQL.Host, t.MySQL.Port, t.MySQL.User, t.MySQL.Password, strings.Join(databases, " "))
	return nil
}
