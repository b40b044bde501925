//go:build unix

package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/internal/zkserver"
)

// fairlead runs the program to its end, and returns what it printed.
func fairlead(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
	return string(out), err
}

func TestEveryKindOfStoreServesTheCommands(t *testing.T) {
	t.Parallel()
	stores := map[string]func() (url string, stop func(), err error){
		"redis": func() (string, func(), error) {
			s, err := redisserver.Start(redisserver.Config{})
			if err != nil {
				return "", nil, err
			}
			return "redis://" + s.Addr(), s.Close, nil
		},
		"postgres": func() (string, func(), error) {
			s, err := pgserver.Start(pgserver.Config{NoSync: true})
			if err != nil {
				return "", nil, err
			}
			return s.AdminURL("postgres"), s.Close, nil
		},
		"zookeeper": func() (string, func(), error) {
			s, err := zkserver.Start(zkserver.Config{NoSync: true})
			if err != nil {
				return "", nil, err
			}
			return "zk://" + s.Addr(), s.Close, nil
		},
	}
	for kind, start := range stores {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			url, stop, err := start()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			for _, args := range [][]string{
				{"lock", "--store", url, "stores/lock", "--", "echo", "held"},
				{"lock", "--shared", "--store", url, "stores/lock", "--", "echo", "held"},
				{"semaphore", "--limit", "2", "--store", url, "stores/permits", "--", "echo", "held"},
				{"elect", "--store", url, "stores/leader", "--", "echo", "held"},
			} {
				out, err := fairlead(t, args...)
				if err != nil || strings.TrimSpace(out) != "held" {
					t.Errorf("fairlead %s: %v\n%s", strings.Join(args, " "), err, out)
				}
			}
			for look, parts := range map[string][]string{
				"ls stores/":         {"stores/look  election", "HELD AT MOST"},
				"show stores/look":   {"stores/look: election, 1 holder, nobody waits", "at work", "here"},
				"leader stores/look": {"here", "TOKEN"},
			} {
				command := fmt.Sprintf("exec %s %s --store '%s'", binary, look, url)
				out, err := fairlead(t, "elect", "--store", url, "--value", "here", "--note", "at work", "stores/look", "--", "sh", "-c", command)
				if err != nil {
					t.Errorf("fairlead %s: %v", look, err)
				}
				contains(t, out, parts...)
			}
		})
	}
}

func TestMigrateMakesTheSchemaOnce(t *testing.T) {
	t.Parallel()
	s, err := pgserver.Start(pgserver.Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	url := s.AdminURL("postgres") + "&namespace=locks"
	never := url + "&migrate=never"
	if out, err := fairlead(t, "lock", "--store", never, "x", "--", "true"); err == nil || !strings.Contains(out, "fairlead migrate") {
		t.Errorf("a lock without a schema: %v, and does not say what to do:\n%s", err, out)
	}
	for range 2 {
		out, err := fairlead(t, "migrate", "--store", url)
		if err != nil || !strings.Contains(out, "GRANT USAGE ON SCHEMA locks TO app") {
			t.Errorf("migrate: %v\n%s", err, out)
		}
	}
	if out, err := fairlead(t, "lock", "--store", never, "x", "--", "true"); err != nil {
		t.Errorf("a lock after the migration: %v\n%s", err, out)
	}
}

func TestMigrateIsForPostgreSQLAlone(t *testing.T) {
	t.Parallel()
	out, err := fairlead(t, "migrate", "--store", store)
	if err == nil || !strings.Contains(out, "no schema to make") {
		t.Errorf("migrate of another store: %v\n%s", err, out)
	}
	out, err = fairlead(t, "migrate", "--store", "owner:s3cret@db.example/prod")
	if err == nil || strings.Contains(out, "s3cret") {
		t.Errorf("migrate of a URL without a scheme: %v\n%s", err, out)
	}
}
