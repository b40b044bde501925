// Package ui tests the dashboard in a real browser: Chromium without a screen, the program
// as a process of its own, and an etcd that it started.
//
// With -screenshots DIR it writes the pictures that the README shows.
package ui
