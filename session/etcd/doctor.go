package etcd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/session/driver"
)

const (
	// leastMinor is that of the oldest etcd 3 that has all that is asked of it.
	leastMinor = 4

	// tightSpace is the part of the quota, in percent, from which one should do something.
	tightSpace = 80

	// longHistory is how many revisions a cluster has that is never compacted.
	longHistory = 100_000
)

// Examine implements driver.Doctor.
func (s *store) Examine(ctx context.Context) iter.Seq[driver.Finding] {
	return func(yield func(driver.Finding) bool) {
		v := s.visit(ctx)
		leader := v.leader()
		if !yield(v.version()) || !yield(v.space()) || !yield(leader) || leader.Verdict == driver.Failure {
			return // the rest only a leader could tell
		}
		_ = yield(s.members(ctx)) &&
			yield(driver.Finding{Check: "clock", Verdict: driver.Unknown,
				Detail: "not checked: etcd has no clock that one can ask, and leases run by the leader's monotonic one"}) &&
			yield(s.alarms(ctx)) &&
			yield(s.compaction(ctx, longHistory)) &&
			yield(s.authentication(ctx))
	}
}

// A visit is what each endpoint says of itself.
type visit struct {
	answers map[string]*clientv3.StatusResponse
	silent  map[string]error
}

