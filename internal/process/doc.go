// Package process runs a server of another's making as a child process on the
// loopback interface, for the packages that start real stores for tests and
// demonstrations: it keeps the server's ports, starts it, kills it, freezes it,
// and starts it again.
//
// On Linux a child dies with the process that started it, however that ends.
package process
