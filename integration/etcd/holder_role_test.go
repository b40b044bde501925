package etcd_test

import (
	"bufio"
	"context"
	"fmt"
	"os"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

// holderURL, when set, makes this program a process that holds a lock, named by
// nameVariable, until its standard input ends or it is killed.
const holderURL = "FAIRLEAD_TEST_HOLDER"

func hold(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := session.Open(ctx, url, &session.Options{Identity: "holder", TTL: shortTTL})
	if err != nil {
		return err
	}
	if _, err := mutex.New(s, os.Getenv(nameVariable)).Lock(ctx); err != nil {
		return err
	}
	fmt.Println("held")
	bufio.NewScanner(os.Stdin).Scan()
	return s.Close(ctx)
}