// visit asks all at once: those that are silent are waited for.
func (s *store) visit(ctx context.Context) visit {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	v := visit{map[string]*clientv3.StatusResponse{}, map[string]error{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, e := range s.client.Endpoints() {
		wg.Go(func() {
			resp, err := s.client.Status(ctx, e)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				v.silent[e] = err
			} else {
				v.answers[e] = resp
			}
		})
	}
	wg.Wait()
	return v
}

func (v visit) version() driver.Finding {
	f := driver.Finding{Check: "version", Verdict: driver.Fine}
	versions := map[string]bool{}
	for _, resp := range v.answers {
		versions[resp.Version] = true
	}
	f.Detail = "etcd " + strings.Join(slices.Sorted(maps.Keys(versions)), " and ")
	for version := range versions {
		if !supported(version) {
			f.Verdict, f.Advice = driver.Failure, fmt.Sprintf("upgrade the servers: 3.%d or later is needed", leastMinor)
		}
	}
	if len(v.silent) > 0 {
		silent := slices.Sorted(maps.Keys(v.silent))
		f.Detail += fmt.Sprintf("; no answer from %s: %v", strings.Join(silent, ", "), v.silent[silent[0]])
		if f.Verdict == driver.Fine {
			f.Verdict, f.Advice = driver.Warning, "bring that member back, or take it out of the URL"
		}
		if len(v.answers) == 0 {
			f.Verdict, f.Detail = driver.Unknown, "not checked: "+strings.TrimPrefix(f.Detail, "etcd ; ")
		}
	}
	return f
}

// supported tells whether a version such as 3.5.1 is new enough.
func supported(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	m, _ := strconv.Atoi(major)
	n, _ := strconv.Atoi(minor)
	return m > 3 || m == 3 && n >= leastMinor
}

func (v visit) leader() driver.Finding {
	if len(v.answers) == 0 {
		return driver.Finding{Check: "leader", Verdict: driver.Unknown, Detail: "not checked: no member answers"}
	}
	var with, without []string
	leader, term := uint64(0), uint64(0)
	for e, resp := range v.answers {
		if resp.Leader == 0 {
			without = append(without, e)
			continue
		}
		with = append(with, e)
		if resp.RaftTerm >= term {
			leader, term = resp.Leader, resp.RaftTerm
		}
	}
	f := driver.Finding{Check: "leader", Verdict: driver.Fine, Detail: fmt.Sprintf("member %x in term %d", leader, term)}
	slices.Sort(without)
	switch {
	case len(with) == 0:
		f.Verdict, f.Detail = driver.Failure, "none: a majority of the members is missing, or cannot be reached by the others"
		f.Advice = "bring members back: meanwhile nothing is granted, and what is held is lost within the TTL"
	case len(without) > 0:
		f.Verdict, f.Detail = driver.Warning, f.Detail+"; unknown to "+strings.Join(without, ", ")
		f.Advice = "look whether that member is cut off from the others"
	}
	return f
}

func (s *store) members(ctx context.Context) driver.Finding {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	resp, err := s.client.MemberList(ctx)
	if err != nil {
		return driver.Unseen("members", recognised(err))
	}
	voters, learners := 0, 0
	for _, m := range resp.Members {
		if m.IsLearner {
			learners++
		} else {
			voters++
		}
	}
	f := driver.Finding{Check: "members", Verdict: driver.Fine,
		Detail: fmt.Sprintf("%d, of which %d may be lost", voters, (voters-1)/2)}
	if learners > 0 {
		f.Detail += fmt.Sprintf("; and %d learning", learners)
	}
	if voters%2 == 0 {
		f.Verdict, f.Advice = driver.Warning, "use an odd number: an even one survives no more failures than one less, and has more to fail"
	}
	return f
}

func (s *store) alarms(ctx context.Context) driver.Finding {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	resp, err := s.client.AlarmList(ctx)
	if err != nil {
		return driver.Unseen("alarms", recognised(err))
	}
	f := driver.Finding{Check: "alarms", Verdict: driver.Fine, Detail: "none"}
	var raised []string
	for _, a := range resp.Alarms {
		raised = append(raised, fmt.Sprintf("%v at member %x", a.Alarm, a.MemberID))
		f.Verdict = driver.Failure
		switch a.Alarm {
		case pb.AlarmType_NOSPACE:
			f.Advice = "compact, defragment each member, then etcdctl alarm disarm; and raise --quota-backend-bytes if that was not it: meanwhile nobody can join"
		default:
			f.Advice = "replace that member's data: it differs from the others'"
		}
	}
	if len(raised) > 0 {
		f.Detail = strings.Join(raised, ", ")
	}
	return f
}

// space is that of the member which has used most of it.
func (v visit) space() driver.Finding {
	f := driver.Finding{Check: "space", Verdict: driver.Unknown, Detail: "not checked: no member answers"}
	worst := int64(-1)
	for _, resp := range v.answers {
		if resp.DbSize <= worst {
			continue
		}
		worst = resp.DbSize
		size := fmt.Sprintf("%.1f MiB in the database, %.1f in use", mebibytes(resp.DbSize), mebibytes(resp.DbSizeInUse))
		f = driver.Finding{Check: "space", Verdict: driver.Fine, Detail: size}
		switch quota := resp.DbSizeQuota; {
		case quota <= 0:
			f.Detail += "; the quota is not visible (before etcd 3.6, or none)"
		default:
			f.Detail += fmt.Sprintf(", of a quota of %.1f", mebibytes(quota))
			if resp.DbSize*100 >= quota*tightSpace {
				f.Verdict, f.Advice = driver.Warning, "compact and defragment, or raise --quota-backend-bytes: at the quota nobody can join"
			}
		}
	}
	return f
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// compaction tells whether anybody compacts: the first revision can be read until
// somebody does. How often it is done etcd does not tell.
func (s *store) compaction(ctx context.Context, long int64) driver.Finding {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	f := driver.Finding{Check: "compaction", Verdict: driver.Fine, Detail: "the history has been compacted"}
	resp, err := s.client.Get(ctx, s.keys.limit(""), clientv3.WithRev(1), clientv3.WithCountOnly())
	if err = recognised(err); errors.Is(err, rpctypes.ErrCompacted) {
		return f
	} else if err != nil {
		return driver.Unseen("compaction", err)
	}
	f.Detail = fmt.Sprintf("not yet, in %d revisions", resp.Header.Revision)
	if resp.Header.Revision > long {
		f.Verdict, f.Advice = driver.Warning, "set --auto-compaction-retention=1h: each grant adds to the history, until the quota is used up"
	}
	return f
}

func (s *store) authentication(ctx context.Context) driver.Finding {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	resp, err := s.client.AuthStatus(ctx)
	if err != nil {
		return driver.Unseen("authentication", recognised(err))
	}
	f := driver.Finding{Check: "authentication", Verdict: driver.Fine, Detail: "on"}
	if !resp.Enabled {
		f.Detail = "off: whoever can connect may take and break any lock"
		var plain []string
		for _, e := range s.client.Endpoints() {
			if host, ok := strings.CutPrefix(e, "http://"); ok {
				plain = append(plain, host)
			}
		}
		if !storeurl.Loopback(plain) {
			f.Verdict, f.Advice = driver.Warning, "enable authentication, or have clients show certificates"
		}
	}
	return f
}
