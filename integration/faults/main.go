package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/client"
	"github.com/fairlead-go/fairlead/integration/faults/cluster"
	"github.com/fairlead-go/fairlead/integration/faults/nemesis"
	"github.com/fairlead-go/fairlead/integration/faults/plant"
)

// clientVariable, when set, makes this program a client: its value is the client's
// Config in JSON.
const clientVariable = "FAIRLEAD_FAULTS_CLIENT"

// An options says what run to make.
type options struct {
	backend string
	length  time.Duration // of the time in which faults happen
	seed    uint64
	clients int
	ttl     time.Duration
	only    string         // the kind of fault that hits the store; "": all kinds
	plant   string         // a bug for the clients to have; "": none
	plan    []nemesis.Lane // nil: drawn from the seed
	vigil   time.Duration  // the most that one holds a vigil; 0: three TTLs
	json    string         // a file for the report; "": none
	reports []string       // make a table of these instead of a run
	dir     string         // for what is written down; "": a temporary one, removed if nothing was violated
}

func main() {
	play()
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2) // flag has told why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.reports != nil {
		err = tabulate(o.reports, os.Stdout)
	} else {
		_, err = torture(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
	}
	switch {
	case errors.Is(err, errViolated):
		os.Exit(1)
	case err != nil:
		os.Exit(2)
	}
}

// play makes this process a member of a store or a client, if it was started as one,
// and then does not return. Otherwise it sees to it that it may do what it wants with
// its network and its mounts, as far as that is possible.
func play() {
	cluster.ServeMember()
	text, ok := os.LookupEnv(clientVariable)
	if !ok {
		if err := cluster.Enter(); err != nil {
			fmt.Fprintln(os.Stderr, "faults:", err)
			os.Exit(2)
		}
		return
	}
	var c client.Config
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = client.Run(c, os.Stdin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string) (options, error) {
	var o options
	var minutes float64
	var table bool
	f := flag.NewFlagSet("faults", flag.ContinueOnError)
	f.StringVar(&o.backend, "backend", "etcd", strings.Join(cluster.Backends(), ", "))
	f.Float64Var(&minutes, "minutes", 1, "how long faults happen; starting, calming down and checking come on top")
	f.Uint64Var(&o.seed, "seed", 0, "what faults happen; 0: another each time")
	f.IntVar(&o.clients, "clients", 5, "how many client processes there are")
	f.DurationVar(&o.ttl, "ttl", 0, "of the clients' sessions; 0: a short one that the store grants")
	f.StringVar(&o.only, "only", "", "the one kind of fault that hits the store, as the lines name it; all by default")
	f.StringVar(&o.plant, "plant", "", "give the clients a bug, and have the faults happen that show it: "+strings.Join(plant.Names(), ", "))
	f.StringVar(&o.dir, "out", "", "a directory for journals, logs and pictures; by default a temporary one, which is kept if something was violated")
	f.StringVar(&o.json, "json", "", "a file for a report of the run")
	f.BoolVar(&table, "table", false, "make a table of reports: the arguments are files that -json has written")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if table && f.NArg() > 0 {
		o.reports = f.Args()
		return o, nil
	}
	traits, err := cluster.TraitsOf(o.backend)
	if _, unknown := plant.Named(o.plant); err == nil {
		err = unknown
	}
	switch {
	case err != nil:
	case o.only != "" && !slices.Contains(nemesis.Kinds(traits), nemesis.Kind(o.only)):
		err = fmt.Errorf("%s is hit by nothing that is called %q, but by %q", o.backend, o.only, nemesis.Kinds(traits))
	case f.NArg() > 0 || table || minutes <= 0 || o.clients < 3 || o.ttl < 0:
		err = errors.New("minutes must be positive, there are three clients at least, and no arguments but flags, or else the files for a table")
	}
	if err != nil {
		fmt.Fprintln(f.Output(), err)
		return o, err
	}
	o.show(o.plant)
	o.length = time.Duration(minutes * float64(time.Minute))
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000)
	}
	if o.ttl == 0 {
		o.ttl = traits.TTL
	}
	return o, nil
}

// replay is the command that plays the same faults again.
func (o options) replay() string {
	command := fmt.Sprintf("go run ./faults -backend %s -minutes %.3g -seed %d -clients %d -ttl %v",
		o.backend, o.length.Minutes(), o.seed, o.clients, o.ttl)
	if o.only != "" {
		command += fmt.Sprintf(" -only %q", o.only)
	}
	if o.plant != "" {
		command += " -plant " + o.plant
	}
	return command
}
