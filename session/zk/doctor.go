package zk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/session/driver"
)

// Examine implements driver.Doctor.
func (s *store) Examine(ctx context.Context) iter.Seq[driver.Finding] {
	return func(yield func(driver.Finding) bool) {
		v := s.visit(ctx)
		if !yield(v.version()) || !yield(v.ensemble()) {
			return
		}
		if !yield(s.timeouts(ctx)) {
			return
		}
		made, containers := s.container(ctx)
		_ = yield(containers) && yield(made.clock()) && yield(s.access(ctx))
	}
}

var (
	errLeaderless = errors.New("it is not serving, as it has no leader")

	// Servers always answer srvr. What is between may not let it through.
	errNotTold = errors.New("no answer to the command srvr that tells the state of a server")
)

// A visit is what each server says of itself.
type visit struct {
	versions, modes []string
	leaders         int // of ensembles; a server alone is one
	silent          []string
	err             error // why one of them is
}

// visit asks all at once: those that are silent are waited for.
func (s *store) visit(ctx context.Context) (v visit) {
	answers, errs := make([]string, len(s.servers)), make([]error, len(s.servers))
	var wg sync.WaitGroup
	for i, addr := range s.servers {
		wg.Go(func() { answers[i], errs[i] = s.srvr(ctx, addr) })
	}
	wg.Wait()
	for i, addr := range s.servers {
		answer, err := answers[i], errs[i]
		if err != nil {
			v.silent, v.err = append(v.silent, addr), err
			continue
		}
		version, mode := line(answer, "Zookeeper version: "), line(answer, "Mode: ")
		version, _, _ = strings.Cut(version, "-")
		if version != "" && !slices.Contains(v.versions, version) {
			v.versions = append(v.versions, version)
		}
		v.modes = append(v.modes, addr+" is "+mode)
		if mode == "leader" || mode == "standalone" {
			v.leaders++
		}
	}
	slices.Sort(v.versions)
	return v
}

// srvr asks one server for its state.
func (s *store) srvr(ctx context.Context, addr string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, min(s.timeout, 5*time.Second))
	defer cancel()
	c, err := s.dial(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "srvr"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(io.LimitReader(c, 64<<10))
	text := string(answer)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case strings.Contains(text, "not currently serving"):
		return "", errLeaderless
	case line(text, "Mode: ") == "" || line(text, "Zookeeper version: ") == "":
		return "", errors.Join(errNotTold, err)
	}
	return text, nil
}

