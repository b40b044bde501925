package zk_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A snapshot file ends with a checksum of what is before it, and the path "/".
const (
	sealSize  = 8 + 4 + 1
	statSize  = 60
	cversion  = 4*8 + 4 // where it is in a node's StatPersisted, behind four longs and the version
	aclIndex  = 8
	lenPrefix = 4
)

// setCounter sets, in the newest snapshot below dir, the number that the next
// sequential child of a node gets. The server must not run, and must have written
// that snapshot without digests.
func setCounter(dir, node string, next int32) error {
	file, err := newestSnapshot(dir)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	body := len(b) - sealSize
	if body < 0 || binary.BigEndian.Uint64(b[body:]) != uint64(adler32.Checksum(b[:body])) {
		return fmt.Errorf("%s does not end with a checksum of all of it", file)
	}
	name := append(binary.BigEndian.AppendUint32(nil, uint32(len(node))), node...)
	at := bytes.Index(b[:body], name)
	if at < 0 || at != bytes.LastIndex(b[:body], name) {
		return fmt.Errorf("%s has the node %s not once", file, node)
	}
	at += len(name)
	size := int32(binary.BigEndian.Uint32(b[at:])) // of the data; -1 for none
	at += lenPrefix + max(int(size), 0) + aclIndex
	if at+statSize > body {
		return fmt.Errorf("%s ends inside the node %s", file, node)
	}
	binary.BigEndian.PutUint32(b[at+cversion:], uint32(next))
	binary.BigEndian.PutUint64(b[body:], uint64(adler32.Checksum(b[:body])))
	return os.WriteFile(file, b, 0o600)
}

// newestSnapshot finds the one with the highest transaction, which its name tells
// in hexadecimal.
func newestSnapshot(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "data", "version-2", "snapshot.*"))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("there is no snapshot in %s: %w", dir, err)
	}
	transaction := func(file string) uint64 {
		n, err := strconv.ParseUint(strings.TrimPrefix(filepath.Ext(file), "."), 16, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return slices.MaxFunc(files, func(a, b string) int {
		if transaction(a) < transaction(b) {
			return -1
		}
		return 1
	}), nil
}
