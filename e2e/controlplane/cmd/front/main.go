// Command front stands before the lab's API server. It needs nothing but the standard library.
package main

import (
	"os"

	"postern.dev/controlplane/front"
)

func main() { os.Exit(front.Main(os.Args[1:])) }
