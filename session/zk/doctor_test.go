package zk_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/zk"
)

func TestExaminationOfAHealthyServerFindsNothingWrong(t *testing.T) {
	t.Parallel()
	root := prefix(t)
	found := drivertest.ExamineAt(t, "zk://"+team+"@"+server.Addr()+root+"?acl=creator")
	drivertest.ExpectVerdicts(t, found, nil)
	for check, says := range map[string]string{
		"version": "ZooKeeper 3.", "ensemble": server.Addr() + " is standalone", "clock": "agree", "access": "their creator's alone",
	} {
		if !strings.Contains(found[check].Detail, says) {
			t.Errorf("%+v does not say %q", found[check], says)
		}
	}
	names, _, err := byHand(t, server.Addr(), team).Children(root)
	if errors.Is(err, gozk.ErrNoNode) { // the server has removed the container by now
		err = nil
	}
	if err != nil || len(names) != 0 {
		t.Errorf("it has left %v, %v", names, err)
	}
}

func TestExaminationFindsThatThereIsNoMajority(t *testing.T) {
	t.Parallel()
	e, err := zkserver.StartEnsemble(3, zkserver.Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	servers := e.Servers()
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.Addr())
	}
	found := drivertest.ExamineAt(t, "zk://"+strings.Join(addrs, ","))
	drivertest.ExpectVerdicts(t, found, nil)
	if f := found["ensemble"]; strings.Count(f.Detail, "is leader") != 1 || strings.Count(f.Detail, "is follower") != 2 {
		t.Errorf("it says %+v", f)
	}
	for _, s := range servers[1:] {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	var last driver.Finding
	for deadline := time.Now().Add(patience); last.Verdict != driver.Failure && time.Now().Before(deadline); { // the last one has to notice
		st := connect(t, "zk://"+servers[0].Addr(), &session.Options{TTL: 2 * time.Second}, nil)
		found := drivertest.Examine(t, st)
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		last = found["ensemble"]
	}
	if last.Verdict != driver.Failure || !strings.Contains(last.Detail, "no leader") {
		t.Errorf("it says %+v", last)
	}
}

func TestExaminationNamesAServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	found := drivertest.ExamineAt(t, "zk://"+server.Addr()+","+dead+prefix(t))
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"ensemble": driver.Warning})
	if f := found["ensemble"]; !strings.Contains(f.Detail, dead) {
		t.Errorf("it says %+v", f)
	}
}

func TestExaminationFindsServersThatDoNotBelongTogether(t *testing.T) {
	t.Parallel()
	another, err := zkserver.Start(zkserver.Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(another.Close)
	found := drivertest.ExamineAt(t, "zk://"+team+"@"+server.Addr()+","+another.Addr()+prefix(t)+"?acl=creator")
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"ensemble": driver.Failure})
	if f := found["ensemble"]; !strings.Contains(f.Advice, "more than one ensemble") {
		t.Errorf("it says %+v", f)
	}
}

// They need not be of one ensemble to be compared.
func TestExaminationFindsServersThatGrantSessionsOfDifferentLengths(t *testing.T) {
	t.Parallel()
	another := start(t, zkserver.Config{MaxSessionTimeout: 10 * time.Second})
	found := drivertest.ExamineAt(t, "zk://"+team+"@"+server.Addr()+","+another.Addr()+prefix(t)+"?acl=creator")
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"ensemble": driver.Failure, "timeouts": driver.Warning})
	if f := found["timeouts"]; !strings.Contains(f.Detail, server.Addr()+" up to 40s") || !strings.Contains(f.Detail, another.Addr()+" up to 10s") {
		t.Errorf("it says %+v", f)
	}
}

func TestVersionsThatAreSupported(t *testing.T) {
	for version, want := range map[string]driver.Verdict{"3.4.14": driver.Failure, "3.5.0": driver.Fine, "3.10.1": driver.Fine, "4.0.0": driver.Fine, "": driver.Failure} {
		if f := zk.Versioned(version); f.Verdict != want || (f.Advice != "") != (want == driver.Failure) {
			t.Errorf("%q: %+v, want %s", version, f, want)
		}
	}
}

func TestExaminationFindsOpenDoors(t *testing.T) {
	t.Parallel()
	anywhere := strings.Replace(server.Addr(), "127.0.0.1", "0.0.0.0", 1) // which is this machine, and no loopback address
	found := drivertest.ExamineAt(t, "zk://"+anywhere+prefix(t))
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"access": driver.Warning})
	if f := found["access"]; !strings.Contains(f.Advice, "acl=creator") {
		t.Errorf("it says %+v", f)
	}
}

func TestExaminationFindsThatAUserMayNotMakeNodes(t *testing.T) {
	t.Parallel()
	root := prefix(t)
	if _, err := byHand(t, server.Addr(), team).Create(root, nil, 0, gozk.AuthACL(gozk.PermAll)); err != nil {
		t.Fatal(err)
	}
	found := drivertest.ExamineAt(t, "zk://"+stranger+"@"+server.Addr()+root)
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"containers": driver.Failure, "clock": driver.Unknown})
	if f := found["containers"]; !strings.Contains(f.Detail, "does not allow it") || strings.Contains(f.Detail, "secret") {
		t.Errorf("it says %+v", f)
	}
}
