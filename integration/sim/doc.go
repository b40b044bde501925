// Package sim runs the primitives as they are, on the store in memory, under faults
// and in virtual time: each run of a schedule is a [testing/synctest] bubble.
//
// There are two kinds of schedules:
//
//   - Those of a seed. Clients with several actors each lock, campaign, take
//     permits, resize and downgrade, while calls to the store take their time, get
//     lost or stuck, arrive late or without their answer; and clients are cut off,
//     crash, or lose their lease. Then comes a calm, in which everybody has to get
//     what it asked for. What is drawn for a call depends on the seed, on whose call
//     it is, and on how many there were before it: so a seed is one schedule, which
//     `make sim SEED=n` plays again and prints.
//   - All orders of a scene. A few clients do one thing each. Every call to the store
//     stops and waits, and when all have stopped, the explorer lets one of them go on:
//     each of them in turn, from the same beginning. One call of all may have its
//     reply lost, arrive late, or find the lease ended.
//
// Three things look for what must not be. The world sees each grant, and compares it
// with what others hold that very moment and, in a scene, with the queue; and that
// nobody whose turn has come sleeps on, for longer than a bound. The witness stands
// at the store and sees what a driver must not do. And package history looks at what
// the callers were told, when it is all over.
//
// The bugs of bugs_test.go show that they do look. docs/planted-bugs.md lists them
// beside those of the models.
package sim
