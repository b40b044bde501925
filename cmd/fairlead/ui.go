package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/dashboard"
	"github.com/fairlead-go/fairlead/session"
)

const (
	// minToken is how short a token may be: whoever can reach the port may try.
	minToken = 16

	headerTimeout   = 10 * time.Second
	idleTimeout     = time.Minute // of a connection between requests
	shutdownTimeout = 3 * time.Second
)

// A uiCommand is `fairlead ui`.
type uiCommand struct {
	store     *storeFlags
	listen    string
	prefix    string
	interval  time.Duration
	tokenFile string
	certFile  string
	keyFile   string
	options   dashboard.Options
	pair      []tls.Certificate // one, or none
}

func newUI(store *storeFlags) *cobra.Command {
	u := &uiCommand{store: store}
	cmd := &cobra.Command{
		Use:   "ui [PREFIX]",
		Short: "Serve a dashboard: all names live, in a browser",
		Long: `Serve a dashboard until a signal ends it: the names that are in use and start with
PREFIX, or all, live; a page for each with its holders, its queue, and the grants seen
since the program started; elections with their terms; and how the store answers.

It listens on the loopback interface, where every user of this machine can look. To
listen elsewhere it needs a token, which visitors log in with, or programs send as
"Authorization: Bearer TOKEN", and TLS with a certificate for the name by which
it is called. Safari logs in with TLS alone, also on the loopback interface.

Nothing can be changed there, unless --allow-release is given: then a page does
what "fairlead release" does, when the name has been typed, with the rights of whoever
started the dashboard: so give it a token as well, or every user of this machine may.
Standard error has from which address it was done.

` + lookStatusHelp + `.`,
		Example: `  fairlead ui
  fairlead ui billing/ --allow-release --auth-token-file ./token
  fairlead ui --listen :8600 --auth-token-file ./token --tls-cert ui.crt --tls-key ui.key`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: store.completeNames(anyKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				u.prefix = args[0]
			}
			address, err := u.prepare()
			if err != nil {
				return err
			}
			u.options.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
			return store.look(func(ctx context.Context, s *session.Session) error {
				return u.run(ctx, s, address, cmd.OutOrStdout())
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&u.listen, "listen", "127.0.0.1:8600", "host:port to listen on; port 0 takes a free one")
	flags.DurationVar(&u.interval, "interval", 2*time.Second, "how often to list all names; one whose page is open is watched")
	flags.StringVar(&u.tokenFile, "auth-token-file", "", fmt.Sprintf("file with the token that visitors need, of at least %d bytes", minToken))
	flags.StringVar(&u.certFile, "tls-cert", "", "file with the certificate, PEM, those of intermediate authorities after it")
	flags.StringVar(&u.keyFile, "tls-key", "", "file with its private key, PEM")
	flags.BoolVar(&u.options.AllowRelease, "allow-release", false, "let visitors break what is held")
	flags.StringVar(&u.options.TraceURL, "trace-url", "", "where a trace is shown, such as https://tempo.example/trace/{trace_id}")
	return cmd
}

// prepare looks at the flags and files, before anything is asked of the store, and
// returns where to listen.
func (u *uiCommand) prepare() (*net.TCPAddr, error) {
	if u.interval <= 0 {
		return nil, fmt.Errorf("--interval %v is not positive", u.interval)
	}
	if (u.certFile == "") != (u.keyFile == "") {
		return nil, errors.New("--tls-cert and --tls-key go together: one of them is missing")
	}
	if err := u.readToken(); err != nil {
		return nil, err
	}
	if err := u.readCertificate(); err != nil {
		return nil, err
	}
	address, err := net.ResolveTCPAddr("tcp", u.listen)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", u.listen, err)
	}
	if u.options.AllowRelease && u.options.Token == nil {
		warn("--allow-release without --auth-token-file: every user of this machine can break what is held")
	}
	if !address.IP.IsLoopback() && (u.options.Token == nil || u.pair == nil) {
		return nil, fmt.Errorf("--listen %s can be reached from other machines: give --auth-token-file, --tls-cert and --tls-key, "+
			"or listen on 127.0.0.1", u.listen)
	}
	return address, nil
}

func (u *uiCommand) readToken() error {
	if u.tokenFile == "" {
		return nil
	}
	content, err := os.ReadFile(u.tokenFile)
	if err != nil {
		return fmt.Errorf("--auth-token-file: %w", err)
	}
	u.options.Token = bytes.TrimSpace(content)
	if n := len(u.options.Token); n < minToken {
		return fmt.Errorf("--auth-token-file %s: the token has %d bytes, and needs %d for nobody to guess it: openssl rand -hex 32 makes one",
			u.tokenFile, n, minToken)
	}
	return nil
}

func (u *uiCommand) readCertificate() error {
	if u.certFile == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(u.certFile, u.keyFile)
	if err != nil {
		return fmt.Errorf("--tls-cert %s, --tls-key %s: %w", u.certFile, u.keyFile, err)
	}
	u.options.Certificate, err = x509.ParseCertificate(pair.Certificate[0])
	u.pair = []tls.Certificate{pair}
	return err
}

func (u *uiCommand) run(ctx context.Context, s *session.Session, address *net.TCPAddr, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	u.options.Operator = operator(s)
	board := dashboard.NewBoard(s, u.prefix, u.interval)
	handler, err := dashboard.New(board, &u.options)
	if err != nil {
		return err
	}
	listener, err := net.ListenTCP("tcp", address)
	if err != nil {
		return fmt.Errorf("%w: choose another address with --listen", err)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, TLSConfig: &tls.Config{Certificates: u.pair, MinVersion: tls.VersionTLS12},
		BaseContext: func(net.Listener) context.Context { return ctx }, // so that streams end with it
		ErrorLog:    slog.NewLogLogger(u.options.Logger.Handler(), slog.LevelWarn),
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { board.Run(ctx) })
	// Serve returns when this begins. The answers that are under way need the session, which
	// is closed when run returns.
	work.Go(func() {
		<-ctx.Done()
		limited, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		if server.Shutdown(limited) != nil {
			_ = server.Close()
		}
	})
	return u.serve(server, listener, out)
}

// serve says where it is, and serves until the server is shut down.
func (u *uiCommand) serve(server *http.Server, listener *net.TCPListener, out io.Writer) error {
	scheme, serve := "http", server.Serve
	if u.pair != nil {
		scheme, serve = "https", func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	_, err := fmt.Fprintf(out, "%s://%s/\n", scheme, listener.Addr())
	if err != nil {
		_ = listener.Close()
		return err
	}
	if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
