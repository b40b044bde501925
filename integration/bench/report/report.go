package report

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// A Report is everything that a run found.
type Report struct {
	Time     time.Time `json:"time"`
	Machine  Machine   `json:"machine"`
	Servers  []string  `json:"servers"` // what they are and their version
	Rounds   int       `json:"rounds"`
	Duration string    `json:"duration"` // of one measurement, unless its workload says another
	Results  []Result  `json:"results"`
}

// A Machine is what the figures depend on besides the programs.
type Machine struct {
	CPU      string  `json:"cpu"`
	Cores    int     `json:"cores"`
	System   string  `json:"system"`
	Go       string  `json:"go"`
	SyncP50  float64 `json:"fsync_p50_seconds"`
	SyncP99  float64 `json:"fsync_p99_seconds"`
	DataRoot string  `json:"data_root"`
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s, %s; fsync in %s: p50 %.2f ms, p99 %.2f ms",
		m.CPU, m.Cores, m.System, m.Go, m.DataRoot, m.SyncP50*1e3, m.SyncP99*1e3)
}

// A Result is what one workload gave on one store.
type Result struct {
	Store    string    `json:"store"`
	Workload string    `json:"workload"`
	About    string    `json:"about"`
	Subjects []Subject `json:"subjects"` // ours first
	Absent   []Absence `json:"absent,omitempty"`
}

// An Absence says why a peer was not measured.
type Absence struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

func (a Absence) String() string { return a.Name + " was not measured: " + a.Why }

// A Subject has, for each metric, one figure a round, or a single one where that was
// measured once a run.
type Subject struct {
	Name    string                 `json:"name"`
	Samples map[Metric][]float64   `json:"samples"`
	Curves  [][len(Levels)]float64 `json:"curves,omitempty"` // of a latency, one a round: its quantiles at Levels, in seconds
}

// Ours is the part of our subjects' names that no peer's has.
const Ours = "fairlead"

// Write writes the report as JSON.
func (r *Report) Write(file string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// Read reads what Write wrote.
func Read(file string) (*Report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read the report %s: %w", file, err)
	}
	return r, nil
}

// result returns what the workload gave on the store.
func result(reports []*Report, store, workload string) (Result, bool) {
	for _, r := range reports {
		for _, res := range r.Results {
			if res.Store == store && res.Workload == workload {
				return res, true
			}
		}
	}
	return Result{}, false
}

// subject returns the subject of that name; "" stands for ours.
func (r Result) subject(name string) (Subject, bool) {
	for i, s := range r.Subjects {
		if s.Name == name || name == "" && i == 0 {
			return s, true
		}
	}
	return Subject{}, false
}
