package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead-go/fairlead/internal/cert"
	"github.com/fairlead-go/fairlead/internal/pgserver"
)

func document(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var fence = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// blocks are those of a document in a language, or in none.
func blocks(text, language string) (blocks []string) {
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		if m[1] == language {
			blocks = append(blocks, m[2])
		}
	}
	return blocks
}

// A script is the commands of this program in a document, in their order.
func script(t *testing.T, path string) (lines []string) {
	t.Helper()
	for _, block := range blocks(document(t, path), "sh") {
		for line := range strings.Lines(block) {
			if strings.HasPrefix(line, "fairlead ") {
				line, _, _ = strings.Cut(line, " #")
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines
}

// A tryout is where a reader tries what the documents show: a directory with what the
// commands name, and a network of its own, where the usual ports are free.
type tryout struct {
	t       *testing.T
	dir     string
	network []string // runs a command in it
	nightly struct { // who holds billing/nightly
		*terminal
		token string
	}
}

func newTryout(t *testing.T) *tryout {
	t.Helper()
	d := &tryout{t: t, dir: t.TempDir()}
	for name, text := range map[string]string{
		"bill": "echo billed", "report": "echo reported", "render": "echo rendered", "stay": "echo in $FAIRLEAD_TOKEN.; exec sleep 600",
	} {
		d.write(name, "#!/bin/sh\n"+text+"\n", 0o700)
	}
	d.write("token", "0123456789abcdef0123456789abcdef\n", 0o600)
	kit := cert.NewKit(t)
	for name, file := range map[string]string{"ui.crt": kit.Server.Cert, "ui.key": kit.Server.Key} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d.write(name, string(text), 0o600)
	}
	cmd := exec.Command("sh", "-c", "ip link set lo up && echo up && exec sleep 600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	launch(t, cmd).expect("up")
	d.network = []string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", cmd.Process.Pid)}
	return d
}

func (d *tryout) write(name, text string, mode os.FileMode) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), mode); err != nil {
		d.t.Fatal(err)
	}
}

// enter types a line, with something put before it.
func (d *tryout) enter(line string, prefix ...string) *terminal {
	d.t.Helper()
	cmd := typed(line, "", prefix...)
	cmd.Dir = d.dir
	return launchAtTerminal(d.t, cmd)
}

// typed is a line for a shell, in an environment where this program is installed.
func typed(line, store string, prefix ...string) *exec.Cmd {
	args := append(prefix, "bash", "-c", "exec "+line)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), storeVariable+"="+store)
	return cmd
}

// hold has somebody hold billing/nightly, unless it is held.
func (d *tryout) hold() {
	d.t.Helper()
	if d.nightly.terminal == nil {
		d.nightly.terminal = d.enter("fairlead lock billing/nightly -- ./stay", d.network...)
		d.nightly.token = regexp.MustCompile(`in (\d+)\.`).FindStringSubmatch(d.nightly.expect("in ", "."))[1]
	}
}

const interrupt = "\x03"

// A showing is what a line has to show, with what is typed then, if anything.
type showing struct{ says, typed string }

// showings are those of the lines that the documents show, in their order there.
var showings = map[string]showing{
	"fairlead dev &": {says: "etcd is ready"},
	"fairlead elect billing/leader -- ./bill":           {says: "billed"},
	"fairlead lock billing/nightly -- ./bill":           {says: "billed"},
	"fairlead lock catalog --shared -- ./report":        {says: "reported"},
	"fairlead sem reports/render --limit 4 -- ./render": {says: "rendered"},

	"fairlead ls":                    {says: "billing/nightly  mutex"},
	"fairlead show billing/nightly":  {says: "billing/nightly: mutex, 1 holder, nobody waits"},
	"fairlead watch billing/nightly": {says: "holds", typed: interrupt},
	"fairlead leader billing/leader": {says: "IDENTITY"},
	"fairlead top":                   {says: "billing/nightly", typed: "q"},
	"fairlead doctor":                {says: "ok       close"},

	"fairlead ls billing/":                 {says: "billing/nightly  mutex"},
	"fairlead top billing/":                {says: "billing/nightly", typed: "q"},
	"fairlead doctor --timeout 5s -o json": {says: `"check": "close"`},
	"fairlead ui":                          {says: "http://127.0.0.1:8600/", typed: interrupt},
	"fairlead ui billing/":                 {says: "http://127.0.0.1:8600/", typed: interrupt},
	"fairlead ui billing/ --allow-release --auth-token-file ./token":                          {says: "http://127.0.0.1:8600/", typed: interrupt},
	"fairlead ui --listen :8600 --auth-token-file ./token --tls-cert ui.crt --tls-key ui.key": {says: ":8600/", typed: interrupt},

	`fairlead release billing/nightly --token 15 --reason "hangs"`:        {says: "[y/N] ", typed: "y\n"},
	`fairlead release billing/nightly --token 15 --force --reason "gone"`: {says: "[y/N] ", typed: "y\n"},
}

