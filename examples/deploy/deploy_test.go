package deploy_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"
)

// build runs the command with which the Dockerfile builds the program, for Linux, and
// returns the path of what it made.
func build(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*) -o /out/fairlead (\S+)$`).FindStringSubmatch(read(t, "Dockerfile"))
	if m == nil {
		t.Fatal("the Dockerfile builds no /out/fairlead")
	}
	binary := filepath.Join(t.TempDir(), "fairlead")
	cmd := exec.Command("sh", "-c", m[1]+` -o "$OUT" `+m[2])
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "GOOS=linux", "OUT="+binary)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return binary
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The image has neither a loader nor libraries: what the Dockerfile builds needs none. And
// every command of the files exists, with its flags.
func TestProgramIsStaticAndHasTheCommandsShown(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the Dockerfile's command is one for a shell")
	}
	binary := build(t)
	program, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	libraries, err := program.ImportedLibraries()
	if err != nil || len(libraries) > 0 {
		t.Errorf("it needs the libraries %v (%v)", libraries, err)
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it needs a dynamic loader")
		}
	}
	if runtime.GOOS != "linux" {
		return // it does not run here
	}
	for file, args := range commands(t) {
		for _, args := range args {
			help, err := exec.Command(binary, args[0], "--help").CombinedOutput()
			if err != nil {
				t.Errorf("%s: fairlead %s --help: %v\n%s", file, args[0], err, help)
			}
			for _, arg := range args[1:] {
				if arg == "--" {
					break
				}
				flag, _, _ := strings.Cut(arg, "=")
				if strings.HasPrefix(flag, "--") && !regexp.MustCompile(regexp.QuoteMeta(flag)+`\b`).Match(help) {
					t.Errorf("%s: fairlead %s has no flag %s", file, args[0], flag)
				}
			}
		}
	}
}

// commands returns the arguments of fairlead in each file.
func commands(t *testing.T) map[string][][]string {
	t.Helper()
	all := map[string][][]string{}
	for _, file := range []string{"billing.service", "crontab"} {
		for _, m := range regexp.MustCompile(`(?m)^[^#\n]*/usr/local/bin/fairlead (.*)$`).FindAllStringSubmatch(read(t, file), -1) {
			all[file] = append(all[file], strings.Fields(m[1]))
		}
		if len(all[file]) == 0 {
			t.Errorf("%s runs no fairlead", file)
		}
	}
	container := deployment(t).Spec.Template.Spec.Containers[0]
	if container.Command[0] != "/usr/local/bin/fairlead" {
		t.Errorf("the container runs %s", container.Command[0])
	}
	all["kubernetes.yaml"] = [][]string{container.Command[1:]}
	return all
}

// A document is what the test looks at of an object of Kubernetes.
type document struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				Containers []struct {
					Command      []string
					Env          []struct{ Name, Value string }
					VolumeMounts []struct {
						Name      string
						MountPath string `yaml:"mountPath"`
					} `yaml:"volumeMounts"`
				}
				Volumes []struct {
					Name   string
					Secret struct {
						SecretName string `yaml:"secretName"`
					}
				}
			}
		}
	}
	StringData map[string]string `yaml:"stringData"`
}

func documents(t *testing.T) (all []document) {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(read(t, "kubernetes.yaml"))))
	for {
		var d document
		err := decoder.Decode(&d)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("kubernetes.yaml: %v", err)
		}
		all = append(all, d)
	}
}

func deployment(t *testing.T) document {
	t.Helper()
	all := documents(t)
	i := slices.IndexFunc(all, func(d document) bool { return d.Kind == "Deployment" })
	if i < 0 || len(all[i].Spec.Template.Spec.Containers) != 1 {
		t.Fatal("kubernetes.yaml has no deployment of one container")
	}
	return all[i]
}

// The selector finds the pods, and the password that the URL of the store names is where
// the secret is mounted.
func TestDeploymentFitsTogether(t *testing.T) {
	d := deployment(t)
	pod := d.Spec.Template
	for key, value := range d.Spec.Selector.MatchLabels {
		if pod.Metadata.Labels[key] != value {
			t.Errorf("the selector wants %s=%s, the pods have %v", key, value, pod.Metadata.Labels)
		}
	}
	container := pod.Spec.Containers[0]
	i := slices.IndexFunc(container.Env, func(e struct{ Name, Value string }) bool { return e.Name == "FAIRLEAD_STORE" })
	if i < 0 {
		t.Fatal("FAIRLEAD_STORE is not set")
	}
	_, file, _ := strings.Cut(container.Env[i].Value, "?password-file=")
	mount, volume := container.VolumeMounts[0], pod.Spec.Volumes[0]
	if filepath.ToSlash(filepath.Dir(file)) != mount.MountPath || mount.Name != volume.Name {
		t.Errorf("the password is to be at %s, the secret is mounted as %v from %v", file, mount, volume)
	}
	for _, s := range documents(t) {
		if s.Kind == "Secret" && s.Metadata.Name == volume.Secret.SecretName && s.StringData[filepath.Base(file)] != "" {
			return
		}
	}
	t.Errorf("no secret %s has %s", volume.Secret.SecretName, filepath.Base(file))
}
