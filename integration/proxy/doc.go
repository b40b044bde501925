// Package proxy puts a bad network between a client and a server: a TCP proxy
// in the same process, which a test freezes, thaws, slows down and cuts.
//
// It needs no privileges, and it is exact where timing matters: when
// [Proxy.Freeze] has returned, not one further byte passes.
package proxy
