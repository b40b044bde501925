package redisserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// bulkLimit is far more than any answer here has, and bounds what a mistaken
// length can ask for.
const bulkLimit = 64 << 20

// An Error is the answer of a server that refuses a command: a word in capitals,
// such as NOAUTH or ERR, and an explanation.
type Error string

func (e Error) Error() string { return string(e) }

// encode returns a command as the protocol has it.
func encode(args []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.String()
}

// decode reads one answer: a string, an int64, nil, an Error, or a []any of
// these.
func decode(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	line, whole := strings.CutSuffix(line, "\r\n")
	if !whole || line == "" {
		return nil, fmt.Errorf("not an answer of Redis: %q", line)
	}
	rest := line[1:]
	switch line[0] {
	case '+':
		return rest, nil
	case '-':
		return Error(rest), nil
	case ':':
		return strconv.ParseInt(rest, 10, 64)
	case '$':
		n, err := length(rest)
		if err != nil || n < 0 {
			return nil, err
		}
		var text strings.Builder
		if _, err := io.CopyN(&text, r, int64(n)+2); err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		bulk, whole := strings.CutSuffix(text.String(), "\r\n")
		if !whole {
			return nil, fmt.Errorf("an answer of Redis is longer than the %d bytes that it says", n)
		}
		return bulk, nil
	case '*':
		n, err := length(rest)
		if err != nil || n < 0 {
			return nil, err
		}
		list := []any{} // which grows with what is there, whatever the length says
		for range n {
			one, err := decode(r)
			if err != nil {
				return nil, err
			}
			list = append(list, one)
		}
		return list, nil
	default:
		return nil, fmt.Errorf("not an answer of Redis: %q", line)
	}
}

// length reads a length, of which -1 means that there is nothing.
func length(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err == nil && (n < -1 || n > bulkLimit) {
		err = fmt.Errorf("an answer of Redis has a length of %d", n)
	}
	return n, err
}
