package redisserver

import (
	"bufio"
	"reflect"
	"strings"
	"testing"
)

// A command is read as what it was made of; other streams are answers, or errors, and none
// asks for more memory than it has bytes.
func FuzzDecode(f *testing.F) {
	for _, stream := range []string{
		encode([]string{"GET", "a\r\nb", ""}), "+OK\r\n", "-NOAUTH no\r\n", ":-7\r\n", "$-1\r\n", "*-1\r\n", "*67108864\r\n", "$67108864\r\n",
		"$1\r\nabc", "*1\r\n*1\r\n*0\r\n", "$x\r\n", "\r\n", "+", "*2\r\n:1\r\n",
	} {
		f.Add(stream)
	}
	f.Fuzz(func(t *testing.T, stream string) {
		words := strings.Split(stream, " ")
		var want []any
		for _, w := range words {
			want = append(want, w)
		}
		if got, err := decode(bufio.NewReader(strings.NewReader(encode(words)))); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("the command %q is read as %q, %v", words, got, err)
		}
		got, err := decode(bufio.NewReader(strings.NewReader(stream)))
		if text, ok := got.(string); ok && err == nil && !strings.Contains(stream, text) {
			t.Errorf("%q is read as %q", stream, got)
		}
	})
}
