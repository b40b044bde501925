package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// maxPending bounds the questions on a line that have no answer yet. The server answers them
// one after the other, each renewal with a flush of its own, and notifies in between: what
// more there is had better go through the pool, where many share a flush.
const maxPending = 4

var errOccupied = errors.New("the connection that listens has questions enough to answer")

// A line is a connection that is never idle: it hears notifications, and takes
// questions, renewals above all, one behind the other without waiting for answers.
// So a renewal is one round trip, whatever else goes on, and the connection that
// tells of events is known to work.
type line struct {
	conn   net.Conn
	fe     *pgproto3.Frontend
	hear   func(payload string)
	broken chan struct{} // closed when the line is of no use any more
	once   sync.Once

	writing sync.Mutex // held while a question is written, and put among those pending

	mu      sync.Mutex
	pending []*question // in the order in which they were sent
	err     error       // why the line is broken
}

// A question is one that waits for its answer, a text.
type question struct {
	sent     time.Time
	answered chan struct{}
	text     string
	err      error
}

// newLine makes a line of a connection on which nothing is under way, and which must
// not be used in another way any more. listen has to run.
func newLine(c *pgx.Conn, hear func(payload string)) (*line, error) {
	hc, err := c.PgConn().Hijack()
	if err != nil {
		return nil, err
	}
	return &line{conn: hc.Conn, fe: hc.Frontend, hear: hear, broken: make(chan struct{})}, nil
}

// ask asks a question: a statement with one parameter or none, whose result is one
// value. It blocks until the answer is there, ctx ends or the line breaks; in the last
// two cases the question may have been heard. It fails with errOccupied if that many are waiting
// for an answer.
func (l *line) ask(ctx context.Context, sql string, args ...string) (string, error) {
	q := &question{answered: make(chan struct{})}
	if err := l.send(q, sql, args); err != nil {
		return "", err
	}
	select {
	case <-q.answered:
		return q.text, q.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// isSilent reports whether the oldest question was sent that long ago and has no answer. It
// does not matter whether anybody still waits for one.
func (l *line) isSilent(limit time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending) > 0 && time.Since(l.pending[0].sent) > limit
}

func (l *line) send(q *question, sql string, args []string) error {
	params := make([][]byte, len(args))
	for i, a := range args {
		params[i] = []byte(a)
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	err, full := l.err, len(l.pending) == maxPending
	if err == nil && !full {
		q.sent = time.Now()
		l.pending = append(l.pending, q)
	}
	l.mu.Unlock()
	switch {
	case err != nil:
		return err
	case full:
		return errOccupied
	}
	l.fe.SendParse(&pgproto3.Parse{Query: sql})
	l.fe.SendBind(&pgproto3.Bind{Parameters: params})
	l.fe.SendExecute(&pgproto3.Execute{})
	l.fe.SendSync(&pgproto3.Sync{})
	if err := l.fe.Flush(); err != nil {
		l.hangUp(err)
		return err
	}
	return nil
}

// listen takes what comes in until the line breaks, which hangUp does. The caller
// runs it, once.
func (l *line) listen() {
	var text string
	var failure error
	for {
		msg, err := l.fe.Receive()
		if err != nil {
			l.hangUp(err)
			l.drop()
			return
		}
		switch m := msg.(type) {
		case *pgproto3.NotificationResponse:
			l.hear(m.Payload)
		case *pgproto3.DataRow:
			if len(m.Values) > 0 {
				text = string(m.Values[0])
			}
		case *pgproto3.ErrorResponse:
			failure = pgconn.ErrorResponseToPgError(m)
		case *pgproto3.ReadyForQuery:
			l.answer(text, failure)
			text, failure = "", nil
		}
		if isDeparted(failure) { // nothing may follow it
			l.hangUp(failure)
		}
	}
}

// answer answers the oldest question.
func (l *line) answer(text string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) == 0 {
		return
	}
	q := l.pending[0]
	l.pending = l.pending[1:]
	q.text, q.err = text, err
	close(q.answered)
}

// drop answers all questions with why the line is broken.
func (l *line) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.pending {
		q.err = l.err
		close(q.answered)
	}
	l.pending = nil
}

// hangUp breaks the line. The connection is closed without a word: one that is
// written might block.
func (l *line) hangUp(err error) {
	l.once.Do(func() {
		l.mu.Lock()
		l.err = fmt.Errorf("the connection that listens was lost: %w", err)
		l.mu.Unlock()
		close(l.broken)
		_ = l.conn.Close()
	})
}
