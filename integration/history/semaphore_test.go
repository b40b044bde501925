package history

import "testing"

func TestSemaphoreHistories(t *testing.T) {
	of := func(limit int64) func(*Recorder) *History {
		return func(r *Recorder) *History { return r.Semaphore("crawlers", limit) }
	}
	run(t, of(3), []trial{
		{"UpToTheLimit", true, []operation{
			op(1, 10, 30, Acquire(1), got(1)), op(2, 10, 20, Acquire(2), got(2)),
			op(1, 40, 50, Release(1)), op(3, 15, 60, Acquire(1), got(3)),
		}},
		{"OverTheLimit", false, []operation{
			op(1, 10, 20, Acquire(2), got(1)), op(2, 10, 20, Acquire(2), got(2)), op(1, 30, 40, Release(1)),
		}},
		{"OneIsHeavierThanTheLimit", false, []operation{op(1, 10, 20, Acquire(4), got(1))}},
		{"HalfAReleaseIsNone", false, []operation{
			op(1, 10, 20, Acquire(2), got(1)), op(2, 10, 20, Acquire(1), got(2)), op(2, 30, 40, Release(2)),
			op(3, 15, 50, Acquire(2), got(3)), op(1, 60, 70, Release(1)),
		}},
		{"ReleaseTwice", false, []operation{
			op(1, 10, 20, Acquire(2), got(1)), op(2, 10, 20, Acquire(1), got(2)),
			op(2, 30, 40, Release(2)), op(2, 41, 42, Release(2)),
			op(3, 50, 60, Acquire(2), got(3)), op(1, 70, 80, Release(1)),
		}},
		{"LightOvertakesHeavy", false, []operation{
			op(1, 10, 20, Acquire(2), got(1)), op(2, 11, 60, Acquire(2), got(2)), op(3, 12, 30, Acquire(1), got(3)),
			op(1, 40, 42, Release(1)), op(3, 70, 72, Release(3)),
		}},
		{"ReturnsInAnotherOrderThanGrants", true, []operation{
			op(1, 10, 30, Acquire(1), got(1)), op(2, 10, 20, Acquire(1), got(2)),
		}},
		{"TokenGoesBack", false, []operation{
			op(1, 10, 20, Acquire(1), got(2)), op(2, 30, 40, Acquire(1), got(1)),
		}},
		{"ReleaseOfWhatWasNeverGranted", false, []operation{op(1, 10, 20, Release(1))}},

		{"GrantUnderARaisedLimit", true, []operation{
			op(1, 10, 20, Acquire(3), got(1)), op(9, 30, 40, Resize(4)), op(2, 15, 35, Acquire(1), got(2)),
		}},
		{"GrantBeforeTheLimitIsRaised", false, []operation{
			op(1, 10, 20, Acquire(3), got(1)), op(9, 30, 40, Resize(4)), op(2, 15, 25, Acquire(1), got(2)),
			op(1, 50, 60, Release(1)),
		}},
		{"HeldBeyondAShrunkLimit", true, []operation{
			op(1, 10, 20, Acquire(2), got(1)), op(2, 10, 20, Acquire(1), got(2)), op(9, 30, 40, Resize(1)),
			op(1, 50, 60, Release(1)), op(2, 70, 80, Release(2)), op(3, 15, 90, Acquire(1), got(3)),
		}},
		{"GrantWhileAShrunkLimitDoesNotFit", false, []operation{
			op(1, 10, 20, Acquire(2), got(1)), op(2, 10, 20, Acquire(1), got(2)), op(9, 30, 40, Resize(1)),
			op(1, 50, 60, Release(1)), op(3, 15, 65, Acquire(1), got(3)), op(2, 70, 80, Release(2)),
		}},
		{"NothingUnderALimitOfNothing", false, []operation{
			op(9, 10, 20, Resize(0)), op(1, 30, 40, Acquire(1), got(1)),
		}},

		{"KilledHolder", true, []operation{
			op(1, 10, 20, Acquire(3), got(1)), open(1, 30, Lose(1)), op(2, 15, 40, Acquire(3), got(2)),
		}},
		{"HolderNotYetKilled", false, []operation{
			op(1, 10, 20, Acquire(3), got(1)), open(1, 50, Lose(1)), op(2, 15, 40, Acquire(3), got(2)),
		}},
		{"UnknownAcquisition", true, []operation{
			open(1, 10, Acquire(3)), op(2, 20, 30, Acquire(3), got(7)),
		}},
		{"UnknownReleaseThatArrived", true, []operation{
			op(1, 10, 20, Acquire(3), got(1)), open(1, 30, Release(1)), op(2, 15, 40, Acquire(3), got(2)),
		}},
		{"UnknownReleaseGivesBackOnce", false, []operation{
			op(1, 10, 20, Acquire(3), got(1)), open(1, 30, Release(1)), op(2, 15, 40, Acquire(3), got(2)),
			op(3, 15, 50, Acquire(1), got(3)), op(2, 60, 70, Release(2)),
		}},
		{"UnknownResizeThatArrived", true, []operation{
			open(9, 5, Resize(4)), op(1, 10, 20, Acquire(4), got(1)),
		}},
		{"UnknownResizeThatDidNot", true, []operation{
			open(9, 5, Resize(1)), op(1, 10, 20, Acquire(3), got(1)),
		}},
		{"UnknownResizeThatArrivedLate", true, []operation{
			open(9, 5, Resize(4)), op(8, 10, 20, Resize(1)), op(1, 30, 40, Acquire(4), got(1)),
		}},
		{"UnknownResizeArrivesOnce", false, []operation{
			open(9, 5, Resize(4)), op(1, 10, 20, Acquire(4), got(1)), op(1, 30, 40, Release(1)),
			op(8, 50, 60, Resize(1)), op(1, 70, 80, Acquire(4), got(2)),
		}},
	})
}
