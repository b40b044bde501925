// Package journal is how the processes of a run write down what they do: a file
// for each life of a client, a line for each step, with the time on the clock
// that all processes of a machine share.
//
// Each line is one write to a file opened for appending, and is there before the
// step that it announces is taken. So a process that is killed has left all that
// it may have done.
package journal
