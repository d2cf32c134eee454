package compose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"example.com/fourfold/deploy/build"
	"example.com/fourfold/deploy/machine"
	"example.com/fourfold/deploy/rocketmq/setup"
	"example.com/fourfold/deploy/system"
)

// base is the image that those of MariaDB, Redis and RocketMQ are made from, and how much it takes to download.
const (
	base     = "debian:bookworm-slim"
	baseSize = "28 MB"
	// baseTimeout bounds the download: a network that leads nowhere may not answer at all.
	baseTimeout = 2 * time.Minute
	// packagesSize is what Debian's packages in those images take to download, by `apt-get --print-uris`: MariaDB 25 MB, Redis 3, Java 58.
	packagesSize = "about 90 MB"
)

// infrastructure are the images that are made from base.
var infrastructure = []string{"fourfold/mariadb:10.11", "fourfold/redis:7.0", "fourfold/rocketmq:5.3.3"}

// CanBuild returns an error when images cannot be had. It downloads the base image when that is needed and not there.
func (s *System) CanBuild(ctx context.Context) error {
	if haveImages(ctx, infrastructure...) || haveImages(ctx, base) {
		return nil
	}
	s.log.Say("images", "%s of %s", baseSize, base)
	step := s.log.Step("images")
	bounded, cancel := context.WithTimeout(ctx, baseTimeout)
	defer cancel()
	if err := step.Run("pull", exec.CommandContext(bounded, "docker", "pull", "--quiet", base)); err != nil {
		step.Fail()
		return fmt.Errorf("the image %s cannot be had: %w", base, err)
	}
	step.Done("%s", base)
	return nil
}

// haveImages reports whether the engine has all these images.
func haveImages(ctx context.Context, names ...string) bool {
	return exec.CommandContext(ctx, "docker", append([]string{"image", "inspect"}, names...)...).Run() == nil
}

// Build makes the programs and the images.
func (s *System) Build(ctx context.Context) error {
	prebuilt := "prebuilt"
	_, noMaven := exec.LookPath("mvn")
	_, noJDK := exec.LookPath("javac")
	fetching, cancel := context.WithCancel(ctx)
	defer cancel()
	fetched := func() error { return nil }
	if noMaven == nil && noJDK == nil {
		fetched = setup.Fetch(fetching, s.root, s.log) // while the programs are built
	} else {
		prebuilt = "compiled" // in a container
	}
	if err := build.Programs(ctx, s.root, s.log); err != nil {
		return err
	}
	if err := fetched(); err != nil {
		return err
	}
	if !haveImages(ctx, infrastructure...) {
		s.log.Say("images", "%s of Debian's packages", packagesSize)
	}
	step := s.log.Step("images")
	cmd := exec.CommandContext(ctx, filepath.Join(s.folder(), "images.sh"))
	cmd.Env = append(os.Environ(), "ROCKETMQ="+prebuilt)
	if err := step.Run("image", cmd); err != nil {
		step.Fail()
		return err
	}
	step.Done("%d images", len(system.Databases())+3+len(infrastructure))
	return nil
}

// checkMachine returns an error for what this machine lacks.
func (s *System) checkMachine(ctx context.Context, ports map[string]int) error {
	out, err := exec.CommandContext(ctx, "docker", "info", "--format", "{{.DockerRootDir}}").Output()
	if err != nil {
		return fmt.Errorf("docker info: %w", err)
	}
	data := strings.TrimSpace(string(out))
	if _, err := os.Stat(data); errors.Is(err, os.ErrNotExist) { // the engine runs elsewhere, as in a virtual machine
		data = s.dir
	}
	open := map[string]int{}
	for _, layer := range s.layers() {
		if !filepath.IsAbs(layer) {
			layer = filepath.Join(s.folder(), layer)
		}
		text, err := os.ReadFile(layer)
		if err != nil {
			return err
		}
		for variable, port := range ports {
			if strings.Contains(string(text), "${"+variable+":-") {
				open[variable] = port
			}
		}
	}
	return machine.Check(data, data, open, s.log)
}
