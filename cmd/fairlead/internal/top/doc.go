// Package top is a live view of all queues on a full screen: a list of names, the
// busiest first, and each with its holders and waiters.
//
// The list is read anew every so often, less often where that takes long; the queue
// of the name that is open is watched.
package top
