package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/postgres"
)

// A jam keeps all lanes of a store busy, with joins of a queue that somebody has locked.
type jam struct {
	t    testing.TB
	p    *party
	ns   string
	tx   pgx.Tx
	work sync.WaitGroup // of the jammed and of the joins
}

func newJam(t testing.TB, p *party, ns string) *jam {
	t.Helper()
	j := &jam{t: t, p: p, ns: ns, tx: lockQueue(t, ns, "jam")}
	n := postgres.MostLanes(p.store)
	for range n {
		j.work.Go(func() {
			if _, err := p.Join(bounded(t), claim("jam")); err != nil {
				t.Errorf("join the jam: %v", err)
			}
		})
	}
	eventually(t, func() error {
		var got int
		const waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid::bigint << 32 | objid::bigint = "
		err := j.tx.QueryRow(bounded(t), waiting+postgres.QueueLock(ns), "jam").Scan(&got)
		if err == nil && got != n {
			err = fmt.Errorf("%d wait for the queue's lock, want %d", got, n)
		}
		return err
	})
	return j
}

// lockQueue locks a queue until the transaction ends.
func lockQueue(t testing.TB, ns, queue string) pgx.Tx {
	t.Helper()
	tx, err := admin(t, server).Begin(bounded(t))
	if err == nil {
		_, err = tx.Exec(bounded(t), "SELECT pg_advisory_xact_lock("+postgres.QueueLock(ns)+")", queue)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// gathered waits until that many calls wait for a lane.
func (j *jam) gathered(n int) {
	j.t.Helper()
	eventually(j.t, func() error {
		if got := postgres.Gathered(j.p.store); got != n {
			return fmt.Errorf("%d calls are gathered, want %d", got, n)
		}
		return nil
	})
}

func (j *jam) clear() { rollback(j.t, j.tx) }

func rollback(t testing.TB, tx pgx.Tx) {
	t.Helper()
	if err := tx.Rollback(bounded(t)); err != nil {
		t.Error(err)
	}
}

// start begins a join.
func (j *jam) start(ctx context.Context, by driver.Lease, c driver.Claim) <-chan error {
	ended := make(chan error, 1)
	j.work.Go(func() {
		_, err := by.Join(ctx, c)
		ended <- err
	})
	return ended
}

// Those that find no connection go in one transaction, but never two of one queue, and
// the lease is kept meanwhile; however the database is reached.
func TestJoinsThatFindNoConnectionAreCommittedTogether(t *testing.T) {
	t.Parallel()
	plain := executor(t, "batched")
	executor(t, "batchedstrict")
	strict := executorOf(t, "batchedstrict")
	execute(t, "ALTER ROLE batchedstrict SET default_transaction_isolation = 'serializable'")
	executor(t, "batchedpool")
	pooled := bouncer(t, pgserver.PoolTransaction, "batchedpool").URL("batchedpool", "secret", "postgres")
	for ns, url := range map[string]string{
		"batched": with(t, plain, "namespace", "batched"), "batchedstrict": with(t, strict, "namespace", "batchedstrict"),
		"batchedpool": with(t, pooled, "namespace", "batchedpool", "poll", "20ms"),
	} {
		t.Run(ns, func(t *testing.T) {
			p := enter(t, url, patience, nil)
			j := newJam(t, p, ns)
			const queues, each = 10, 2
			for i := range queues * each {
				j.start(bounded(t), p, claim(fmt.Sprint("q", i%queues)))
			}
			j.gathered(queues * each)
			if err := p.Renew(bounded(t)); err != nil {
				t.Errorf("renew: %v", err)
			}
			j.clear()
			j.work.Wait()
			count := func(what string) int64 {
				return ask[int64](t, "SELECT "+what+" FROM "+ns+".entry WHERE queue LIKE 'q%'")
			}
			if n := count("count(*)"); n != queues*each {
				t.Errorf("%d entries, want %d", n, queues*each)
			}
			if n := count("count(DISTINCT (queue, xmin::text))"); n != queues*each {
				t.Errorf("two entries of one queue are of one transaction: %d, want %d", n, queues*each)
			}
			// Of the two of a queue, which are in two batches, one may meet the other's lock,
			// and then goes alone.
			if n := count("count(DISTINCT xmin::text)"); n > each+queues {
				t.Errorf("%d transactions for %d joins", n, queues*each)
			}
		})
	}
}

// Who may be answered at length goes alone: a process that stops while it reads an answer
// keeps what the server has locked for it.
func TestJoinsWithLongAnswersGoAlone(t *testing.T) {
	t.Parallel()
	p := enter(t, namespace(t, "batchlong"), patience, nil)
	j := newJam(t, p, "batchlong")
	for i := range 3 {
		j.start(bounded(t), p, claim(fmt.Sprint("short", i)))
		reader, candidate := claim(fmt.Sprint("readers", i)), claim(fmt.Sprint("leader", i))
		reader.Mode, candidate.Kind, candidate.Value = driver.Shared, "election", "here"
		j.start(bounded(t), p, reader)
		j.start(bounded(t), p, candidate)
	}
	j.gathered(3)
	j.clear()
	j.work.Wait()
	const alone = `SELECT count(DISTINCT xmin::text) FROM batchlong.entry e WHERE queue ~ '^(readers|leader)'
		AND NOT EXISTS (SELECT FROM batchlong.entry x WHERE x.queue <> e.queue AND x.xmin::text = e.xmin::text)`
	if n := ask[int64](t, alone); n != 6 {
		t.Errorf("%d of 6 were joined in transactions of their own", n)
	}
}

// A batch leaves out a queue that somebody keeps locked, whose own join waits.
func TestBatchDoesNotWaitForAQueueThatIsLocked(t *testing.T) {
	t.Parallel()
	p := enter(t, namespace(t, "batchlock"), patience, nil)
	j := newJam(t, p, "batchlock")
	locked := lockQueue(t, "batchlock", "locked")
	late := j.start(bounded(t), p, claim("locked"))
	j.gathered(1)
	var free []<-chan error
	for i := range 5 {
		free = append(free, j.start(bounded(t), p, claim(fmt.Sprint("free", i))))
	}
	j.gathered(6)
	j.clear()
	for _, ended := range free {
		ends(t, ended, patience/2)
	}
	if n := len(p.queue("locked")); n != 0 {
		t.Errorf("%d entries in the queue that is locked", n)
	}
	rollback(t, locked)
	ends(t, late, patience/2)
	j.work.Wait()
}

// What the server rejects in one call, and a session that has ended, are that call's
// alone.
func TestErrorInABatchIsItsOwn(t *testing.T) {
	t.Parallel()
	p := enter(t, namespace(t, "batcherr"), patience, nil)
	dead, _, err := p.store.Grant(bounded(t), driver.Spec{TTL: patience, Identity: "dead"})
	if err != nil {
		t.Fatal(err)
	}
	for _, poisoned := range []bool{false, true} {
		j := newJam(t, p, "batcherr")
		good := []<-chan error{j.start(bounded(t), p, claim("a")), j.start(bounded(t), p, claim("b"))}
		gone := j.start(bounded(t), dead, claim("c"))
		n := 3
		var bad <-chan error
		if poisoned {
			bad = j.start(bounded(t), p, claim("bad\x00"))
			n++
		}
		j.gathered(n)
		execute(t, "DELETE FROM batcherr.session WHERE id = $1", mustParse(t, dead.ID()))
		j.clear()
		for _, ended := range good {
			ends(t, ended, patience/2)
		}
		if err := <-gone; !errors.Is(err, driver.ErrLeaseGone) {
			t.Errorf("a join under a session that has ended returned %v, want ErrLeaseGone", err)
		}
		if poisoned {
			if err := <-bad; !driver.IsPermanent(err) {
				t.Errorf("a join of a queue that cannot be named so returned %v, want a permanent error", err)
			}
		}
		j.work.Wait()
	}
}

// A join that is given up before it was sent is not sent any more.
func TestJoinThatIsGivenUpWhileGatheredIsNotMade(t *testing.T) {
	t.Parallel()
	p := enter(t, namespace(t, "batchgiveup"), patience, nil)
	j := newJam(t, p, "batchgiveup")
	ctx, cancel := context.WithCancel(bounded(t))
	given := j.start(ctx, p, claim("given"))
	stays := j.start(bounded(t), p, claim("stays"))
	j.gathered(2)
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("Join returned %v, want Canceled", err)
	}
	j.clear()
	ends(t, stays, patience/2)
	j.work.Wait()
	if n := len(p.queue("given")); n != 0 {
		t.Errorf("%d entries of a join that was given up", n)
	}
}

// A join that is given up while its batch is under way is withdrawn for good, whether
// its entry was made or not. Its neighbours are made.
func TestJoinThatIsGivenUpInABatchIsWithdrawn(t *testing.T) {
	t.Parallel()
	link := &drivertest.Link{}
	p := enter(t, namespace(t, "batchleft"), patience, link)
	j := newJam(t, p, "batchleft")
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	c := claim("given")
	given := j.start(ctx, p, c)
	stays := j.start(bounded(t), p, claim("stays"))
	j.gathered(2)
	link.Delay(200 * time.Millisecond)
	j.clear()
	j.gathered(0)
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("Join returned %v, want Canceled", err)
	}
	link.Delay(0)
	if err := p.Withdraw(bounded(t), c); err != nil {
		t.Errorf("withdraw: %v", err)
	}
	ends(t, stays, patience/2)
	j.work.Wait()
	if n := len(p.queue("given")); n != 0 {
		t.Errorf("%d entries of a claim that was withdrawn", n)
	}
}

