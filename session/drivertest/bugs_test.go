package drivertest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A bug is a small mutation of a sound driver, with the cases that must catch it.
type bug struct {
	name     string
	plant    func(driver.Store) driver.Store
	caughtBy []string
}

// A mutant is a store whose leases are mutated. What is nil is sound.
type mutant struct {
	driver.Store
	lease lies
	watch func(ctx context.Context, s driver.Store, name string, f func(driver.Queue) error) error
	limit func(ctx context.Context, s driver.Store, name string, from, to driver.Limit) error
	late  time.Duration // by which Grant misstates when it was sent
}

// lies are the methods of a lease that a mutant replaces.
type lies struct {
	renew      func(l *mutantLease) error
	watch      func(ctx context.Context, l *mutantLease) error
	revoke     func(ctx context.Context, l *mutantLease) error
	join       func(ctx context.Context, l *mutantLease, c driver.Claim) (driver.View, error)
	resolve    func(ctx context.Context, l *mutantLease, c driver.Claim) (driver.View, error)
	wait       func(ctx context.Context, l *mutantLease, v driver.View, on driver.Obstacles) (driver.View, error)
	look       func(ctx context.Context, l *mutantLease, e driver.Entry) (driver.View, error)
	update     func(ctx context.Context, l *mutantLease, e driver.Entry, value string) (driver.Entry, error)
	leave      func(ctx context.Context, l *mutantLease, e driver.Entry) error
	entriesOff bool
}

type mutantLease struct {
	driver.Lease
	m *mutant
}

func plant(m mutant) func(driver.Store) driver.Store {
	return func(s driver.Store) driver.Store {
		planted := m
		planted.Store = s
		return &planted
	}
}

func (m *mutant) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	l, sent, err := m.Store.Grant(ctx, spec)
	if err != nil {
		return nil, sent, err
	}
	return &mutantLease{l, m}, sent.Add(m.late), nil
}

func (m *mutant) Watch(ctx context.Context, name string, f func(driver.Queue) error) error {
	if m.watch != nil {
		return m.watch(ctx, m.Store, name, f)
	}
	return m.Store.Watch(ctx, name, f)
}

func (m *mutant) SetLimit(ctx context.Context, name string, from, to driver.Limit) error {
	if m.limit != nil {
		return m.limit(ctx, m.Store, name, from, to)
	}
	return m.Store.SetLimit(ctx, name, from, to)
}

func (l *mutantLease) Renew(ctx context.Context) error {
	if f := l.m.lease.renew; f != nil {
		return f(l)
	}
	return l.Lease.Renew(ctx)
}

func (l *mutantLease) Watch(ctx context.Context) error {
	if f := l.m.lease.watch; f != nil {
		return f(ctx, l)
	}
	return l.Lease.Watch(ctx)
}

func (l *mutantLease) Revoke(ctx context.Context) error {
	if f := l.m.lease.revoke; f != nil {
		return f(ctx, l)
	}
	return l.Lease.Revoke(ctx)
}

func (l *mutantLease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	if f := l.m.lease.join; f != nil {
		return f(ctx, l, c)
	}
	return l.Lease.Join(ctx, c)
}

func (l *mutantLease) Resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	if f := l.m.lease.resolve; f != nil {
		return f(ctx, l, c)
	}
	return l.Lease.Resolve(ctx, c)
}

func (l *mutantLease) Wait(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	if f := l.m.lease.wait; f != nil {
		return f(ctx, l, v, on)
	}
	return l.Lease.Wait(ctx, v, on)
}

func (l *mutantLease) Look(ctx context.Context, e driver.Entry) (driver.View, error) {
	if f := l.m.lease.look; f != nil {
		return f(ctx, l, e)
	}
	return l.Lease.Look(ctx, e)
}

func (l *mutantLease) Update(ctx context.Context, e driver.Entry, value string) (driver.Entry, error) {
	if f := l.m.lease.update; f != nil {
		return f(ctx, l, e, value)
	}
	return l.Lease.Update(ctx, e, value)
}

func (l *mutantLease) Leave(ctx context.Context, e driver.Entry) error {
	if f := l.m.lease.leave; f != nil {
		return f(ctx, l, e)
	}
	return l.Lease.Leave(ctx, e)
}