// line returns the rest of the line that begins so.
func line(text, prefix string) string {
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func (v visit) version() driver.Finding {
	if len(v.versions) == 0 {
		return driver.Unseen("version", v.err)
	}
	f := driver.Finding{Check: "version", Verdict: driver.Fine, Detail: "ZooKeeper " + strings.Join(v.versions, " and ")}
	for _, version := range v.versions {
		var major, minor int
		if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil || major < 3 || major == 3 && minor < 5 {
			f.Verdict, f.Advice = driver.Failure, "upgrade the servers: 3.5 or later is needed"
		}
	}
	return f
}

// ensemble is about the servers of the URL, which need not be all there are.
func (v visit) ensemble() driver.Finding {
	switch {
	case len(v.modes) > 0:
	case errors.Is(v.err, errLeaderless):
		return driver.Finding{Check: "ensemble", Verdict: driver.Failure, Detail: fmt.Sprintf("%s: %v", strings.Join(v.silent, ", "), v.err),
			Advice: "bring servers back: without a majority nothing is granted, and what is held is lost within the timeout"}
	default:
		return driver.Unseen("ensemble", v.err)
	}
	f := driver.Finding{Check: "ensemble", Verdict: driver.Fine, Detail: strings.Join(v.modes, ", ")}
	if len(v.silent) > 0 {
		f.Verdict, f.Detail = driver.Warning, fmt.Sprintf("%s; no answer from %s: %v", f.Detail, strings.Join(v.silent, ", "), v.err)
		f.Advice = "bring that server back, or take it out of the URL"
	}
	if v.leaders > 1 {
		f.Verdict, f.Advice = driver.Failure, "these are servers of more than one ensemble: all hosts of a URL have to be of the same one"
	}
	return f
}

// timeouts compares how long the sessions may be that servers grant. A session is never
// asked to become longer than it is, so how short they may be makes no difference.
func (s *store) timeouts(ctx context.Context) driver.Finding {
	longest, errs := make([]time.Duration, len(s.servers)), make([]error, len(s.servers))
	var wg sync.WaitGroup
	for i, addr := range s.servers {
		wg.Go(func() { longest[i], errs[i] = s.longest(ctx, addr) })
	}
	wg.Wait()
	var granted []time.Duration
	var each []string
	for i, addr := range s.servers {
		if errs[i] == nil {
			granted = append(granted, longest[i])
			each = append(each, fmt.Sprintf("%s up to %v", addr, longest[i]))
		}
	}
	if len(granted) == 0 {
		return driver.Unseen("timeouts", errors.Join(errs...))
	}
	f := driver.Finding{Check: "timeouts", Verdict: driver.Fine, Detail: fmt.Sprintf("sessions are granted up to %v", granted[0])}
	if slices.Min(granted) != slices.Max(granted) {
		f.Verdict, f.Detail = driver.Warning, "servers grant sessions of different lengths: "+strings.Join(each, ", ")
		f.Advice = "let all servers have the same maxSessionTimeout: a session that goes on to one which grants it less loses what it holds"
	}
	return f
}

// longest has a server begin the longest session that it grants, and end it again.
func (s *store) longest(ctx context.Context, addr string) (time.Duration, error) {
	const tooLong = 24 * 24 * time.Hour // about as long as can be asked for
	ctx, cancel := context.WithTimeout(ctx, min(s.timeout, 5*time.Second))
	defer cancel()
	c, err := s.dial(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	defer func() { _ = c.Close() }()
	r, err := takeSession(c, 0, make([]byte, passwdSize), tooLong)
	if err == nil && r.session == 0 {
		err = errors.New("it has begun no session")
	}
	if err == nil {
		err = endSession(c)
	}
	return r.timeout, err
}

// passwdSize is the size of what proves that a session is somebody's.
const passwdSize = 16

// A made is a node that was made for the examination, and when.
type made struct {
	at, sent, received time.Time
	err                error
}

func (m made) clock() driver.Finding {
	if m.err != nil {
		return driver.Unseen("clock", m.err)
	}
	return driver.Clock(m.at, m.sent, m.received)
}

// container makes a container and removes it. It shows whether the servers have such nodes
// and whether the user may make them, and the node the leader's clock.
func (s *store) container(ctx context.Context) (m made, f driver.Finding) {
	f = driver.Finding{Check: "containers", Verdict: driver.Fine, Detail: "the servers make them, and remove those that became empty"}
	m, err := s.makeContainer(ctx)
	if m.err = err; err != nil {
		f.Verdict, f.Detail = driver.Failure, s.failed(ctx, "make a container below "+quoted(s.root+"/"), err).Error()
		f.Advice = "ZooKeeper 3.5 or later has them; the user needs the permissions to create and delete below the path of the URL"
	}
	return m, f
}

func (s *store) makeContainer(ctx context.Context) (m made, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	c, err := s.reading(ctx)
	if err != nil {
		return m, err
	}
	path := fmt.Sprintf("%s/.fairlead-doctor-%016x", s.root, rand.Uint64())
	m.sent = time.Now()
	err = s.withDir(ctx, c, s.root, func() error {
		m.sent = time.Now()
		_, err := call(ctx, c, func() (string, error) { return c.CreateContainer(path, nil, zk.FlagContainer, s.acl) })
		m.received = time.Now()
		return err
	})
	if err == nil {
		var n node
		if n, err = c.exists(ctx, path); err == nil {
			m.at = time.UnixMilli(n.stat.Ctime)
		}
	}
	// Also where the answer was lost: the node may be there.
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancelLast()
	_, gone := call(last, c, func() (struct{}, error) { return struct{}{}, c.Delete(path, -1) })
	if errors.Is(gone, zk.ErrNoNode) {
		gone = nil
	}
	return m, errors.Join(err, gone)
}

// access tells who may do what with the nodes.
func (s *store) access(context.Context) driver.Finding {
	f := driver.Finding{Check: "access", Verdict: driver.Fine, Detail: "the nodes are their creator's alone"}
	if slices.ContainsFunc(s.acl, func(a zk.ACL) bool { return a.Scheme == "world" }) {
		f.Detail = "whoever can connect may take and break any lock"
		if !storeurl.Loopback(s.servers) {
			f.Verdict, f.Advice = driver.Warning, "let the nodes be their user's alone, with zk://USER:PASSWORD@…?acl=creator, or keep others from connecting"
		}
	}
	return f
}