// The commands of the documents do what is said of them, typed as they are printed, one
// after another. Those that are not here are in TestRunbook and TestMigrationOfTheDocuments.
func TestCommandsInDocumentsWork(t *testing.T) {
	t.Parallel()
	d := newTryout(t)
	var elected *terminal
	seen := map[string]bool{}
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := script(t, "README.md")
	for _, path := range documents {
		lines = append(lines, script(t, strings.TrimPrefix(path, "../../"))...)
	}
	for _, line := range lines {
		if strings.Contains(line, "deploy/web") || strings.Contains(line, "postgres://") {
			continue
		}
		want, ok := showings[line]
		if !ok {
			t.Errorf("nobody has said what this shows: %s", line)
			continue
		}
		seen[line] = true
		if elected == nil && line == "fairlead ls" { // from here on they look at what is held
			elected = d.enter("fairlead elect billing/leader -- ./stay", d.network...)
			elected.expect("in ")
		}
		release := strings.HasPrefix(line, "fairlead release ")
		if elected != nil {
			d.hold()
		}
		p := d.enter(strings.Replace(strings.TrimSuffix(line, " &"), "--token 15", "--token "+d.nightly.token, 1), d.network...)
		p.expect(want.says)
		if strings.HasSuffix(line, " &") {
			continue
		}
		p.press(want.typed)
		if release {
			p.expect("broken")
			d.nightly.expect("broken by")
			d.nightly.end(statusLost)
			d.nightly.terminal = nil
		}
		if want.typed == interrupt {
			p.end(128 + int(syscall.SIGINT))
		} else {
			p.end(0)
		}
	}
	for line := range showings {
		if !seen[line] {
			t.Errorf("no document shows any more: %s", line)
		}
	}
}

// One who migrates as it is described, as the owner, and then looks as the user.
func TestMigrationOfTheDocuments(t *testing.T) {
	t.Parallel()
	server, err := pgserver.Start(pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	for _, err := range []error{
		server.CreateRole(t.Context(), "owner", "owner's"), server.CreateRole(t.Context(), "app", "app's"),
		server.CreateDatabase(t.Context(), "prod"), server.Exec(t.Context(), "postgres", "ALTER DATABASE prod OWNER TO owner"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d := newTryout(t)
	d.write("owner", "owner's\n", 0o600)
	d.write("app", "app's\n", 0o600)
	here := strings.NewReplacer("db.example", server.Addr(), "/run/secrets", d.dir, "?", "?sslmode=disable&")
	verdicts := map[string]string{"migrate": "up to date", "doctor": "ok       close"}
	for _, line := range script(t, "docs/operations.md") {
		if !strings.Contains(line, "postgres://") {
			continue
		}
		command := strings.Fields(line)[1]
		p := d.enter(here.Replace(line))
		shown := p.expect(verdicts[command])
		p.end(0)
		delete(verdicts, command)
		for _, grant := range grants.FindAllString(shown+p.written(), -1) {
			if err := server.Exec(t.Context(), "prod", strings.TrimSpace(grant)); err != nil {
				t.Errorf("%s: %v", grant, err)
			}
		}
	}
	if len(verdicts) > 0 {
		t.Errorf("the document does not show %v", verdicts)
	}
}

var grants = regexp.MustCompile(`(?m)^ *(GRANT|ALTER) .*;`)

var (
	numeral = regexp.MustCompile(`[0-9]+`)
	anOwner = regexp.MustCompile(`\S+/#`)
	blanks  = regexp.MustCompile(`[ \r\n]+`)
)

// plain is a text without what is another each time: numbers, hosts, and how wide that
// makes a column.
func plain(text string) string {
	text = strings.ReplaceAll(text, "deploy/web", "the name")
	text = anOwner.ReplaceAllString(numeral.ReplaceAllString(text, "#"), "owner/#")
	return strings.TrimSpace(blanks.ReplaceAllString(text, " "))
}

// What the runbook says that one sees at 3 a.m. is what one sees.
func TestRunbook(t *testing.T) {
	t.Parallel()
	_, text, _ := strings.Cut(document(t, "docs/operations.md"), "\n## A deploy hangs")
	text, _, _ = strings.Cut(text, "\n## ")
	commands, shown := blocks(text, "sh"), blocks(text, "")
	if len(commands) != 2 || len(shown) != 5 {
		t.Fatalf("the runbook has %d commands and shows %d texts, want 2 and 5", len(commands), len(shown))
	}
	see := func(what, got string, i int) {
		t.Helper()
		if want := plain(shown[i]); plain(got) != want {
			t.Errorf("%s:\n%s\nwhich is %q, want %q", what, got, plain(got), want)
		}
	}
	s := open(t, store)
	holder := start(t, "lock", "deploy/web", "--note", "rollout 1482", "--", "sh", "-c", stay)
	holder.expect("in")
	watcher := start(t, "watch", "deploy/web")
	_ = watcher.line()
	waiter := launch(t, typed(`fairlead lock deploy/web --note "rollout 1483" -- true 2>&1`, store))
	see("the one that hangs says", waiter.line(), 0)
	q := awaitQueue(t, s, "deploy/web", 1, 1)
	_ = watcher.line()

	out, err := typed(commands[0], store).CombinedOutput()
	if err != nil {
		t.Error(err)
	}
	see("show", string(out), 1)

	p := launchAtTerminal(t, typed(strings.Replace(commands[1], "--token 15", fmt.Sprint("--token ", q.Holders[0].Token), 1), store))
	asked := p.expect("[y/N] ")
	p.press("y\n")
	see("release", asked+p.expect("broken\r\n"), 2)
	p.end(0)

	holder.end(statusLost)
	see("the holder says", holder.stderr.String(), 3)
	waiter.end(0)
	var changes strings.Builder
	for range strings.Count(shown[4], "\n") {
		changes.WriteString(watcher.line() + "\n")
	}
	see("watch", changes.String(), 4)
	watcher.signal(syscall.SIGINT)
	watcher.end(128 + int(syscall.SIGINT))
}
