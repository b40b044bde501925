// Package redis holds the tests of Fairlead against several Redis servers: a primary
// that sentinels replace, and a cluster. Servers die, freeze, fall behind and hand their
// keys over, and networks fall silent. It has no code of its own.
package redis
