package main

import (
	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "fairlead",
		Short: "Fair locks, semaphores and leader election between processes",
		Long: `Fairlead runs commands under fair locks, semaphores and leaderships that
processes on many machines share through a store such as etcd.`,
		SilenceErrors: true, // main prints them
		SilenceUsage:  true,
	}
	flags := &storeFlags{}
	flags.register(root.PersistentFlags())
	root.AddCommand(
		newDev(),
		newLock(flags),
		newSemaphore(flags),
		newElect(flags),
		newList(flags),
		newShow(flags),
		newWatch(flags),
		newLeader(flags),
		newTop(flags),
		newUI(flags),
		newRelease(flags),
		newDoctor(flags),
		newMigrate(flags),
		newDemo(flags),
		newReplica(flags),
		newVersion(),
	)
	return root
}
