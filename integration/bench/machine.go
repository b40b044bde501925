package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// describe looks at the machine, and at the disk below dir.
func describe(dir string) (report.Machine, error) {
	m := report.Machine{
		CPU:      cpuModel(),
		Cores:    runtime.NumCPU(),
		System:   runtime.GOOS + "/" + runtime.GOARCH,
		Go:       runtime.Version(),
		DataRoot: filepath.Dir(dir),
	}
	took, err := syncTimes(filepath.Join(dir, "sync"))
	if err != nil {
		return m, err
	}
	m.SyncP50, m.SyncP99 = report.Quantile(took, 0.50), report.Quantile(took, 0.99)
	return m, nil
}

// cpuModel is "unknown CPU" where the system does not tell in Linux's way.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "of unknown version"
}

// syncTimes appends to a file and syncs it, as a write-ahead log does.
func syncTimes(file string) ([]time.Duration, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("measure fsync: %w", err)
	}
	defer os.Remove(file)
	defer f.Close()
	block := make([]byte, 4096)
	var took []time.Duration
	for range 200 {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, fmt.Errorf("measure fsync: %w", err)
		}
		if err := f.Sync(); err != nil {
			return nil, fmt.Errorf("measure fsync: %w", err)
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}
