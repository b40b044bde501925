package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

const etcdClient = "go.etcd.io/etcd/client/v3"

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what this build is made of",
		Long: `Print the version of fairlead, with the commit where it is known, and those of Go
and of the client library for etcd, each on a line.`,
		Example: `  fairlead version`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				info = &debug.BuildInfo{}
			}
			_, err := fmt.Fprint(cmd.OutOrStdout(), describe(info))
			return err
		},
	}
}

// describe tells the versions of a build.
func describe(info *debug.BuildInfo) string {
	version := cmp.Or(info.Main.Version, "(devel)")
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if revision := settings["vcs.revision"]; revision != "" {
		version += ", commit " + revision
		if settings["vcs.modified"] == "true" {
			version += " with changes"
		}
	}
	client := "unknown"
	for _, dep := range info.Deps {
		if dep.Path == etcdClient {
			client = dep.Version
		}
	}
	return fmt.Sprintf("fairlead %s\n%s %s/%s\netcd client %s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, client)
}
