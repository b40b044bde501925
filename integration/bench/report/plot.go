package report

import (
	"fmt"
	"image/color"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// A plotted is a plot that the page shows.
type plotted struct{ Title, File string }

// A line is one subject's points.
type line struct {
	name   string
	points plotter.XYs
}

// A drawing is a plot before it is drawn, with logarithmic axes, but for shares.
type drawing struct {
	name, title, x, y string
	shares            bool // y goes from 0 to 1
	lines             []line
}

// drawAll draws what was measured on the store into dir.
func drawAll(reports []*Report, store, dir string) (all []plotted, err error) {
	for _, d := range []drawing{latencies(reports, store), throughput(reports, store), lengths(reports, store)} {
		if len(d.lines) == 0 {
			continue
		}
		file := d.name + "-" + store + ".svg"
		if err := d.draw(filepath.Join(dir, file)); err != nil {
			return nil, fmt.Errorf("draw %s: %w", file, err)
		}
		all = append(all, plotted{d.title + " on " + title(store), filepath.Base(dir) + "/" + file})
	}
	return all, nil
}

// latencies is the share of hand-offs that took no longer than x.
func latencies(reports []*Report, store string) drawing {
	d := drawing{name: "latency", title: "Hand-offs among 16 contenders", x: "release called to next held, ms", y: "share of hand-offs", shares: true}
	r, _ := result(reports, store, "handoff-16")
	for _, s := range r.Subjects {
		if len(s.Curves) == 0 {
			continue
		}
		var xys plotter.XYs
		for i, seconds := range middle(s.Curves) {
			xys = append(xys, plotter.XY{X: seconds * 1e3, Y: Levels[i]})
		}
		d.lines = append(d.lines, line{s.Name, xys})
	}
	return d
}

func throughput(reports []*Report, store string) drawing {
	d := drawing{name: "throughput", title: "Hand-offs against contenders", x: "contenders", y: "hand-offs a second"}
	d.lines = across(reports, store, Handoffs, 1, "handoff-")
	return d
}

func lengths(reports []*Report, store string) drawing {
	d := drawing{name: "queue", title: "A hand-off against the length of the queue", x: "waiters", y: "release called to next held, p50, ms"}
	d.lines = across(reports, store, P50, 1e3, "handoff-", "queue-")
	return d
}

// across makes a line for each subject that has the metric in at least two of the
// workloads whose names are one of the prefixes and a number, which is x.
func across(reports []*Report, store string, m Metric, scale float64, prefixes ...string) (lines []line) {
	at := map[string]int{}
	for _, r := range reports {
		for _, res := range r.Results {
			n := number(res.Workload, prefixes)
			if res.Store != store || n == 0 {
				continue
			}
			for _, s := range res.Subjects {
				if len(s.Samples[m]) == 0 {
					continue
				}
				if _, ok := at[s.Name]; !ok {
					at[s.Name] = len(lines)
					lines = append(lines, line{name: s.Name})
				}
				l := &lines[at[s.Name]]
				l.points = append(l.points, plotter.XY{X: float64(n), Y: median(s.Samples[m]) * scale})
			}
		}
	}
	var long []line
	for _, l := range lines {
		if len(l.points) > 1 {
			long = append(long, l)
		}
	}
	return long
}

// number is 0 for another workload.
func number(workload string, prefixes []string) int {
	for _, p := range prefixes {
		if tail, ok := strings.CutPrefix(workload, p); ok {
			n, _ := strconv.Atoi(tail)
			return n
		}
	}
	return 0
}

// Colours that are told apart also by those who do not see all of them (Okabe and Ito).
var colours = []color.Color{
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
}

func (d drawing) draw(file string) error {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = d.title, d.x, d.y
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	const inside = 5 // points from the corner
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs = inside, -inside
	if d.shares {
		p.Legend.Top, p.Legend.Left = false, false
		p.Legend.XOffs, p.Legend.YOffs = -inside, inside
		p.Y.Min, p.Y.Max = 0, 1
	} else {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	p.Add(plotter.NewGrid())
	for i, l := range d.lines {
		curve, dots, err := plotter.NewLinePoints(l.points)
		if err != nil {
			return err
		}
		curve.Color, dots.Color = colours[i%len(colours)], colours[i%len(colours)]
		curve.Width = vg.Points(1.5)
		p.Add(curve)
		if !d.shares {
			p.Add(dots)
		}
		p.Legend.Add(l.name, curve)
	}
	decades(&p.X)
	if !d.shares {
		decades(&p.Y)
	}
	return p.Save(16*vg.Centimeter, 10*vg.Centimeter, file)
}

// decades widens an axis to powers of ten, of which there are two at least.
func decades(a *plot.Axis) {
	a.Min = math.Pow10(int(math.Floor(math.Log10(a.Min))))
	a.Max = math.Pow10(int(math.Ceil(math.Log10(a.Max))))
	if a.Min == a.Max {
		a.Max *= 10
	}
}
