// Package view renders queues for people and for programs.
//
// What it shows comes from the store, where anybody who may take a lock may write
// a note or a value, and other libraries may write whatever they like. So all text
// goes through [Text] or a [Table], which leave nothing in it that a terminal obeys,
// and JSON through [Write], which escapes the same.
//
// # Times
//
// An entry says when it joined the queue, by its owner's clock. The store does not
// say since when a holder holds: at most since it joined, and that is what the
// columns and fields are called. A waiter has waited since it joined.
package view
