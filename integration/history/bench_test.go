package history

import "testing"

func benchmarkCheck(b *testing.B, semaphore bool, ops, faults int) {
	recs := make([]*Recorder, 100)
	for i := range recs {
		recs[i] = play(uint64(i), "", semaphore, ops, faults)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := recs[i%len(recs)].Check(nil); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "checks/s")
}

func BenchmarkCheckLock(b *testing.B)            { benchmarkCheck(b, false, 30, 0) }
func BenchmarkCheckLockWithFaults(b *testing.B)  { benchmarkCheck(b, false, 30, 40) }
func BenchmarkCheckSemaphore(b *testing.B)       { benchmarkCheck(b, true, 30, 0) }
func BenchmarkCheckSemaphoreFaults(b *testing.B) { benchmarkCheck(b, true, 30, 40) }
func BenchmarkCheckLongLock(b *testing.B)        { benchmarkCheck(b, false, 1000, 40) }
func BenchmarkCheckLongSemaphore(b *testing.B)   { benchmarkCheck(b, true, 1000, 40) }

// 300,000 operations: half of them acquisitions.
func BenchmarkSoak(b *testing.B) {
	h := NewRecorder(nil).Lock("n")
	for i := range int64(150_000) {
		h.BeginAt(10*i+1, int(i%10), Lock()).At(10*i + 90).Granted(uint64(i + 1))
		h.BeginAt(10*i+95, int(i%10), Release(uint64(i+1))).At(10*i + 97).Done()
	}
	b.Run("Holds", func(b *testing.B) {
		for b.Loop() {
			h.Holds()
		}
	})
	holds := h.Holds()
	for name, check := range map[string]func([]Hold) error{"Exclusion": CheckExclusion, "FIFO": CheckFIFO,
		"Permits": func(holds []Hold) error { return CheckPermits(holds, 1) }} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := check(holds); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
