package main

import (
	"context"
	"fmt"
	"net/http"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// scrape reads the server's own metrics.
func (p *process) scrape(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.at+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("read the server's metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read the server's metrics: %w", err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the server's metrics: %w", err)
	}
	return families, nil
}

func (p *process) counters(ctx context.Context) (map[report.Metric]float64, error) {
	families, err := p.scrape(ctx)
	if err != nil {
		return nil, err
	}
	var missing error
	total := func(name string, counts func(m *dto.Metric) bool) (sum float64) {
		f, ok := families[name]
		if !ok {
			missing = fmt.Errorf("the server has no metric %s", name)
		}
		for _, m := range f.GetMetric() {
			if counts(m) {
				// Of these, one is set.
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		return sum
	}
	every := func(*dto.Metric) bool { return true }
	unary := func(m *dto.Metric) bool {
		for _, l := range m.GetLabel() {
			if l.GetName() == "grpc_type" {
				return l.GetValue() == "unary"
			}
		}
		return false
	}
	streamed := func(m *dto.Metric) bool { return !unary(m) }
	all := map[report.Metric]float64{
		report.Commits:  total("etcd_server_proposals_committed_total", every),
		report.Syncs:    total("etcd_disk_wal_fsync_duration_seconds", every),
		report.Requests: total("grpc_server_msg_received_total", unary),
		report.Streamed: total("grpc_server_msg_received_total", streamed),
		report.Events:   total("etcd_debugging_mvcc_events_total", every),
		report.BytesIn:  total("etcd_network_client_grpc_received_bytes_total", every),
		report.BytesOut: total("etcd_network_client_grpc_sent_bytes_total", every),
	}
	return all, missing
}

func (p *process) watchers(ctx context.Context) (float64, error) {
	families, err := p.scrape(ctx)
	if err != nil {
		return 0, err
	}
	const name = "etcd_debugging_mvcc_watcher_total"
	ms := families[name].GetMetric()
	if len(ms) != 1 {
		return 0, fmt.Errorf("the server has %d metrics %s, want 1", len(ms), name)
	}
	return ms[0].GetGauge().GetValue(), nil
}
