// Package front stands before the lab's API server, as a load balancer or an ailing network would.
//
// Clients reach the API server through it alone. It hands every request on unchanged, streams answers without delay,
// counts what it sees, and on demand answers in the API server's place, cuts watches, delays them, or does not listen
// at all. It is told what to do over a unix socket, in HTTP and JSON (see control.go for the paths).
//
// A second unix socket leads to the API server directly, with the lab administrator's token: the lab itself is neither
// counted nor disturbed.
package front
