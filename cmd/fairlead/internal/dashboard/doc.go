// Package dashboard shows the names of a store in a browser, live.
//
// A [Board] knows how each name stands. It lists them at an interval, and watches those
// whose page somebody has open: one watch a name, however many browsers look. What a
// list says of a name that is watched, or was seen since the list was asked for, is older
// than what is known, and left aside. The board also remembers which grants it
// saw come and go, within bounds, and forgets them when the program ends.
//
// A [Handler] serves pages of it, and to each page that somebody can see a stream of
// server-sent events with those parts that have changed. A page that is hidden gives its
// connection back, and starts anew when it is shown. A reader that is slow gets the
// latest state and no backlog.
//
// # Who may look, and who may release
//
// Every request has to name a host that is this one's, so that no other site can pass itself
// off as it by changing its address (DNS rebinding). With a token, every request but
// those for the login page and static files has to bring it, or the cookie that a login gives.
// Nothing changes anything but POST /release, which is there only on request: it has to
// come from a page of this site, with the token that the form had, and the name typed in.
//
// Names, notes and values come from the store, where others write what they like. They
// are escaped as everywhere by package view, then by html/template, and the policy that goes with
// every page lets no script run but the files that are embedded here.
//
// # How time enters
//
// Grants are timed by the clock of this program, from when a change was seen: for a name that is
// watched within moments, for others once an interval. Since when an entry is in the queue
// is its owner's word.
package dashboard
