package progress

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// Run runs a command and shows its progress in the step. The error holds the end of the command's output.
func (s *Step) Run(title string, cmd *exec.Cmd) error {
	s.Note("%s", title)
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	var said strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		compiled := 0
		for scan := bufio.NewScanner(out); scan.Scan(); {
			line := strings.TrimSpace(scan.Text())
			switch {
			case line == "":
			case !strings.ContainsAny(line, " :"): // a package, by go build -v
				compiled++
				s.Note("%s: %d packages compiled", title, compiled)
			default:
				s.Note("%s: %s", title, strings.TrimPrefix(line, "go: "))
				said.WriteString(line + "\n")
			}
		}
		_, _ = io.Copy(io.Discard, out) // a line too long to scan
	}()
	err := cmd.Run()
	_ = in.Close()
	<-done
	if err != nil {
		args := append([]string{filepath.Base(cmd.Path)}, cmd.Args[1:]...)
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, Tail(said.String(), 30))
	}
	return nil
}
