// Package fairlead maps a toolkit for coordination between processes: fair
// locks, read-write locks, semaphores and leader election, with fencing tokens, on
// a store such as etcd. It holds no code itself.
//
// What a program uses:
//
//   - [github.com/fairlead-go/fairlead/session]: a lease in a store, kept alive,
//     and what is held under it. Everything begins with session.Open.
//   - [github.com/fairlead-go/fairlead/mutex]: a fair lock.
//   - [github.com/fairlead-go/fairlead/rwmutex]: a fair read-write lock.
//   - [github.com/fairlead-go/fairlead/semaphore]: permits, up to a limit, fairly.
//   - [github.com/fairlead-go/fairlead/election]: a leader among candidates.
//   - [github.com/fairlead-go/fairlead/watch]: live snapshots of who holds and who
//     waits; and the machine for primitives of one's own, which is a queue and a
//     rule.
//
// The stores, each imported for its URL scheme or for its own constructors:
//
//   - [github.com/fairlead-go/fairlead/session/etcd]: etcd:// and etcds://.
//   - [github.com/fairlead-go/fairlead/session/zk]: zk:// and zks://, ZooKeeper.
//   - [github.com/fairlead-go/fairlead/session/redis]: redis:// and rediss://.
//   - [github.com/fairlead-go/fairlead/session/postgres]: postgres:// and postgresql://.
//   - [github.com/fairlead-go/fairlead/session/memory]: memory://, in this process,
//     also for tests, under virtual time as well.
//   - [github.com/fairlead-go/fairlead/session/embed]: embed://, an etcd server in
//     this process. Nobody links the server who does not import this.
//
// For those who receive what a holder writes:
//
//   - [github.com/fairlead-go/fairlead/fence]: registers that refuse old tokens.
//
// For those who write a further store:
//
//   - [github.com/fairlead-go/fairlead/session/driver]: the interface.
//   - [github.com/fairlead-go/fairlead/session/drivertest]: the suite it has to pass.
//
// The command is [github.com/fairlead-go/fairlead/cmd/fairlead]. What is and is
// not guaranteed is in docs/guarantees.md, and why it is built like this in
// docs/architecture.md.
package fairlead
