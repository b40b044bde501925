package etcd

import (
	"context"
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestReasonOfACancelledWatchIsRecognised(t *testing.T) {
	for sent, want := range map[error]error{
		rpctypes.ErrGRPCInvalidAuthToken: rpctypes.ErrInvalidAuthToken,
		rpctypes.ErrGRPCPermissionDenied: rpctypes.ErrPermissionDenied,
		rpctypes.ErrGRPCAuthOldRevision:  rpctypes.ErrAuthOldRevision,
	} {
		for _, err := range []error{want, sent, status.Error(codes.Unknown, sent.Error())} {
			if got := recognised(err); !errors.Is(got, want) {
				t.Errorf("recognised(%v) = %v, want %v", err, got, want)
			}
		}
	}
	for _, err := range []error{nil, context.Canceled, errClosed, status.Error(codes.Unknown, "no desc = at all")} {
		if got := recognised(err); !errors.Is(got, err) {
			t.Errorf("recognised(%v) = %v, want it unchanged", err, got)
		}
	}
}

func TestRefusalIsPermanentOnlyWhereTryingAgainIsNoUse(t *testing.T) {
	for err, want := range map[error]bool{
		rpctypes.ErrPermissionDenied:                          true,
		rpctypes.ErrNoSpace:                                   true,
		rpctypes.ErrRequestTooLarge:                           true,
		rpctypes.ErrAuthFailed:                                true,
		rpctypes.ErrTooManyRequests:                           false, // shares its code with ErrNoSpace
		rpctypes.ErrInvalidAuthToken:                          false,
		rpctypes.ErrNoLeader:                                  false,
		rpctypes.ErrTimeout:                                   false,
		status.Error(codes.ResourceExhausted, "message size"): true,
		status.Error(codes.Unavailable, "connection refused"): false,
		context.DeadlineExceeded:                              false,
	} {
		if got := isPermanent(err); got != want {
			t.Errorf("isPermanent(%v) = %v, want %v", err, got, want)
		}
	}
}
