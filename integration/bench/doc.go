// Command bench measures Fairlead beside its peers, on one server, in one run,
// taking turns, and prints a table with the ratios.
//
//	go run ./bench [-rounds 5] [-duration 2s] [-store NAME] [-run REGEXP] [-skip REGEXP] [-dir DIR] [-json FILE]
//	go run ./bench -doc ../docs/benchmarks.md -from FILE,FILE
//
// The server is a process of its own, so that its work and the clients' are not
// mixed up in one runtime; it syncs to disk, as in production. In every round
// each subject runs for the given duration, and each round begins with another
// subject. On a shared machine, trust the ratios rather than the figures. The
// second form measures nothing, but writes the page from what earlier runs wrote
// with -json, one for each store.
//
// A [store] brings a server and the [subject]s that use it, a [workload] what
// they have to do, and which of them; the table is their product.
//
//   - A peer is an element of its store's subjects (etcd.go, zookeeper.go, redis.go,
//     postgres.go): a function that opens a [client], which makes [contender]s, which
//     lock and unlock. A [reader] locks for reading too, a [loser] is told of a loss.
//   - A row of the table is an element of workloads: how many clients and contenders
//     it has, which subjects it takes, and a function that runs them and returns
//     figures. A new figure is a [report.Metric].
//   - A target is an element of targets in the package report, and the reason why it is
//     missed a paragraph in its reasons.md.
//
// A server that is [counting] is charged for every operation: so the costs that the page
// lists are counted, and not thought out.
package main
