//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/watch"
)

// offered returns what a shell is offered after a command line, without descriptions.
func offered(t *testing.T, args ...string) (names []string) {
	t.Helper()
	for line := range strings.Lines(start(t, append([]string{"__complete"}, args...)...).end(0)) {
		if name, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); !strings.HasPrefix(name, ":") {
			names = append(names, name)
		}
	}
	return names
}

func TestShellsCompleteNamesInUse(t *testing.T) {
	s := open(t, store)
	for _, name := range []string{"tab/plain", "tab/日本", "tab/$(reboot)", "tab/a b", "tab/`x`", "tab/a;b", "tab/a'b", "-tab"} {
		if _, err := mutex.New(s, name).Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	hold(t, "elect", "tab/led")
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"show", "tab/"}, []string{"tab/led", "tab/plain", "tab/日本"}},
		{[]string{"watch", "tab/p"}, []string{"tab/plain"}},
		{[]string{"top", "tab/p"}, []string{"tab/plain"}},
		{[]string{"ls", "tab/p"}, []string{"tab/plain"}},
		{[]string{"lock", "tab/p"}, []string{"tab/plain"}},
		{[]string{"leader", "tab/"}, []string{"tab/led"}},
		{[]string{"elect", "tab/"}, []string{"tab/led"}},
		{[]string{"semaphore", "tab/"}, nil},
		{[]string{"show", "tab/plain", "tab/"}, nil},
		{[]string{"show", "-o", ""}, []string{"json", "table"}},
		{[]string{"lea"}, []string{"leader"}},
	} {
		if got := offered(t, c.args...); !slices.Equal(got, c.want) {
			t.Errorf("after %q a shell offers %q, want %q", c.args, got, c.want)
		}
	}
}

func TestCompletionIsSilentWithoutAStore(t *testing.T) {
	p := start(t, "FAIRLEAD_STORE=etcd://127.0.0.1:1", "__complete", "show", "tab/")
	if out := p.end(0); out != ":4\n" {
		t.Errorf("it prints %q", out)
	}
	if said := strings.TrimSpace(p.stderr.String()); said != "Completion ended with directive: ShellCompDirectiveNoFileComp" {
		t.Errorf("it says %q", said) // which the shells' scripts discard
	}
}

func TestCompletionTellsWhatNamesAre(t *testing.T) {
	got := completions([]watch.Snapshot{
		{Name: "a", Kind: "mutex", Holders: []watch.Entry{{}}, Waiters: []watch.Entry{{}, {}}},
		{Name: "b", Kind: "x\x1b[2J\tx", Holders: []watch.Entry{{}}},
		{Name: "c\u202e", Kind: "mutex"},
	}, anyKind)
	want := []cobra.Completion{"a\tmutex, 1 holder, 2 waiters", "b\t" + `x\x1b[2J\tx` + ", 1 holder, nobody waits"}
	if !slices.Equal(got, want) {
		t.Errorf("names are completed as %q, want %q", got, want)
	}
}

// bashAsks is what bash does when somebody presses the tabulator key behind "show shell/",
// with what the package bash-completion has.
const bashAsks = `
_get_comp_words_by_ref() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${words[cword]}; prev=${words[cword-1]}; }
compopt() { :; }
source <(fairlead completion bash)
COMP_WORDS=(fairlead show shell/); COMP_CWORD=2; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=63
__start_fairlead
echo "${COMPREPLY[@]}"`

func TestBashCompletesNamesInUse(t *testing.T) {
	hold(t, "lock", "shell/in-bash")
	cmd := exec.CommandContext(t.Context(), "bash", "-c", bashAsks)
	cmd.Env = append(os.Environ(), storeVariable+"="+store, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || !slices.Contains(strings.Fields(string(out)), "shell/in-bash") {
		t.Errorf("bash completes: %v\n%s", err, out)
	}
}

func TestEveryShellGetsItsScript(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		contains(t, start(t, "completion", shell).end(0), "fairlead")
	}
}