// Where the reply to a batch is lost no join is made again by itself, and each claim can
// be looked up.
func TestLostReplyOfABatch(t *testing.T) {
	t.Parallel()
	for _, write := range []int{1, 2} { // the statement is prepared first
		t.Run(fmt.Sprint(write), func(t *testing.T) {
			for range 5 { // a sign of life, on the other connection, may come in between
				if loseBatch(t, fmt.Sprint("batchlost", write), write) {
					return
				}
			}
			t.Error("no batch was lost")
		})
	}
}

// loseBatch loses the reply to what a store with a batch to make writes as the n-th
// thing, and reports whether that was of the batch.
func loseBatch(t *testing.T, ns string, n int) bool {
	link := &drivertest.Link{}
	p := enter(t, namespace(t, ns), patience, link)
	j := newJam(t, p, ns)
	claims := []driver.Claim{claim("a"), claim("b"), claim("c")}
	var ended []<-chan error
	for _, c := range claims {
		ended = append(ended, j.start(bounded(t), p, c))
	}
	j.gathered(len(claims))
	link.LoseReply(n)
	j.clear()
	j.work.Wait()
	lost := 0
	for i, c := range claims {
		if err := <-ended[i]; err != nil {
			lost++
		}
		v, err := p.Resolve(bounded(t), c)
		switch n := len(p.queue(c.Name)); {
		case err == nil && (n != 1 || v.Me.ID != c.ID):
			t.Errorf("queue %s has %d entries, and %q was found", c.Name, n, v.Me.ID)
		case err != nil && (n != 0 || !errors.Is(err, driver.ErrEntryGone)):
			t.Errorf("queue %s has %d entries, and Resolve returned %v", c.Name, n, err)
		}
	}
	if lost != 0 && lost != len(claims) {
		t.Errorf("%d of %d joins failed", lost, len(claims))
	}
	if err := p.Revoke(bounded(t)); err != nil {
		t.Error(err)
	}
	return lost > 0
}

// Leaves go together too, and each wakes its waiter.
func TestLeavesOfABatchWakeTheirWaiters(t *testing.T) {
	t.Parallel()
	url := namespace(t, "batchleave")
	p, other := enter(t, url, patience, nil), enter(t, url, patience, nil)
	const queues = 8
	var held []driver.Entry
	var waiting []<-chan error
	for i := range queues {
		held = append(held, p.join(fmt.Sprint("q", i)).Me)
		waiting = append(waiting, other.waiting(other.join(fmt.Sprint("q", i))))
	}
	j := newJam(t, p, "batchleave")
	for _, e := range held {
		j.work.Go(func() {
			if err := p.Leave(bounded(t), e); err != nil {
				t.Errorf("leave: %v", err)
			}
		})
	}
	j.gathered(queues)
	j.clear()
	for _, ended := range waiting {
		ends(t, ended, patience/4)
	}
	j.work.Wait()
	if n := postgres.Unheard(other.store); n > 0 {
		t.Errorf("%d wake-ups were lost", n)
	}
}
