package etcd_test

import (
	"net"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdembed "go.etcd.io/etcd/server/v3/embed"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/embed"
	"github.com/fairlead-go/fairlead/session/etcd"
)

// noClock is what no examination of etcd sees.
var noClock = map[string]driver.Verdict{"clock": driver.Unknown}

func TestExaminationOfAHealthyServerFindsNothingWrong(t *testing.T) {
	s := start(t, embed.Config{})
	found := drivertest.ExamineAt(t, s.Endpoint())
	drivertest.ExpectVerdicts(t, found, noClock)
	for check, says := range map[string]string{
		"version": "etcd 3.", "leader": "member ", "members": "1, of which 0", "alarms": "none", "space": "quota of 2048.0",
		"compaction": "not yet", "authentication": "off",
	} {
		if !strings.Contains(found[check].Detail, says) {
			t.Errorf("%+v does not say %q", found[check], says)
		}
	}
	if resp, err := raw(t, s, "", "").Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || resp.Count != 0 {
		t.Errorf("it has left %v keys, %v", resp, err)
	}
}

func TestExaminationFindsThatThereIsNoSpace(t *testing.T) {
	s := start(t, embed.Config{Adjust: func(c *etcdembed.Config) { c.QuotaBackendBytes = 4 << 20 }})
	exhaust(t, raw(t, s, "", ""))
	found := drivertest.ExamineAt(t, s.Endpoint())
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"clock": driver.Unknown, "alarms": driver.Failure, "space": driver.Warning})
	if f := found["alarms"]; !strings.Contains(f.Detail, "NOSPACE") || !strings.Contains(f.Advice, "disarm") {
		t.Errorf("it says %+v", f)
	}
	relieve(t, raw(t, s, "", ""))
	found = drivertest.ExamineAt(t, s.Endpoint())
	drivertest.ExpectVerdicts(t, found, noClock)
	if f := found["compaction"]; !strings.Contains(f.Detail, "has been compacted") {
		t.Errorf("after a compaction it says %+v", f)
	}
}

func TestExaminationFindsCorruptionAndOpenDoors(t *testing.T) {
	s := start(t, embed.Config{})
	found := drivertest.ExamineAt(t, strings.Replace(s.Endpoint(), "127.0.0.1", "0.0.0.0", 1)) // which is this machine, and no loopback address
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"clock": driver.Unknown, "authentication": driver.Warning})

	alarm := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_CORRUPT}
	if _, err := pb.NewMaintenanceClient(raw(t, s, "", "").ActiveConnection()).Alarm(t.Context(), alarm); err != nil {
		t.Fatal(err)
	}
	found = drivertest.ExamineAt(t, s.Endpoint())
	if f := found["alarms"]; f.Verdict != driver.Failure || !strings.Contains(f.Detail, "CORRUPT") || !strings.Contains(f.Advice, "replace") {
		t.Errorf("it says %+v", f)
	}
}

func TestExaminationFindsThatNobodyCompacts(t *testing.T) {
	s := start(t, embed.Config{})
	admin := raw(t, s, "", "")
	st := connect(t, s.Endpoint(), nil, nil)
	defer st.Close()
	var rev int64
	for range 20 {
		resp, err := admin.Put(t.Context(), "x", "y")
		if err != nil {
			t.Fatal(err)
		}
		rev = resp.Header.Revision
	}
	if f := etcd.Compaction(t.Context(), st, rev); f.Verdict != driver.Fine {
		t.Errorf("a history that is not long: %+v", f)
	}
	if f := etcd.Compaction(t.Context(), st, rev-1); f.Verdict != driver.Warning || !strings.Contains(f.Advice, "--auto-compaction-retention") {
		t.Errorf("a long history: %+v", f)
	}
	if _, err := admin.Compact(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	if f := etcd.Compaction(t.Context(), st, 1); f.Verdict != driver.Fine {
		t.Errorf("one that was compacted: %+v", f)
	}
}

// With no more rights than a session needs nothing is seen that is not there.
func TestExaminationByAUserWithTheLeastRights(t *testing.T) {
	s := start(t, embed.Config{Adjust: func(c *etcdembed.Config) { c.BcryptCost = 4 }})
	protect(t, raw(t, s, "", ""), "/team")
	found := drivertest.ExamineAt(t, "etcd://team:team-secret@"+s.Addr()+"/team")
	drivertest.ExpectVerdicts(t, found, noClock)
	if f := found["authentication"]; f.Detail != "on" {
		t.Errorf("it says %+v", f)
	}
}

func TestExaminationNamesAMemberThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	found := drivertest.ExamineAt(t, "etcd://"+server.Addr()+","+dead)
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"clock": driver.Unknown, "version": driver.Warning})
	if f := found["version"]; !strings.Contains(f.Detail, dead) {
		t.Errorf("it says %+v", f)
	}
}

func TestVersionsThatAreSupported(t *testing.T) {
	for version, want := range map[string]bool{"3.4.0": true, "3.7.3": true, "3.10.0": true, "4.0.0": true, "3.3.25": false, "2.3.8": false, "": false} {
		if etcd.Supported(version) != want {
			t.Errorf("%q is supported: %t", version, !want)
		}
	}
}
