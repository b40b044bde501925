package etcd

import (
	"context"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Compaction is the finding about a history of which that many revisions are long.
func Compaction(ctx context.Context, st driver.Store, long int64) driver.Finding {
	return st.(*store).compaction(ctx, long)
}

// Supported tells whether a server of that version is.
func Supported(version string) bool { return supported(version) }
