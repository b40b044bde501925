package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemd understands the unit.
func TestUnitIsValid(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatalf("%v: scripts/install-deps installs it", err)
	}
	// The programs are not where the unit has them. It is about everything else.
	unit := strings.ReplaceAll(read(t, "billing.service"), "/usr/local/bin/fairlead", "/bin/true")
	file := filepath.Join(t.TempDir(), "billing.service")
	if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || strings.Contains(string(out), "billing.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
