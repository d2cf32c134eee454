package stack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"example.com/fourfold/deploy/progress"
)

// packages are the system packages that the stack needs: Debian's name, and the programs that show that it is installed.
var packages = []struct {
	name     string
	programs []string
}{
	{"mariadb-server", []string{"mariadbd", "mariadb-install-db", "mariadb-admin"}},
	{"redis-server", []string{"redis-server", "redis-cli"}},
	{"openjdk-17-jdk-headless", []string{"java", "javac"}},
	{"maven", []string{"mvn"}},
}

// Install installs the system packages that are missing, without starting them as services of the system, and fetches RocketMQ. It is what runs
// before tests, so it also fails when the disk that their brokers will store on is too full for these.
func Install(ctx context.Context, log *progress.Log) error {
	root, err := findRoot()
	if err != nil {
		return err
	}
	if err := checkDisk(os.TempDir(), log); err != nil {
		return err
	}
	if err := installPackages(ctx, log); err != nil {
		return err
	}
	return fetch(ctx, root)(log)
}

func installPackages(ctx context.Context, log *progress.Log) error {
	var missing []string
	for _, p := range packages {
		for _, program := range p.programs {
			if _, err := exec.LookPath(program); err != nil {
				missing = append(missing, p.name)
				break
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	what := strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("%s is missing and there is no apt-get to install it: install MariaDB 10.11, Redis 7, a JDK 17 and Maven", what)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s is missing and only root can install it: sudo apt-get install %s", what, what)
	}
	step := log.Step("install")
	if err := install(ctx, step, missing); err != nil {
		step.Fail()
		return err
	}
	step.Done("%s", strings.Join(missing, ", "))
	return nil
}

func install(ctx context.Context, step *progress.Step, names []string) error {
	free, err := forbidServices()
	if err != nil {
		return err
	}
	defer free()
	if err := apt(ctx, step, "update", "update"); err != nil {
		return err
	}
	what := strings.Join(names, ", ")
	return apt(ctx, step, what, append([]string{"install", "-y", "--no-install-recommends"}, names...)...)
}

// forbidServices keeps apt from starting what it installs, until free is called.
func forbidServices() (free func(), err error) {
	const policy = "/usr/sbin/policy-rc.d"
	f, err := os.OpenFile(policy, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if errors.Is(err, os.ErrExist) {
		return func() {}, nil // the machine has a policy already
	}
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(f, "#!/bin/sh\nexit 101\n")
	return func() { _ = os.Remove(policy) }, errors.Join(err, f.Close())
}

// apt runs apt-get and shows its progress in the step.
func apt(ctx context.Context, step *progress.Step, title string, args ...string) error {
	step.Note("%s", title)
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-o", "APT::Status-Fd=3", "-o", "DPkg::Lock::Timeout=120"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	cmd.ExtraFiles = []*os.File{in} // descriptor 3
	var all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &all, &all
	if err := errors.Join(cmd.Start(), in.Close()); err != nil {
		return err
	}
	go func() {
		for scan := bufio.NewScanner(out); scan.Scan(); {
			// dlstatus:2:31.5:Retrieving file 2 of 9 (1min), pmstatus:redis-server:80.0:Unpacking …
			if f := strings.SplitN(scan.Text(), ":", 4); len(f) == 4 {
				percent, _, _ := strings.Cut(f[2], ".")
				step.Note("%s %s %%: %s", title, percent, f[3])
			}
		}
	}()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("apt-get %s: %w: run it by hand to see more\n%s", strings.Join(args, " "), err, tail(all.String(), 15))
	}
	return nil
}
