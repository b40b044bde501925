package history

import (
	"fmt"
	"os"
	"strings"

	"github.com/anishathalye/porcupine"
)

// Options tell Check how hard to try, and where to write. Nil means defaults.
type Options struct {
	// Dir is where a failure is drawn; it is made when needed. "": the environment's
	// FAIRLEAD_HISTORY_DIR, and without that the directory for temporary files.
	Dir string

	// Steps bounds the search for a legal order. What is not decided by then
	// counts as a failure. 0: 1,000,000, which takes about a second.
	Steps int
}

func (o *Options) dir() string {
	if o != nil && o.Dir != "" {
		return o.Dir
	}
	if dir := os.Getenv("FAIRLEAD_HISTORY_DIR"); dir != "" {
		return dir
	}
	return os.TempDir()
}

func (o *Options) steps() int {
	if o == nil || o.Steps == 0 {
		return 1_000_000
	}
	return o.Steps
}

// An Error says that a history is not legal, or that this could not be decided.
type Error struct {
	Name      string
	Undecided bool   // the search gave up
	Text      string // the operations around the place where the search got stuck
	File      string // an HTML page with all of them; "" if it could not be written
	Err       error  // why it could not be written
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Undecided {
		fmt.Fprintf(&b, "history of %q is too hard to decide: take fewer operations, or more steps\n", e.Name)
	} else {
		fmt.Fprintf(&b, "history of %q is not legal\n", e.Name)
	}
	b.WriteString(e.Text)
	if e.Err != nil {
		fmt.Fprintf(&b, "no drawing: %v", e.Err)
	} else {
		fmt.Fprintf(&b, "drawn in %s", e.File)
	}
	return b.String()
}

// Unwrap returns the reason why there is no drawing, if there is none.
func (e *Error) Unwrap() error { return e.Err }

// Check looks for a legal order of what was recorded so far, and returns an
// [*Error] if it finds none. It may be called again when more was recorded.
func (h *History) Check(opts *Options) error {
	ops, known := relevant(h.model, h.operations())
	history := toPorcupine(ops)
	// Before each operation of known outcome, all the others may have to be tried.
	steps := opts.steps() + known*(len(ops)-known)
	left := steps
	if porcupine.CheckOperations(porcupineModel(h.model, known, &left), history) {
		return nil
	}
	undecided := left == 0

	// The second search notes how far it got. It walks as the first did.
	left = steps
	_, info := porcupine.CheckOperationsVerbose(porcupineModel(h.model, known, &left), history, 0)
	e := &Error{Name: h.name, Undecided: undecided, Text: explain(h.model, history, info)}
	left = -1 // drawing repeats the steps of what was found, without a bound
	e.File, e.Err = draw(porcupineModel(h.model, known, &left), info, opts.dir(), h.name)
	return e
}

// toPorcupine gives each operation a line of the drawing: one for a client, and
// more where several operations of one client overlap, those that never end among
// them.
//
// Stamps become times since the first, which are easier to read.
func toPorcupine(ops []*operation) []porcupine.Operation {
	type line struct {
		number int
		end    int64
	}
	lines := make(map[int][]line, 8)
	count := 0
	history := make([]porcupine.Operation, len(ops))
	for i, o := range ops {
		own := lines[o.client]
		at := 0
		for at < len(own) && own[at].end >= o.call {
			at++
		}
		if at == len(own) {
			own = append(own, line{number: count})
			lines[o.client] = own
			count++
		}
		own[at].end = o.end
		history[i] = porcupine.Operation{ClientId: own[at].number, Input: o,
			Call: o.call - ops[0].call, Return: o.end - ops[0].call}
	}
	return history
}

// shown bounds how many operations the text of a failure has of each sort.
const shown = 8

// explain tells how far the longest legal beginning goes, and what would have had
// to come next.
func explain(m model, history []porcupine.Operation, info porcupine.LinearizationInfo) string {
	longest := longest(info)
	placed := make(map[*operation]bool, len(longest))
	state := m.init()
	for _, o := range longest {
		placed[o] = true
		state, _ = m.step(state, o)
	}
	start := history[0].Input.(*operation).call
	var b strings.Builder
	fmt.Fprintf(&b, "after %d of %d operations that matter, the last of them\n", len(longest), len(history))
	for _, o := range longest[max(0, len(longest)-shown):] {
		fmt.Fprintf(&b, "    %v %s\n", o, o.interval(start))
	}
	fmt.Fprintf(&b, "the state is {%v}, and none of these can come next:\n", state)
	for i, o := range candidates(history, placed) {
		if i == shown {
			fmt.Fprintf(&b, "    and others\n")
			break
		}
		fmt.Fprintf(&b, "    %v %s\n", o, o.interval(start))
	}
	return b.String()
}

func longest(info porcupine.LinearizationInfo) []*operation {
	var most []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, partial := range partition {
			if len(partial) > len(most) {
				most = partial
			}
		}
	}
	ops := make([]*operation, len(most))
	for i := range most {
		ops[i] = most[i].Input.(*operation)
	}
	return ops
}

// candidates returns the operations not yet placed that began before any other of
// these ended: one of them has to be the next. Those of unknown outcome do not have
// to be, and do not say anything.
func candidates(history []porcupine.Operation, placed map[*operation]bool) []*operation {
	first := int64(never)
	for i := range history {
		if o := history[i].Input.(*operation); !placed[o] {
			first = min(first, o.end)
		}
	}
	var next []*operation
	for i := range history {
		o := history[i].Input.(*operation)
		if !placed[o] && o.call <= first && o.out.status != unknown {
			next = append(next, o)
		}
	}
	return next
}

// draw writes porcupine's page to a new file, and returns its path.
func draw(m porcupine.Model, info porcupine.LinearizationInfo, dir, name string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "history-"+fileName(name)+"-*.html")
	if err != nil {
		return "", err
	}
	err = porcupine.Visualize(m, info, f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return "", fmt.Errorf("write %s: %w", f.Name(), err)
	}
	return f.Name(), nil
}

// fileName makes a name fit into that of a file: a lock's may have up to 512
// bytes, and slashes.
func fileName(name string) string {
	var b strings.Builder
	for _, c := range name {
		switch {
		case b.Len() == 40:
			return b.String()
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-':
			b.WriteRune(c)
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}
