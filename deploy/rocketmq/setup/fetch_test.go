package setup

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/system"
)

// TestWrongJars tests that of jars that Maven brings, one that is another, is missing or was not asked for is named and none is used. The Maven
// here brings the files of a folder.
func TestWrongJars(t *testing.T) {
	root, err := system.Root()
	require.NoError(t, err)
	const good, bad = "as it should be", "with something added"
	list := func(files map[string]string) (text string) {
		for _, name := range []string{"broker.jar", "extra.jar", "store.jar"} {
			if content, ok := files[name]; ok {
				text += fmt.Sprintf("%x *%s\n", sha256.Sum256([]byte(content)), name)
			}
		}
		return text
	}
	asked := map[string]string{"broker.jar": good, "store.jar": good}
	for _, c := range []struct {
		name     string
		came     map[string]string
		says     []string
		accepted bool
	}{
		{"right", asked, nil, true},
		{"another", map[string]string{"broker.jar": good, "store.jar": bad},
			[]string{"not as it should be, or missing: store.jar", "what came: store.jar"}, false},
		{"missing", map[string]string{"broker.jar": good}, []string{"not as it should be, or missing: store.jar"}, false},
		{"one more", map[string]string{"broker.jar": good, "store.jar": good, "extra.jar": good}, []string{"what came: extra.jar"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name, text string) {
				name = filepath.Join(dir, name)
				require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
				require.NoError(t, os.WriteFile(name, []byte(text), 0o700)) //nolint:gosec // programs among them
			}
			require.NoError(t, os.CopyFS(Source(dir), os.DirFS(Source(root))))
			write("deploy/rocketmq/jars.sha256", list(asked))
			for name, content := range c.came {
				write("came/"+name, content)
			}
			write("bin/mvn", `#!/bin/sh
for argument; do case $argument in -DoutputDirectory=*) cp -r `+dir+`/came "${argument#*=}" ;; esac; done
`)
			write("bin/javac", "#!/bin/sh\necho the jars are used >&2\nexit 1\n")
			t.Setenv("PATH", filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
			err := Fetch(t.Context(), dir, progress.New(io.Discard))()
			require.Error(t, err)
			assert.Equal(t, c.accepted, err.Error() == "the jars are used", err)
			for _, text := range c.says {
				assert.ErrorContains(t, err, text)
			}
			if !c.accepted {
				assert.NotContains(t, err.Error(), "broker.jar")
				assert.ErrorContains(t, err, "run deploy/rocketmq/fetch.sh again")
			}
		})
	}
}
