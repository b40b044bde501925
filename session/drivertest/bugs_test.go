package drivertest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/internal/mutant"
	"github.com/fairlead-go/fairlead/session/driver"
)

// A bug is a small mutation of a sound driver, with the cases that must catch it.
type bug struct {
	name     string
	plant    func(driver.Store) driver.Store
	caughtBy []string
}

var bugs = []bug{
	{"leaves without identity", mutant.LeavesWithoutIdentity, []string{"StaleLeaveKeepsNewEntry", "LateRequestAtEveryStepOfCampaign"}},

	{"looks without identity", mutant.Mutation{Lease: mutant.Lies{
		Look: func(ctx context.Context, l *mutant.Lease, e driver.Entry) (driver.View, error) {
			return l.Lease.Look(ctx, l.Latest(ctx, e))
		},
	}}.Plant, []string{"StaleLeaveKeepsNewEntry"}},

	{"does not leave", mutant.LeavesNothing, []string{"SessionsNeverOverlap", "ReleaseIsIdempotent", "CancelDuringEveryStepOfContendedLock"}},

	{"adopts nothing after a lost reply", mutant.AdoptsNothing, []string{"ResolveFindsTheEntryMade", "LostReplyAtEveryStepOfLock", "LostReplyAtEveryStepOfTryLock",
		"LostReplyAtEveryStepOfCampaign", "CancelDuringEveryStepOfLock"}},

	{"does not fence a join resolved as gone", mutant.FencesNothing, []string{"LateJoinNeverApplies", "LateRequestAtEveryStepOfLock", "LateRequestAtEveryStepOfCampaign"}},

	{"wait returns at once as if gone", mutant.Mutation{Lease: mutant.Lies{
		Wait: func(_ context.Context, _ *mutant.Lease, v driver.View, _ driver.Obstacles) (driver.View, error) {
			v.Ahead = nil
			return v, nil
		},
	}}.Plant, []string{"WaitEndsWithItsEntryAlone", "GoroutinesOfOneSessionNeverOverlap", "SessionsNeverOverlap",
		"NothingIsReentrant", "NamePrefixesDoNotInterfere", "ExpiryWhileWaitingJoinsAgainAtTheEnd"}},

	{"wait takes its predecessor for the only one ahead", mutant.GrantsUnseen, []string{"PredecessorThatGivesUpAdmitsNobody", "MiddleWaiterThatDiesAdmitsNobody", "EntryRemovedWhileWaitingJoinsAgain"}},

	{"wait misses what happened before it began", mutant.Mutation{Lease: mutant.Lies{
		Wait: func(ctx context.Context, l *mutant.Lease, v driver.View, on driver.Obstacles) (driver.View, error) {
			if now, err := l.Lease.Look(ctx, v.Me); err == nil && len(now.Ahead) == 0 {
				<-ctx.Done()
				return v, ctx.Err()
			}
			return l.Lease.Wait(ctx, v, on)
		},
	}}.Plant, []string{"WaitMissesNothing"}},

	{"wait does not see changes", mutant.Mutation{Lease: mutant.Lies{
		Wait: func(ctx context.Context, l *mutant.Lease, v driver.View, on driver.Obstacles) (driver.View, error) {
			for {
				now, err := l.Lease.Wait(ctx, v, on)
				if err != nil || len(now.Ahead) == 0 || now.Ahead[len(now.Ahead)-1].ID != on.Entries[0].ID {
					return now, err
				}
				on.Entries = now.Ahead[len(now.Ahead)-1:]
			}
		},
	}}.Plant, []string{"WaitSeesAChange"}},

	{"wait does not see that its own entry is gone", mutant.Mutation{Lease: mutant.Lies{
		Wait: func(ctx context.Context, l *mutant.Lease, v driver.View, on driver.Obstacles) (driver.View, error) {
			now, err := l.Lease.Wait(ctx, v, on)
			if errors.Is(err, driver.ErrEntryGone) {
				v.Ahead = nil
				return v, nil
			}
			return now, err
		},
	}}.Plant, []string{"WaitKnowsThatItsOwnEntryIsGone"}},

	{"wait does not end with its context", mutant.Mutation{Lease: mutant.Lies{
		Wait: func(ctx context.Context, l *mutant.Lease, v driver.View, on driver.Obstacles) (driver.View, error) {
			return l.Lease.Wait(context.WithoutCancel(ctx), v, on)
		},
	}}.Plant, []string{"DriverReturnsWhenItsContextEnds", "PredecessorThatGivesUpAdmitsNobody", "CancelWhileFrozenReturnsPromptly"}},

	{"ignores Admit", mutant.IgnoresAdmit, []string{"AdmitIsPartOfTheJoin", "TryLockDelaysNobody"}},

	{"asks Admit before the join", mutant.Mutation{Lease: mutant.Lies{
		Join: func(ctx context.Context, l *mutant.Lease, c driver.Claim) (driver.View, error) {
			if admit := c.Admit; admit != nil {
				q, err := l.Store.Read(ctx, c.Name, 0)
				if err != nil {
					return driver.View{}, err
				}
				if !admit(driver.View{Ahead: q.Entries}) {
					return driver.View{}, &driver.Refused{Ahead: q.Entries}
				}
				c.Admit = nil
				<-time.After(50 * time.Millisecond) // as on a slow network: the others ask meanwhile
			}
			return l.Lease.Join(ctx, c)
		},
	}}.Plant, []string{"AdmitIsPartOfTheJoin"}},

	{"admits where nobody holds but somebody waits", mutant.Mutation{Lease: mutant.Lies{
		Join: func(ctx context.Context, l *mutant.Lease, c driver.Claim) (driver.View, error) {
			if admit := c.Admit; admit != nil {
				c.Admit = func(v driver.View) bool { return admit(v) || len(v.Ahead) == 1 }
			}
			return l.Lease.Join(ctx, c)
		},
	}}.Plant, []string{"AdmitIsPartOfTheJoin"}},

	{"update stores nothing", mutant.Mutation{Lease: mutant.Lies{
		Update: func(_ context.Context, _ *mutant.Lease, e driver.Entry, value string) (driver.Entry, error) {
			e.Value = value
			e.Version++
			return e, nil
		},
	}}.Plant, []string{"UpdateKeepsPlaceAndToken", "LeaderIsWhoWasElected", "ObserversSeeEachLeaderInOrder"}},

	{"update of an old entry is refused", mutant.Mutation{Lease: mutant.Lies{
		Update: func(ctx context.Context, l *mutant.Lease, e driver.Entry, value string) (driver.Entry, error) {
			if now, err := l.Lease.Look(ctx, e); err == nil && now.Me.Version != e.Version {
				return now.Me, nil
			}
			return l.Lease.Update(ctx, e, value)
		},
	}}.Plant, []string{"OvertakenUpdateHasNoEffect"}},

	{"renewal does nothing", mutant.Mutation{Lease: mutant.Lies{
		Renew: func(context.Context, *mutant.Lease) error { return nil },
	}}.Plant, []string{"LeaseOutlivesItsTTLWhileRenewed", "LostRenewalIsTriedAgain"}},

	{"lease watch tells nothing", mutant.Mutation{Lease: mutant.Lies{
		Watch: func(ctx context.Context, _ *mutant.Lease, _ func()) error { <-ctx.Done(); return ctx.Err() },
	}}.Plant, []string{"LeaseWatchTellsOfTheEnd", "DoReportsALossEvenIfTheFunctionReturnsNil", "RunNeverOverlapsItself"}},

	{"revokes nothing", mutant.RevokesNothing, []string{"RevokeIsIdempotent", "CloseCancelsGrants", "NothingIsLeftBehind", "CloseWithDoneContextCleansUp"}},

	{"entries are not listed", mutant.Mutation{Lease: mutant.Lies{
		Entries: func(context.Context, *mutant.Lease) ([]driver.Entry, error) { return nil, errors.New("not now") },
	}}.Plant,
		[]string{"LeaseKnowsItsEntries", "EntryRemovedWhileHoldingIsALoss"}},

	{"grant is dated at its receipt", mutant.Mutation{
		Grant: func(ctx context.Context, s driver.Store, spec driver.Spec) (driver.Lease, time.Time, error) {
			l, sent, err := s.Grant(ctx, spec)
			return l, sent.Add(100 * time.Millisecond), err
		},
	}.Plant,
		[]string{"LeaseOutlivesItsTTLWhileRenewed", "EntriesGoWithTheLease"}},

	{"watch leaves the present state out", mutant.Mutation{
		Watch: func(ctx context.Context, s driver.Store, name string, f func(driver.Queue) error) error {
			first := true
			return s.Watch(ctx, name, func(q driver.Queue) error {
				if first {
					first = false
					return nil
				}
				return f(q)
			})
		},
	}.Plant, []string{"WatchShowsThePresentStateFirst", "WatchEndsWithItsFunction", "QueueYieldsThePresentStateFirst",
		"ObserversSeeEachLeaderInOrder"}},

	{"watch misses empty queues", mutant.Mutation{
		Watch: func(ctx context.Context, s driver.Store, name string, f func(driver.Queue) error) error {
			return s.Watch(ctx, name, func(q driver.Queue) error {
				if len(q.Entries) == 0 {
					return nil
				}
				return f(q)
			})
		},
	}.Plant, []string{"WatchShowsThePresentStateFirst", "QueueYieldsThePresentStateFirst", "ObserversSeeEachLeaderInOrder"}},

	{"joins a queue with any limit", mutant.Mutation{Lease: mutant.Lies{
		Join: func(ctx context.Context, l *mutant.Lease, c driver.Claim) (driver.View, error) {
			v, err := l.Lease.Join(ctx, c)
			if e, ok := errors.AsType[*driver.LimitError](err); ok && e.Limit > 0 {
				c.Limit = e.Limit
				return l.Lease.Join(ctx, c)
			}
			return v, err
		},
	}}.Plant, []string{"LimitIsThatOfTheQueue", "OtherLimitIsRefusedWhileInUse", "GrowingLetsInWhoFits"}},

	{"sets a limit that has changed", mutant.Mutation{
		SetLimit: func(ctx context.Context, s driver.Store, name string, _, to driver.Limit) error {
			now, err := s.Read(ctx, name, 0)
			if err != nil {
				return err
			}
			return s.SetLimit(ctx, name, now.Limit, to)
		},
	}.Plant, []string{"SetLimitIsGuarded"}},

	{"forgets who holds when the limit changes", mutant.Mutation{
		SetLimit: func(ctx context.Context, s driver.Store, name string, from, to driver.Limit) error {
			to.Through = 0
			return s.SetLimit(ctx, name, from, to)
		},
	}.Plant, []string{"SetLimitIsGuarded", "WaitSeesTheLimitChange", "ShrinkingKnowsHoldersWithoutStamp"}},

	{"waits for one of several", mutant.WaitsForOne, []string{"WaitForSeveralEndsWithAny", "AnyReleaseLetsTheFirstIn"}},

	{"does not wait for the limit", mutant.Mutation{Lease: mutant.Lies{
		Wait: func(ctx context.Context, l *mutant.Lease, v driver.View, on driver.Obstacles) (driver.View, error) {
			on.Limit = false
			return l.Lease.Wait(ctx, v, on)
		},
	}}.Plant, []string{"WaitSeesTheLimitChange", "GrowingLetsInWhoFits", "WaiterForMoreThanTheNewLimitIsTold"}},

	{"shows the nearest ahead alone", mutant.Mutation{Lease: mutant.Lies{
		Join: func(ctx context.Context, l *mutant.Lease, c driver.Claim) (driver.View, error) {
			v, err := l.Lease.Join(ctx, c)
			v.Ahead = v.Ahead[max(0, len(v.Ahead)-1):]
			return v, err
		},
	}}.Plant, []string{"SharedAndPermitsSeeAllInTheWay", "PermitsNeverExceedTheLimit"}},

	{"breaks whoever is first", mutant.Mutation{
		Break: func(ctx context.Context, s driver.Store, e driver.Entry, m driver.Mark, force bool) error {
			q, err := s.Read(ctx, e.Name, 1)
			if err != nil {
				return err
			}
			if len(q.Entries) == 0 {
				return driver.ErrEntryGone
			}
			m.ID = q.Entries[0].ID
			return s.Break(ctx, q.Entries[0], m, force)
		},
	}.Plant, []string{"BreakMarksThatEntryAlone", "BreakOfAnEntryThatIsGoneLeavesNoMark", "BreakNeverTakesTheNewerGrant",
		"BrokenWaiterDoesNotJoinAgain", "BreakOfPermitsLetsTheNextIn"}},

	{"breaks without the entry's identity", mutant.Mutation{
		Break: func(ctx context.Context, s driver.Store, e driver.Entry, m driver.Mark, force bool) error {
			err := s.Break(ctx, e, m, force)
			if !errors.Is(err, driver.ErrEntryGone) {
				return err
			}
			q, readErr := s.Read(ctx, e.Name, 0)
			if readErr != nil || len(q.Entries) == 0 {
				return err
			}
			m.ID = q.Entries[0].ID // whoever is in its place by now
			return s.Break(ctx, q.Entries[0], m, force)
		},
	}.Plant, []string{"BreakOfAnEntryThatIsGoneLeavesNoMark", "BreakNeverTakesTheNewerGrant"}},

	{"removes without force", mutant.Mutation{
		Break: func(ctx context.Context, s driver.Store, e driver.Entry, m driver.Mark, _ bool) error {
			return s.Break(ctx, e, m, true)
		},
	}.Plant, []string{"BreakMarksThatEntryAlone", "BrokenFunctionIsWaitedFor", "BrokenHolderLearnsWhoBrokeIt"}},

	{"does not remove with force", mutant.Mutation{
		Break: func(ctx context.Context, s driver.Store, e driver.Entry, m driver.Mark, _ bool) error {
			return s.Break(ctx, e, m, false)
		},
	}.Plant, []string{"BreakMarksThatEntryAlone", "ForceRemovesExactlyThatEntry", "BreakThatGivesUpSaysWhatForceWouldDo"}},

	{"leaves no mark with force", mutant.Mutation{
		Break: func(ctx context.Context, s driver.Store, e driver.Entry, m driver.Mark, force bool) error {
			if m.ID = strings.Repeat("0", len(m.ID)); !force {
				m.ID = e.ID
			}
			return s.Break(ctx, e, m, force)
		},
	}.Plant, []string{"BreakMarksThatEntryAlone"}},

	{"tells of no marks", mutant.Mutation{Lease: mutant.Lies{
		Watch: func(ctx context.Context, l *mutant.Lease, _ func()) error { return l.Lease.Watch(ctx, func() {}) },
	}}.Plant, []string{"LeaseWatchTellsOfMarks", "BrokenHolderLearnsWhoBrokeIt"}},

	{"lists no marks", mutant.Mutation{Lease: mutant.Lies{
		Marks: func(context.Context, *mutant.Lease) ([]driver.Mark, error) { return nil, nil },
	}}.Plant, []string{"BreakMarksThatEntryAlone", "BrokenHolderLearnsWhoBrokeIt", "LostWordOfABreakIsMadeGood", "BrokenWaiterDoesNotJoinAgain"}},

	{"clears no marks", mutant.Mutation{Lease: mutant.Lies{
		Clear: func(context.Context, *mutant.Lease, driver.Mark) error { return nil },
	}}.Plant, []string{"BreakMarksThatEntryAlone", "MarksAreClearedOnceObeyed"}},

	{"tokens decrease", func(s driver.Store) driver.Store { return &mirror{s} },
		[]string{"JoinAppends", "TokensIncreaseAlsoAfterTheQueueWasEmpty", "TokensStrictlyIncrease", "SessionsNeverOverlap"}},
}
