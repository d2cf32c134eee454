package machine

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

// Package is a package of Debian, and the programs that show that it is installed.
type Package struct {
	Name     string
	Programs []string
}

// Install installs the packages of which a program is missing, without starting them as services of the machine. It says first how much is to be
// downloaded.
func Install(ctx context.Context, log *progress.Log, packages ...Package) error {
	var missing []string
	for _, p := range packages {
		for _, program := range p.Programs {
			if _, err := exec.LookPath(program); err != nil {
				missing = append(missing, p.Name)
				break
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	what := strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("%s is missing and there is no apt-get to install it: install what these packages of Debian 12 hold", what)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s is missing and only root can install it: sudo apt-get install %s", what, what)
	}
	step := log.Step("install")
	if err := install(ctx, log, step, missing); err != nil {
		step.Fail()
		return err
	}
	step.Done("%s", strings.Join(missing, ", "))
	return nil
}

func install(ctx context.Context, log *progress.Log, step *progress.Step, names []string) error {
	free, err := forbidServices()
	if err != nil {
		return err
	}
	defer free()
	if _, err := apt(ctx, step, "update", "update"); err != nil {
		return err
	}
	args := append([]string{"install", "-y", "--no-install-recommends"}, names...)
	uris, err := apt(ctx, step, "size", append([]string{"-q", "--print-uris"}, args...)...)
	if err != nil {
		return err
	}
	log.Say("install", "%s from Debian's packages", size(sum(uris)))
	_, err = apt(ctx, step, strings.Join(names, ", "), args...)
	return err
}

// sum returns how many bytes the packages have that apt-get --print-uris lists: 'address' name size hash.
func sum(uris string) (bytes float64) {
	for line := range strings.Lines(uris) {
		if f := strings.Fields(line); len(f) == 4 && strings.HasPrefix(line, "'") {
			bytes += float64(number(f[2]))
		}
	}
	return bytes
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

// apt runs apt-get, shows its progress in the step, and returns what it says.
func apt(ctx context.Context, step *progress.Step, title string, args ...string) (string, error) {
	step.Note("%s", title)
	out, in, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-o", "APT::Status-Fd=3", "-o", "DPkg::Lock::Timeout=120"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	cmd.ExtraFiles = []*os.File{in} // descriptor 3
	var all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &all, &all
	if err := errors.Join(cmd.Start(), in.Close()); err != nil {
		return "", err
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
		return all.String(), fmt.Errorf("apt-get %s: %w: run it by hand to see more\n%s", strings.Join(args, " "), err, progress.Tail(all.String(), 15))
	}
	return all.String(), nil
}
