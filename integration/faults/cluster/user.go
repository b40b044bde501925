package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/session"
)

// userName is who the clients are, with a password that changes.
const userName = "client"

// A user has the password that clients which begin now are given. It may be used by
// several at a time.
type user struct {
	mu       sync.Mutex
	password string
}

func (u *user) get() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.password
}

// change gives the user another password with set, and returns when nobody gets in with
// the one before, if there was one, which the URL has.
func (u *user) change(ctx context.Context, url func() string, set func(password string) error) error {
	before, first := url(), u.get() == ""
	password := rand.Text()
	if err := set(password); err != nil {
		return err
	}
	u.mu.Lock()
	u.password = password
	u.mu.Unlock()
	if first {
		return nil
	}
	return until(ctx, "the old password to be refused", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		s, err := session.Open(ctx, before, nil)
		if err == nil {
			return errors.Join(errors.New("it lets us in"), s.Close(ctx))
		}
		if !isRefusal(err) {
			return err
		}
		return nil
	})
}

// isRefusal tells whether a store did not let somebody in.
func isRefusal(err error) bool {
	return strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "authentication failed")
}

// open is for stores whose clients have no password, or one that cannot be changed.
type open struct{}

func (open) ChangePassword(context.Context) error { return ErrNone }
