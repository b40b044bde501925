// Package postgres holds the tests of Fairlead against a PostgreSQL server that speaks
// TLS, and those that take long: networks that fall silent, and tens of thousands of
// hand-offs. It has no code of its own.
package postgres
