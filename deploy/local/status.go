package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"example.com/fourfold/deploy/local/stack"
)

func status(ctx context.Context, data string) error {
	s, err := stack.Open(data)
	if err != nil {
		return err
	}
	err = writeStatus(ctx, s)
	if errors.Is(err, stack.ErrDown) {
		fmt.Printf("\n  %s\n\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.Current(); err != nil {
		fmt.Printf("\n  %s\n", err)
	}
	seeded, err := s.Seed(ctx)
	if err != nil {
		return err
	}
	writeAddresses(s, seeded)
	return nil
}

// writeStatus writes what runs, and how full the broker's disk is.
func writeStatus(ctx context.Context, s *stack.Stack) error {
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
	disk, err := s.Disk()
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

// writeAddresses writes the addresses and logins.
func writeAddresses(s *stack.Stack, seeded stack.Seeded) {
	db := s.Reader()
	fmt.Printf(`
  API         %[10]s
  its pages   %[1]s/docs   %[1]s/openapi.yaml
  sign in as  %[2]s  %[3]s
              %[4]s  %[5]s
  databases   %[6]s:%[7]d  user %[8]s  password %[9]s
              shop_order shop_inventory shop_credit shop_wms shop_member shop_notify

  make signup   make pay   make ship   make refund    one more, live
  make status   make logs SERVICE=order   make conserve   make down

`, s.Gateway(), fmt.Sprintf("%-20s", seeded.Shopper.Login), seeded.Shopper.Password,
		fmt.Sprintf("%-20s", seeded.Operator.Login), seeded.Operator.Password, db.Host, db.Port, db.User, db.Password,
		strings.Join(s.Gateways(), "   "))
}