func (l *mutantLease) Entries(ctx context.Context) ([]driver.Entry, error) {
	if l.m.lease.entriesOff {
		return nil, errors.New("not now")
	}
	return l.Lease.Entries(ctx)
}

// own returns the entry of this lease in e's queue, whatever its identity.
func (l *mutantLease) own(ctx context.Context, e driver.Entry) driver.Entry {
	q, err := l.m.Read(ctx, e.Name, 0)
	if err != nil {
		return e
	}
	if i := slices.IndexFunc(q.Entries, func(x driver.Entry) bool { return x.Lease == l.ID() }); i >= 0 {
		return q.Entries[i]
	}
	return e
}

var bugs = []bug{
	{"leaves without identity", plant(mutant{lease: lies{
		leave: func(ctx context.Context, l *mutantLease, e driver.Entry) error {
			return l.Lease.Leave(ctx, l.own(ctx, e))
		},
	}}), []string{"StaleLeaveKeepsNewEntry", "LateRequestAtEveryStepOfCampaign"}},

	{"looks without identity", plant(mutant{lease: lies{
		look: func(ctx context.Context, l *mutantLease, e driver.Entry) (driver.View, error) {
			return l.Lease.Look(ctx, l.own(ctx, e))
		},
	}}), []string{"StaleLeaveKeepsNewEntry"}},

	{"does not leave", plant(mutant{lease: lies{
		leave: func(context.Context, *mutantLease, driver.Entry) error { return nil },
	}}), []string{"SessionsNeverOverlap", "ReleaseIsIdempotent", "CancelDuringEveryStepOfContendedLock"}},

	{"adopts nothing after a lost reply", plant(mutant{lease: lies{
		resolve: func(context.Context, *mutantLease, driver.Claim) (driver.View, error) {
			return driver.View{}, driver.ErrEntryGone
		},
	}}), []string{"ResolveFindsTheEntryMade", "LostReplyAtEveryStepOfLock", "LostReplyAtEveryStepOfTryLock",
		"LostReplyAtEveryStepOfCampaign", "CancelDuringEveryStepOfLock"}},

	{"does not fence a join resolved as gone", plant(mutant{lease: lies{
		resolve: func(ctx context.Context, l *mutantLease, c driver.Claim) (driver.View, error) {
			q, err := l.m.Read(ctx, c.Name, 0)
			if err != nil {
				return driver.View{}, err
			}
			if i := slices.IndexFunc(q.Entries, func(e driver.Entry) bool { return e.ID == c.ID }); i >= 0 {
				return l.Lease.Look(ctx, q.Entries[i])
			}
			return driver.View{}, driver.ErrEntryGone
		},
	}}), []string{"LateJoinNeverApplies", "LateRequestAtEveryStepOfLock", "LateRequestAtEveryStepOfCampaign"}},

	{"wait returns at once as if gone", plant(mutant{lease: lies{
		wait: func(_ context.Context, _ *mutantLease, v driver.View, _ driver.Obstacles) (driver.View, error) {
			v.Ahead = nil
			return v, nil
		},
	}}), []string{"WaitEndsWithItsEntryAlone", "GoroutinesOfOneSessionNeverOverlap", "SessionsNeverOverlap",
		"NothingIsReentrant", "NamePrefixesDoNotInterfere", "ExpiryWhileWaitingJoinsAgainAtTheEnd"}},

	{"wait takes its predecessor for the only one ahead", plant(mutant{lease: lies{
		wait: func(ctx context.Context, l *mutantLease, v driver.View, on driver.Obstacles) (driver.View, error) {
			v, err := l.Lease.Wait(ctx, v, on)
			v.Ahead = nil
			return v, err
		},
	}}), []string{"PredecessorThatGivesUpAdmitsNobody", "MiddleWaiterThatDiesAdmitsNobody", "EntryRemovedWhileWaitingJoinsAgain"}},

	{"wait misses what happened before it began", plant(mutant{lease: lies{
		wait: func(ctx context.Context, l *mutantLease, v driver.View, on driver.Obstacles) (driver.View, error) {
			if now, err := l.Lease.Look(ctx, v.Me); err == nil && len(now.Ahead) == 0 {
				<-ctx.Done()
				return v, ctx.Err()
			}
			return l.Lease.Wait(ctx, v, on)
		},
	}}), []string{"WaitMissesNothing"}},

	{"wait does not see changes", plant(mutant{lease: lies{
		wait: func(ctx context.Context, l *mutantLease, v driver.View, on driver.Obstacles) (driver.View, error) {
			for {
				now, err := l.Lease.Wait(ctx, v, on)
				if err != nil || len(now.Ahead) == 0 || now.Ahead[len(now.Ahead)-1].ID != on.Entries[0].ID {
					return now, err
				}
				on.Entries = now.Ahead[len(now.Ahead)-1:]
			}
		},
	}}), []string{"WaitSeesAChange"}},

	{"wait does not see that its own entry is gone", plant(mutant{lease: lies{
		wait: func(ctx context.Context, l *mutantLease, v driver.View, on driver.Obstacles) (driver.View, error) {
			now, err := l.Lease.Wait(ctx, v, on)
			if errors.Is(err, driver.ErrEntryGone) {
				v.Ahead = nil
				return v, nil
			}
			return now, err
		},
	}}), []string{"WaitKnowsThatItsOwnEntryIsGone"}},

	{"wait does not end with its context", plant(mutant{lease: lies{
		wait: func(ctx context.Context, l *mutantLease, v driver.View, on driver.Obstacles) (driver.View, error) {
			return l.Lease.Wait(context.WithoutCancel(ctx), v, on)
		},
	}}), []string{"DriverReturnsWhenItsContextEnds", "PredecessorThatGivesUpAdmitsNobody", "CancelWhileFrozenReturnsPromptly"}},

	{"ignores Admit", plant(mutant{lease: lies{
		join: func(ctx context.Context, l *mutantLease, c driver.Claim) (driver.View, error) {
			c.Admit = nil
			return l.Lease.Join(ctx, c)
		},
	}}), []string{"AdmitIsPartOfTheJoin", "TryLockDelaysNobody", "TryLockAdmitsOne"}},

	{"asks Admit before the join", plant(mutant{lease: lies{
		join: func(ctx context.Context, l *mutantLease, c driver.Claim) (driver.View, error) {
			if admit := c.Admit; admit != nil {
				q, err := l.m.Read(ctx, c.Name, 0)
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
	}}), []string{"AdmitIsPartOfTheJoin"}},

	{"admits where nobody holds but somebody waits", plant(mutant{lease: lies{
		join: func(ctx context.Context, l *mutantLease, c driver.Claim) (driver.View, error) {
			if admit := c.Admit; admit != nil {
				c.Admit = func(v driver.View) bool { return admit(v) || len(v.Ahead) == 1 }
			}
			return l.Lease.Join(ctx, c)
		},
	}}), []string{"TryLockYieldsToWaiters", "TryLockAdmitsOne"}},

	{"update stores nothing", plant(mutant{lease: lies{
		update: func(_ context.Context, _ *mutantLease, e driver.Entry, value string) (driver.Entry, error) {
			e.Value = value
			e.Version++
			return e, nil
		},
	}}), []string{"UpdateKeepsPlaceAndToken", "LeaderIsWhoWasElected", "ObserversSeeEachLeaderInOrder"}},

	{"update of an old entry is refused", plant(mutant{lease: lies{
		update: func(ctx context.Context, l *mutantLease, e driver.Entry, value string) (driver.Entry, error) {
			if now, err := l.Lease.Look(ctx, e); err == nil && now.Me.Version != e.Version {
				return now.Me, nil
			}
			return l.Lease.Update(ctx, e, value)
		},
	}}), []string{"OvertakenUpdateHasNoEffect"}},

	{"renewal does nothing", plant(mutant{lease: lies{
		renew: func(*mutantLease) error { return nil },
	}}), []string{"LeaseOutlivesItsTTLWhileRenewed", "LostRenewalIsTriedAgain"}},

	{"lease watch tells nothing", plant(mutant{lease: lies{
		watch: func(ctx context.Context, _ *mutantLease) error { <-ctx.Done(); return ctx.Err() },
	}}), []string{"LeaseWatchTellsOfTheEnd", "DoReportsALossEvenIfTheFunctionReturnsNil", "RunNeverOverlapsItself"}},

	{"revokes nothing", plant(mutant{lease: lies{
		revoke: func(context.Context, *mutantLease) error { return nil },
	}}), []string{"RevokeIsIdempotent", "CloseCancelsGrants", "NothingIsLeftBehind", "CloseWithDoneContextCleansUp"}},

	{"entries are not listed", plant(mutant{lease: lies{entriesOff: true}}),
		[]string{"LeaseKnowsItsEntries", "EntryRemovedWhileHoldingIsALoss"}},

	{"grant is dated at its receipt", plant(mutant{late: 100 * time.Millisecond}),
		[]string{"LeaseOutlivesItsTTLWhileRenewed", "EntriesGoWithTheLease"}},

	{"watch leaves the present state out", plant(mutant{
		watch: func(ctx context.Context, s driver.Store, name string, f func(driver.Queue) error) error {
			first := true
			return s.Watch(ctx, name, func(q driver.Queue) error {
				if first {
					first = false
					return nil
				}
				return f(q)
			})
		},
	}), []string{"WatchShowsThePresentStateFirst", "WatchEndsWithItsFunction", "QueueYieldsThePresentStateFirst",
		"ObserversSeeEachLeaderInOrder"}},

	{"watch misses empty queues", plant(mutant{
		watch: func(ctx context.Context, s driver.Store, name string, f func(driver.Queue) error) error {
			return s.Watch(ctx, name, func(q driver.Queue) error {
				if len(q.Entries) == 0 {
					return nil
				}
				return f(q)
			})
		},
	}), []string{"WatchShowsThePresentStateFirst", "QueueYieldsThePresentStateFirst", "ObserversSeeEachLeaderInOrder"}},

	{"joins a queue with any limit", plant(mutant{lease: lies{
		join: func(ctx context.Context, l *mutantLease, c driver.Claim) (driver.View, error) {
			v, err := l.Lease.Join(ctx, c)
			if e, ok := errors.AsType[*driver.LimitError](err); ok && e.Limit > 0 {
				c.Limit = e.Limit
				return l.Lease.Join(ctx, c)
			}
			return v, err
		},
	}}), []string{"LimitIsThatOfTheQueue", "OtherLimitIsRefusedWhileInUse", "GrowingLetsInWhoFits"}},

	{"sets a limit that has changed", plant(mutant{
		limit: func(ctx context.Context, s driver.Store, name string, _, to driver.Limit) error {
			now, err := s.Read(ctx, name, 0)
			if err != nil {
				return err
			}
			return s.SetLimit(ctx, name, now.Limit, to)
		},
	}), []string{"SetLimitIsGuarded"}},

	{"forgets who holds when the limit changes", plant(mutant{
		limit: func(ctx context.Context, s driver.Store, name string, from, to driver.Limit) error {
			to.Through = 0
			return s.SetLimit(ctx, name, from, to)
		},
	}), []string{"SetLimitIsGuarded", "WaitSeesTheLimitChange", "ShrinkingKnowsHoldersWithoutStamp"}},

	{"waits for one of several", plant(mutant{lease: lies{
		wait: func(ctx context.Context, l *mutantLease, v driver.View, on driver.Obstacles) (driver.View, error) {
			on.Entries = on.Entries[:1]
			return l.Lease.Wait(ctx, v, on)
		},
	}}), []string{"WaitForSeveralEndsWithAny", "AnyReleaseLetsTheFirstIn"}},

	{"does not wait for the limit", plant(mutant{lease: lies{
		wait: func(ctx context.Context, l *mutantLease, v driver.View, on driver.Obstacles) (driver.View, error) {
			on.Limit = false
			return l.Lease.Wait(ctx, v, on)
		},
	}}), []string{"WaitSeesTheLimitChange", "GrowingLetsInWhoFits", "WaiterForMoreThanTheNewLimitIsTold"}},

	{"shows the nearest ahead alone", plant(mutant{lease: lies{
		join: func(ctx context.Context, l *mutantLease, c driver.Claim) (driver.View, error) {
			v, err := l.Lease.Join(ctx, c)
			v.Ahead = v.Ahead[max(0, len(v.Ahead)-1):]
			return v, err
		},
	}}), []string{"SharedAndPermitsSeeAllAhead", "PermitsNeverExceedTheLimit"}},

	{"tokens decrease", func(s driver.Store) driver.Store { return &mirror{s} },
		[]string{"JoinAppends", "TokensIncreaseAlsoAfterTheQueueWasEmpty", "TokensStrictlyIncrease", "SessionsNeverOverlap"}},
}
