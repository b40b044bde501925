package etcd_test

import (
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/tests/v3/framework/integration"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

// examine examines members. A member that is silent is waited for as long as the TTL.
func examine(t *testing.T, hosts string) map[string]driver.Finding {
	t.Helper()
	return drivertest.ExamineAt(t, "etcd://"+hosts+"?ttl=3s")
}

func says(t *testing.T, f driver.Finding, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(f.Detail, part) {
			t.Errorf("%+v does not say %q", f, part)
		}
	}
}

func TestExaminationFindsMembersThatAreMissing(t *testing.T) {
	c := startCluster(t)
	noClock := map[string]driver.Verdict{"clock": driver.Unknown}
	found := examine(t, addrs(c))
	drivertest.ExpectVerdicts(t, found, noClock)
	says(t, found["members"], "3, of which 1 may be lost")

	ctx := bounded(t)
	fourth, err := c.Client(0).MemberAdd(ctx, []string{"http://127.0.0.1:1"})
	for err != nil && ctx.Err() == nil { // the members have to have known one another for some seconds
		fourth, err = c.Client(0).MemberAdd(ctx, []string{"http://127.0.0.1:1"})
	}
	if err != nil {
		t.Fatal(err)
	}
	found = examine(t, addrs(c))
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"clock": driver.Unknown, "members": driver.Warning})
	says(t, found["members"], "4, of which 1 may be lost")
	if _, err := c.Client(0).MemberRemove(bounded(t), fourth.Member.ID); err != nil {
		t.Fatal(err)
	}

	// An ID is a hash of the address and the second, and one that was removed is not given again.
	learner, err := c.Client(0).MemberAddAsLearner(bounded(t), []string{"http://127.0.0.1:2"})
	if err != nil {
		t.Fatal(err)
	}
	found = examine(t, addrs(c))
	drivertest.ExpectVerdicts(t, found, noClock)
	says(t, found["members"], "3, of which 1 may be lost; and 1 learning")
	if _, err := c.Client(0).MemberRemove(bounded(t), learner.Member.ID); err != nil {
		t.Fatal(err)
	}

	all := addrs(c)
	isolated := c.Members[(c.WaitLeader(t)+1)%3]
	others := slices.DeleteFunc(slices.Clone(c.Members), func(m *integration.Member) bool { return m == isolated })
	isolated.InjectPartition(t, others...)
	for range 20 { // until it has noticed
		if found = examine(t, all); found["leader"].Verdict == driver.Warning {
			break
		}
	}
	if f := found["leader"]; f.Verdict != driver.Warning || !strings.Contains(f.Advice, "cut off") {
		t.Errorf("with a member that is cut off it says %+v", f)
	}
	says(t, found["leader"], "unknown to http://"+addrOf(isolated))
	isolated.RecoverPartition(t, others...)
	c.WaitMembersForLeader(t, c.Members)

	c.Members[2].Stop(t)
	c.WaitMembersForLeader(t, c.Members[:2])
	found = examine(t, all)
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"clock": driver.Unknown, "version": driver.Warning})
	says(t, found["version"], "no answer from http://"+addrOf(c.Members[2]))

	c.Members[1].Stop(t)
	for range 20 { // until the last one has noticed
		if found = examine(t, all); found["leader"].Verdict == driver.Failure {
			break
		}
	}
	if f := found["leader"]; f.Verdict != driver.Failure {
		t.Errorf("without a majority it says %+v", f)
	}
	says(t, found["leader"], "none: a majority of the members is missing")
}
